// SPDX-License-Identifier: Apache-2.0
#include "gpu/emulation.h"

#include <ucontext.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/cuda/e4m3.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace narrows::gpu {
namespace emulated {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;

struct Barrier {
  int alive = 0, arrived = 0;
  std::uint64_t passed = 0;
};

struct Copy {
  void* to;
  const void* from;
  bool valid;
  std::uint64_t group;
};

// One thread of the block, on a stack of its own.
struct Fiber {
  ucontext_t at;
  std::unique_ptr<unsigned char[]> stack = std::make_unique<unsigned char[]>(kStackBytes);
  void* sanitizer = nullptr;
  bool done = false;
  const Barrier* waits = nullptr;  // until `passed` is no longer `since`
  std::uint64_t since = 0;
  Place place;
  std::uint64_t shows = 0;
  std::vector<Copy> copies;
  std::uint64_t group = 0;
};

struct Warp {
  Barrier barrier;
  Shown shown[2][32];  // alternately, so that a lane that runs ahead does not overwrite
};

struct Machine {
  ucontext_t scheduler;
  void* sanitizer = nullptr;
  const void* bottom = nullptr;
  std::size_t size = 0;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  Barrier block;
  std::vector<unsigned char> shared;
  Fiber* current = nullptr;
  const std::function<void()>* body = nullptr;
  bool backwards = false;
};
Machine& machine() {
  static thread_local Machine one;
  return one;
}

#ifdef __SANITIZE_ADDRESS__
void leave(void** save, const void* bottom, std::size_t size) {
  __sanitizer_start_switch_fiber(save, bottom, size);
}
void arrive(void* saved, const void** bottom, std::size_t* size) {
  __sanitizer_finish_switch_fiber(saved, bottom, size);
}
#else
void leave(void**, const void*, std::size_t) {}
void arrive(void*, const void**, std::size_t*) {}
#endif

void enter(Fiber& fiber) {
  Machine& m = machine();
  m.current = &fiber;
  leave(&m.sanitizer, fiber.stack.get(), kStackBytes);
  swapcontext(&m.scheduler, &fiber.at);
  arrive(m.sanitizer, nullptr, nullptr);
}

void pass_if_complete(Barrier& b) {
  if (b.alive == 0 || b.arrived < b.alive) return;
  b.arrived = 0;
  ++b.passed;
}

void wait_at(Barrier& b) {
  Machine& m = machine();
  Fiber& self = *m.current;
  const std::uint64_t since = b.passed;
  ++b.arrived;
  pass_if_complete(b);
  if (b.passed != since) return;
  self.waits = &b;
  self.since = since;
  leave(&self.sanitizer, m.bottom, m.size);
  swapcontext(&self.at, &m.scheduler);
  arrive(self.sanitizer, &m.bottom, &m.size);
  self.waits = nullptr;
}

Warp& my_warp() {
  return machine().warps[static_cast<std::size_t>(machine().current->place.thread / 32)];
}

void run_fiber() {
  Machine& m = machine();
  arrive(nullptr, &m.bottom, &m.size);
  (*m.body)();
  Fiber& self = *m.current;
  self.done = true;
  Warp& warp = my_warp();
  --warp.barrier.alive;
  --m.block.alive;
  pass_if_complete(warp.barrier);
  pass_if_complete(m.block);
  leave(nullptr, m.bottom, m.size);
  setcontext(&m.scheduler);
}

void prepare(Machine& m, const Launch& how, const Place& block) {
  while (m.fibers.size() < static_cast<std::size_t>(how.threads)) {
    m.fibers.push_back(std::make_unique<Fiber>());
  }
  m.warps.assign(static_cast<std::size_t>((how.threads + 31) / 32), Warp());
  m.block = {.alive = how.threads};
  m.shared.assign(static_cast<std::size_t>(how.shared_bytes), 0xff);
  for (int t = 0; t < how.threads; ++t) {
    Fiber& f = *m.fibers[static_cast<std::size_t>(t)];
    f.done = false;
    f.waits = nullptr;
    f.place = block;
    f.place.thread = t;
    f.shows = 0;
    f.copies.clear();
    f.group = 0;
    ++m.warps[static_cast<std::size_t>(t / 32)].barrier.alive;
    getcontext(&f.at);
    f.at.uc_stack.ss_sp = f.stack.get();
    f.at.uc_stack.ss_size = kStackBytes;
    f.at.uc_link = nullptr;
    makecontext(&f.at, run_fiber, 0);
  }
}

// Runs what can run of a warp; whether anything could.
bool run_warp(Machine& m, int warp, int threads) {
  bool any = false;
  for (bool moved = true; moved;) {
    moved = false;
    for (int lane = 0; lane < 32; ++lane) {
      const int t = 32 * warp + (m.backwards ? 31 - lane : lane);
      if (t >= threads) continue;
      Fiber& f = *m.fibers[static_cast<std::size_t>(t)];
      if (f.done || (f.waits != nullptr && f.waits->passed == f.since)) continue;
      enter(f);
      moved = true;
    }
    any = any || moved;
  }
  return any;
}

// A warp runs as far as it can before the next one does: what needs a barrier and has none shows.
void run_block(Machine& m, const Launch& how) {
  const int warps = (how.threads + 31) / 32;
  while (m.block.alive > 0) {
    bool moved = false;
    for (int w = 0; w < warps; ++w) {
      moved = run_warp(m, m.backwards ? warps - 1 - w : w, how.threads) || moved;
    }
    if (moved) continue;
    std::fputs("emulated GPU: threads wait for one another at different barriers\n", stderr);
    std::abort();
  }
}

}  // namespace

