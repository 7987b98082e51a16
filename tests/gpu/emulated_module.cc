// SPDX-License-Identifier: Apache-2.0
#include "gpu/emulated_module.h"

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/cuda/context.cuh"

namespace narrows::gpu {
namespace {

Code without(Context& context, const char* what) {
  return refuse(context, Code::Unsupported, "the emulated device has no %s", what);
}

// Ranks that meet: all wait for the last one.
class Meeting {
 public:
  void wait(std::size_t ranks) {
    std::unique_lock<std::mutex> lock(mutex_);
    const std::uint64_t round = round_;
    if (++here_ == ranks) {
      here_ = 0;
      ++round_;
      all_.notify_all();
    }
    all_.wait(lock, [&] { return round_ != round; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_;
  std::size_t here_ = 0;
  std::uint64_t round_ = 0;
};

struct Group {
  Meeting meeting;
  std::vector<const Collective*> ops;  // by rank
};

struct EmulatedContext : Context {
  Group* group = nullptr;  // borrows the machine's
  int rank = 0;
  bool multiplies = false;
  std::vector<float> scratch_memory;
};

struct Machine {
  std::mutex mutex;
  Emulated shape;
  std::map<std::uint64_t, Group> groups;  // by id
  std::uint64_t next_id = 1;
};
Machine& machine() {
  static Machine one;
  return one;
}
Emulated shape() {
  const std::lock_guard<std::mutex> lock(machine().mutex);
  return machine().shape;
}

Code probe(char* problem, std::size_t, std::int32_t* devices) {
  problem[0] = '\0';
  *devices = shape().devices;
  return Code::Ok;
}
Code open(std::int32_t device, Context** out, char* problem, std::size_t size) {
  if (device >= shape().devices) {
    std::snprintf(problem, size, "device %d of %d", device, shape().devices);
    return Code::Invalid;
  }
  EmulatedContext* const context = new EmulatedContext;
  context->device = device;
  context->multiprocessors = 2;
  context->architecture = shape().architecture;
  context->multiplies = shape().multiplies;
  context->scratch_memory.resize(kScratchBytes / 4);
  context->scratch = context->scratch_memory.data();
  *out = context;
  return Code::Ok;
}
Code info(Context*, DeviceInfo* out) {
  *out = {};
  std::snprintf(out->name, sizeof out->name, "emulated");
  out->devices = shape().devices;
  return Code::Ok;
}
Code allocate(Context*, std::int64_t bytes, void** out) {
  return posix_memalign(out, 256, static_cast<std::size_t>(bytes)) == 0 ? Code::Ok : Code::Device;
}
void release(Context*, void* memory) { std::free(memory); }
Code copy(Context*, void* to, const void* from, std::int64_t bytes) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  return Code::Ok;
}

// The host's clock, in place of events. Its times say nothing; what is made of them is tested.
Code time(Context* context, const Timing* timing) {
  if (timing->cupti) return without(*context, "CUPTI");
  for (std::int32_t i = 0; i < timing->warm + timing->samples; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const Code code =
        run_verb(*context, timing->verb, timing->ops[i % timing->variants], timing->op_bytes);
    if (code != Code::Ok) return code;
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (i >= timing->warm) timing->out[i - timing->warm] = {.events = taken.count()};
  }
  return Code::Ok;
}

Code unique_id(Context* context, UniqueId* out) {
  if (!shape().has_nccl) return without(*context, "NCCL");
  const std::lock_guard<std::mutex> lock(machine().mutex);
  *out = {};
  std::memcpy(out->bytes, &machine().next_id, sizeof machine().next_id);
  ++machine().next_id;
  return Code::Ok;
}
Code join(Context* context, std::int32_t ranks, std::int32_t rank, const UniqueId* id) {
  EmulatedContext& mine = static_cast<EmulatedContext&>(*context);
  std::uint64_t key = 0;
  std::memcpy(&key, id->bytes, sizeof key);
  {
    const std::lock_guard<std::mutex> lock(machine().mutex);
    mine.group = &machine().groups[key];
    mine.group->ops.resize(static_cast<std::size_t>(ranks));
  }
  mine.rank = rank;
  mine.group->meeting.wait(static_cast<std::size_t>(ranks));
  return Code::Ok;
}

float number(Type type, const void* from, std::int64_t i) {
  if (type == Type::F32) return static_cast<const float*>(from)[i];
  return bf16_value(static_cast<const std::uint16_t*>(from)[i]);
}
void set_number(Type type, void* to, std::int64_t i, float x) {
  if (type == Type::F32) {
    static_cast<float*>(to)[i] = x;
  } else {
    static_cast<std::uint16_t*>(to)[i] = static_cast<std::uint16_t>(bf16_bits(x));
  }
}

// Number `i` of what rank `rank` is left with.
float outcome(const std::vector<const Collective*>& ops, std::size_t rank, std::int64_t i) {
  const Collective& op = *ops[rank];
  const auto mine = static_cast<std::int64_t>(rank);
  const auto of = [&](std::int64_t peer, std::int64_t at) {
    return number(op.type, ops[static_cast<std::size_t>(peer)]->in, at);
  };
  const std::int64_t piece = i / op.count, within = i % op.count;
  float sum = 0;
  switch (op.what) {
    case Exchange::AllGather:
      return of(piece, within);
    case Exchange::AllToAll:
      return of(piece, mine * op.count + within);
    case Exchange::Broadcast:
    case Exchange::SendReceive:
      return of(op.peer, i);
    case Exchange::AllReduce:
    case Exchange::ReduceScatter:
      break;
  }
  const std::int64_t at = op.what == Exchange::ReduceScatter ? mine * op.count + i : i;
  for (std::int64_t peer = 0; peer < std::ssize(ops); ++peer) sum += of(peer, at);
  return sum;
}

}  // namespace

Code run(Context& context, const Collective& op) {
  EmulatedContext& mine = static_cast<EmulatedContext&>(context);
  if (mine.group == nullptr)
    return refuse(context, Code::Invalid, "a collective before the ranks have joined");
  std::vector<const Collective*>& ops = mine.group->ops;
  const std::size_t rank = static_cast<std::size_t>(mine.rank);
  ops[rank] = &op;
  mine.group->meeting.wait(ops.size());
  const bool gathers = op.what == Exchange::AllGather || op.what == Exchange::AllToAll;
  std::vector<float> out(static_cast<std::size_t>(op.count) * (gathers ? ops.size() : 1));
  for (std::int64_t i = 0; i < std::ssize(out); ++i)
    out[static_cast<std::size_t>(i)] = outcome(ops, rank, i);
  mine.group->meeting.wait(ops.size());
  for (std::int64_t i = 0; i < std::ssize(out); ++i)
    set_number(op.type, op.out, i, out[static_cast<std::size_t>(i)]);
  // What is read next may be what another rank has just written.
  mine.group->meeting.wait(ops.size());
  return Code::Ok;
}

Code run(Context& context, const Matmul& op) {
  if (!static_cast<EmulatedContext&>(context).multiplies) return without(context, "cuBLASLt");
  for (std::int64_t i = 0; i < op.m; ++i) {
    for (std::int64_t j = 0; j < op.n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < op.k; ++l) {
        const std::int64_t a = op.transpose_a ? l * op.stride_a + i : i * op.stride_a + l;
        const std::int64_t b = op.transpose_b ? j * op.stride_b + l : l * op.stride_b + j;
        sum += double{number(op.type, op.a, a)} * number(op.type, op.b, b);
      }
      const std::int64_t at = i * op.stride_c + j;
      if (op.beta != 0) sum += double{op.beta} * number(op.out, op.c, at);
      set_number(op.out, op.c, at, static_cast<float>(sum));
    }
  }
  return Code::Ok;
}

Code scaled_by_library(Context& context, const ScaledMatmul& op, std::int64_t pitch) {
  if (!static_cast<EmulatedContext&>(context).multiplies) return without(context, "cuBLASLt");
  if (op.m % 4 != 0 || op.n % 16 != 0 || op.k % 16 != 0)
    return refuse(context, Code::Unsupported, "no such matmul");
  const std::int64_t stride = block_scale_stride(op.k);
  for (std::int64_t i = 0; i < op.m; ++i) {
    for (std::int64_t j = 0; j < op.n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < op.k; ++l) {
        const std::int64_t t = l / 128;
        const float scale_b = op.scale_b[op.b_blocks ? j / 128 * stride + t : t * op.n + j];
        sum += double{e4m3_value(op.a[i * pitch + l])} * op.scale_a[t * op.m + i] *
               e4m3_value(op.b[j * pitch + l]) * scale_b;
      }
      const std::int64_t at = i * op.n + j;
      if (op.beta != 0) sum += double{op.beta} * number(op.out, op.c, at);
      set_number(op.out, op.c, at, static_cast<float>(sum));
    }
  }
  return Code::Ok;
}

Code run(Context& context, const Copy& op) { return copy(&context, op.to, op.from, op.bytes); }

void emulate(const Emulated& shape) {
  const std::lock_guard<std::mutex> lock(machine().mutex);
  machine().shape = shape;
}
void emulate_backwards(bool backwards) { emulated::run_backwards(backwards); }

const Api& emulated_api() {
  static const Api api{
      .probe = probe,
      .open = open,
      .close = [](Context* c) { delete static_cast<EmulatedContext*>(c); },
      .problem = [](const Context* c) -> const char* { return c->problem; },
      .info = info,
      .allocate = allocate,
      .release = release,
      .allocate_host = allocate,
      .release_host = release,
      .to_device = copy,
      .to_host = copy,
      .fill =
          [](Context*, void* to, std::int32_t byte, std::int64_t bytes) {
            std::memset(to, byte, static_cast<std::size_t>(bytes));
            return Code::Ok;
          },
      .randomise = [](Context* c, void* to, Type type, std::int64_t count,
                      std::uint64_t seed) { return random_numbers(*c, to, type, count, seed); },
      .wait = [](Context*) { return Code::Ok; },
      .run = [](Context* c, Verb verb, const void* op,
                std::size_t bytes) { return run_verb(*c, verb, op, bytes); },
      .time = time,
      .unique_id = unique_id,
      .join = join};
  return api;
}

}  // namespace narrows::gpu
