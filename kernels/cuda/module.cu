// The module's table: contexts, memory, copies; the verbs are in the other files.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/libraries.cuh"
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {

Code make_unique_id(Context& context, UniqueId& out);  // collective.cu
Code join_ranks(Context& context, int ranks, int rank, const UniqueId& where);
Code describe_device(Context& context, DeviceInfo& out);  // device_info.cu
Code time_op(Context& context, const Timing& timing);     // timing.cu

namespace {

// As much as cuBLASLt wants on Hopper, and more than its cache of 50 MiB, so that filling it
// empties that.
constexpr std::int64_t kWorkspaceBytes = 64 << 20;

cudaStream_t stream_of(const Context& context) { return static_cast<cudaStream_t>(context.stream); }

Code verdict(Context& context, cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return Code::Ok;
  cudaGetLastError();  // or it would be reported again
  return refuse(context, Code::Device, "%s: %s", doing, cudaGetErrorString(error));
}

Code probe(char* problem, std::size_t size, std::int32_t* devices) {
  *devices = 0;
  problem[0] = '\0';
  int driver = 0;
  cudaDriverGetVersion(&driver);
  const cudaError_t error = cudaGetDeviceCount(devices);
  if (error == cudaSuccess && *devices > 0) return Code::Ok;
  *devices = 0;
  if (driver == 0) {
    std::snprintf(problem, size, "this machine has no NVIDIA driver");
  } else {
    std::snprintf(problem, size, "no GPU: %s",
                  error == cudaSuccess ? "the driver knows none" : cudaGetErrorString(error));
  }
  return Code::Device;
}

Code prepare(Context& context) {
  cudaDeviceProp properties;
  Code code = verdict(context, cudaSetDevice(context.device), "device");
  if (code == Code::Ok) {
    code = verdict(context, cudaGetDeviceProperties(&properties, context.device), "device");
  }
  if (code != Code::Ok) return code;
  context.multiprocessors = properties.multiProcessorCount;
  context.architecture = 10 * properties.major + properties.minor;
  if (context.architecture < 80) {
    return refuse(context, Code::Unsupported, "%s has sm_%d, expected sm_80 or newer",
                  properties.name, context.architecture);
  }
  cudaStream_t stream = nullptr;
  code = verdict(context, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  context.stream = stream;
  if (code != Code::Ok) return code;
  context.workspace_bytes = kWorkspaceBytes;
  code = verdict(context, cudaMalloc(&context.workspace, kWorkspaceBytes), "scratch memory");
  if (code != Code::Ok) return code;
  void* scratch = nullptr;
  code = verdict(context, cudaMalloc(&scratch, kScratchBytes), "scratch memory");
  context.scratch = static_cast<float*>(scratch);
  return code;
}

void close(Context* context) {
  if (context == nullptr) return;
  if (context->libraries != nullptr) {
    release(context->libraries->collective);
    release(context->libraries->matmul);
    release(context->libraries->clock);
    delete context->libraries;
  }
  if (context->workspace != nullptr) cudaFree(context->workspace);
  if (context->scratch != nullptr) cudaFree(context->scratch);
  if (context->stream != nullptr) cudaStreamDestroy(stream_of(*context));
  delete context;
}

Code open(std::int32_t device, Context** out, char* problem, std::size_t size) {
  *out = nullptr;
  std::int32_t devices = 0;
  const Code found = probe(problem, size, &devices);
  if (found != Code::Ok) return found;
  Context* context = new Context;
  context->device = device;
  context->libraries = new Libraries;
  const Code code = device < 0 || device >= devices
                        ? refuse(*context, Code::Invalid, "device %d of %d", device, devices)
                        : prepare(*context);
  if (code == Code::Ok) {
    *out = context;
    return code;
  }
  std::snprintf(problem, size, "%s", context->problem);
  close(context);
  return code;
}

const char* problem_of(const Context* context) { return context->problem; }

Code allocate(Context* context, std::int64_t bytes, void** out) {
  return verdict(*context, cudaMalloc(out, static_cast<std::size_t>(bytes)),
                 "memory of the device");
}
void release_memory(Context*, void* memory) { cudaFree(memory); }
Code allocate_host(Context* context, std::int64_t bytes, void** out) {
  return verdict(*context, cudaMallocHost(out, static_cast<std::size_t>(bytes)), "pinned memory");
}
void release_host(Context*, void* memory) { cudaFreeHost(memory); }

Code wait(Context* context) {
  return verdict(*context, cudaStreamSynchronize(stream_of(*context)), "the device");
}

Code to_device(Context* context, void* to, const void* from, std::int64_t bytes) {
  const Code code = verdict(*context,
                            cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes),
                                            cudaMemcpyHostToDevice, stream_of(*context)),
                            "copy to the device");
  return code == Code::Ok ? wait(context) : code;
}
Code to_host(Context* context, void* to, const void* from, std::int64_t bytes) {
  const Code code = verdict(*context,
                            cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes),
                                            cudaMemcpyDeviceToHost, stream_of(*context)),
                            "copy from the device");
  return code == Code::Ok ? wait(context) : code;
}
Code fill(Context* context, void* to, std::int32_t byte, std::int64_t bytes) {
  return verdict(*context,
                 cudaMemsetAsync(to, byte, static_cast<std::size_t>(bytes), stream_of(*context)),
                 "fill");
}

}  // namespace

Code run(Context& context, const Copy& op) {
  const cudaMemcpyKind kinds[] = {cudaMemcpyDeviceToDevice, cudaMemcpyHostToDevice,
                                  cudaMemcpyDeviceToHost};
  return verdict(context,
                 cudaMemcpyAsync(op.to, op.from, static_cast<std::size_t>(op.bytes),
                                 kinds[static_cast<int>(op.path)], stream_of(context)),
                 "copy");
}

}  // namespace narrows::gpu

extern "C" __attribute__((visibility("default"))) const narrows::gpu::Api* narrows_gpu_api() {
  using namespace narrows::gpu;
  static const Api api{
      .probe = probe,
      .open = open,
      .close = close,
      .problem = problem_of,
      .info = [](Context* c, DeviceInfo* out) { return describe_device(*c, *out); },
      .allocate = allocate,
      .release = release_memory,
      .allocate_host = allocate_host,
      .release_host = release_host,
      .to_device = to_device,
      .to_host = to_host,
      .fill = fill,
      .randomise = [](Context* c, void* to, Type type, std::int64_t count,
                      std::uint64_t seed) { return random_numbers(*c, to, type, count, seed); },
      .wait = wait,
      .run = [](Context* c, Verb verb, const void* op,
                std::size_t bytes) { return run_verb(*c, verb, op, bytes); },
      .time = [](Context* c, const Timing* timing) { return time_op(*c, *timing); },
      .unique_id = [](Context* c, UniqueId* out) { return make_unique_id(*c, *out); },
      .join = [](Context* c, std::int32_t ranks, std::int32_t rank,
                 const UniqueId* id) { return join_ranks(*c, ranks, rank, *id); }};
  return &api;
}
