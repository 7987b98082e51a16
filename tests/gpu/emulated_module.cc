// SPDX-License-Identifier: Apache-2.0
#include "gpu/emulated_module.h"

#include <chrono>
#include <cstdlib>

#include "kernels/cuda/context.cuh"

namespace narrows::gpu {
namespace {

Code without(Context& context, const char* what) {
  return refuse(context, Code::Unsupported, "the emulated device has no %s", what);
}

Code probe(char* problem, std::size_t, std::int32_t* devices) {
  problem[0] = '\0';
  *devices = 1;
  return Code::Ok;
}
Code open(std::int32_t, Context** out, char*, std::size_t) {
  *out = new Context;
  (*out)->multiprocessors = 2;
  return Code::Ok;
}
Code info(Context*, DeviceInfo* out) {
  *out = {};
  std::snprintf(out->name, sizeof out->name, "emulated");
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

}  // namespace

Code run(Context& context, const Matmul&) { return without(context, "cuBLASLt"); }
Code run(Context& context, const ScaledMatmul&) { return without(context, "cuBLASLt"); }
Code run(Context& context, const Collective&) { return without(context, "NCCL"); }
Code run(Context& context, const Copy& op) { return copy(&context, op.to, op.from, op.bytes); }

void emulate_backwards(bool backwards) { emulated::run_backwards(backwards); }

const Api& emulated_api() {
  static const Api api{
      .probe = probe,
      .open = open,
      .close = [](Context* c) { delete c; },
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
      .unique_id = [](Context* c, UniqueId*) { return without(*c, "NCCL"); },
      .join = [](Context* c, std::int32_t, std::int32_t,
                 const UniqueId*) { return without(*c, "NCCL"); }};
  return api;
}

}  // namespace narrows::gpu