void run_backwards(bool backwards) { machine().backwards = backwards; }

void run_blocks(const Launch& how, const std::function<void()>& body) {
  Machine& m = machine();
  m.body = &body;
  for (int z = 0; z < how.z; ++z) {
    for (int y = 0; y < how.y; ++y) {
      for (int x = 0; x < how.x; ++x) {
        prepare(m, how, {0, x, y, z, how});
        run_block(m, how);
      }
    }
  }
  m.current = nullptr;
}

const Place& place() { return machine().current->place; }
void barrier() { wait_at(machine().block); }
void warp_barrier() { wait_at(my_warp().barrier); }
unsigned char* shared_bytes() { return machine().shared.data(); }

const Shown* show(const Shown& mine) {
  Fiber& self = *machine().current;
  Warp& warp = my_warp();
  Shown(&board)[32] = warp.shown[self.shows++ % 2];
  board[self.place.thread % 32] = mine;
  wait_at(warp.barrier);
  return board;
}

// Copies arrive as late as they may, or, backwards, at once: what waits too little and what is
// overwritten too early both show.
void copy_async(void* to, const void* from, bool valid) {
  Fiber& self = *machine().current;
  self.copies.push_back({to, from, valid, self.group});
  if (!machine().backwards) return;
  ++self.group;
  await_copies(0);
}
void commit_copies() { ++machine().current->group; }
void await_copies(int pending) {
  Fiber& self = *machine().current;
  const std::uint64_t kept = static_cast<std::uint64_t>(pending);
  std::vector<Copy> late;
  for (const Copy& c : self.copies) {
    if (c.group + kept >= self.group) {
      late.push_back(c);
    } else if (c.valid) {
      std::memcpy(c.to, c.from, 16);
    } else {
      std::memset(c.to, 0, 16);
    }
  }
  self.copies.swap(late);
}

}  // namespace emulated

std::uint8_t to_e4m3(float x) { return e4m3_of(x); }
float e4m3_value(std::uint32_t byte) {
  const int exponent = static_cast<int>(byte >> 3 & 15u), mantissa = static_cast<int>(byte & 7u);
  if ((byte & 0x7fu) == 0x7fu) return std::nanf("");
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                   : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (byte & 0x80u) != 0 ? -size : size;
}

namespace {

// The addresses that the warp's lanes point to.
const emulated::Shown* rows_of_warp(const void* row) {
  emulated::Shown mine{};
  std::memcpy(mine.words, &row, sizeof row);
  return emulated::show(mine);
}
std::uint32_t element(const emulated::Shown* rows, int matrix, int row, int column) {
  const unsigned char* at;
  std::memcpy(&at, rows[8 * matrix + row].words, sizeof at);
  std::uint16_t bits;
  std::memcpy(&bits, at + 2 * column, 2);
  return bits;
}

}  // namespace

void load_matrices(std::uint32_t (&out)[4], const void* row) {
  const emulated::Shown* rows = rows_of_warp(row);
  const int g = thread() % 32 / 4, t = thread() % 4;
  for (int i = 0; i < 4; ++i) {
    out[i] = element(rows, i, g, 2 * t) | element(rows, i, g, 2 * t + 1) << 16;
  }
}

void load_transposed(std::uint32_t (&out)[4], const void* row) {
  const emulated::Shown* rows = rows_of_warp(row);
  const int g = thread() % 32 / 4, t = thread() % 4;
  for (int i = 0; i < 4; ++i) {
    out[i] = element(rows, i, 2 * t, g) | element(rows, i, 2 * t + 1, g) << 16;
  }
}

namespace {

float f16_value(std::uint32_t bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31u),
            mantissa = static_cast<int>(bits & 1023u);
  if (exponent == 31) return mantissa == 0 ? HUGE_VALF : std::nanf("");
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                   : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  return (bits & 0x8000u) != 0 ? -size : size;
}
// Of numbers that f16 holds.
std::uint32_t f16_bits(float x) {
  for (std::uint32_t bits = 0; bits < 0x8000u; ++bits) {
    if (f16_value(bits) == std::fabs(x)) return bits | (std::signbit(x) ? 0x8000u : 0u);
  }
  return 0x7fffu;
}
std::array<std::uint16_t, 256> all_e4m3() {
  std::array<std::uint16_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte)
    table[byte] = static_cast<std::uint16_t>(f16_bits(e4m3_value(byte)));
  return table;
}

// A (16, 16) and B (16, 8) of the fragments in device.cuh: the register that holds a pair of k.
std::uint32_t word(const emulated::Shown& lane, int index) {
  return static_cast<std::uint32_t>(lane.words[index / 2] >> (32 * (index % 2)));
}
std::uint32_t a_bits(const emulated::Shown* all, int row, int k) {
  const int lane = row % 8 * 4 + k % 8 / 2;
  return word(all[lane], row / 8 + k / 8 * 2) >> (16 * (k % 2)) & 0xffffu;
}
std::uint32_t b_bits(const emulated::Shown* all, int k, int column) {
  const int lane = column * 4 + k % 8 / 2;
  return word(all[lane], 4 + k / 8) >> (16 * (k % 2)) & 0xffffu;
}

template <float (*kValue)(std::uint32_t)>
void multiply_as(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  const auto both = [](std::uint32_t low, std::uint32_t high) {
    return low | static_cast<std::uint64_t>(high) << 32;
  };
  const emulated::Shown* all =
      emulated::show({{both(a[0], a[1]), both(a[2], a[3]), both(b0, b1), 0}});
  const int g = thread() % 32 / 4, t = thread() % 4;
  for (int i = 0; i < 4; ++i) {
    double sum = 0;
    for (int k = 0; k < 16; ++k) {
      sum += static_cast<double>(kValue(a_bits(all, g + i / 2 * 8, k))) *
             kValue(b_bits(all, k, 2 * t + i % 2));
    }
    d[i] += static_cast<float>(sum);
  }
}

}  // namespace

void multiply(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  multiply_as<bf16_value>(d, a, b0, b1);
}
void multiply_f16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  multiply_as<f16_value>(d, a, b0, b1);
}

void widen_e4m3(std::uint32_t bytes, std::uint32_t& low, std::uint32_t& high) {
  static const std::array<std::uint16_t, 256> table = all_e4m3();
  const auto pair = [](std::uint32_t two) {
    return table[two & 0xffu] | static_cast<std::uint32_t>(table[two >> 8 & 0xffu]) << 16;
  };
  low = pair(bytes);
  high = pair(bytes >> 16);
}

}  // namespace narrows::gpu
