// SPDX-License-Identifier: Apache-2.0
#include "runtime/gpu_module.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <utility>

namespace narrows {
namespace {

// The folder of the running program, with a slash; "" if the system does not tell.
std::string program_folder() {
  std::string path(4096, '\0');
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0) return "";
  path.resize(static_cast<std::size_t>(length));
  return path.substr(0, path.rfind('/') + 1);
}

bool exists(const std::string& file) { return access(file.c_str(), R_OK) == 0; }

}  // namespace

Result<const gpu::Api*> load_gpu_module() {
  const std::string folder = program_folder();
  for (const char* place : {"gpu.so", "../lib/narrows/gpu.so"}) {
    if (exists(folder + place)) return load_gpu_module(folder + place);
  }
  return not_found(
      "no GPU: expected gpu.so beside the program, found none: it was built without CUDA");
}

Result<const gpu::Api*> load_gpu_module(const std::string& file) {
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return unsupported(fmt::format("{}: {}", file, dlerror()));
  using Entry = const gpu::Api* (*)();
  const Entry entry = reinterpret_cast<Entry>(dlsym(handle, gpu::kEntry));
  if (entry == nullptr) {
    return unsupported(fmt::format("{}: expected the function {}, found none", file, gpu::kEntry));
  }
  const gpu::Api* api = entry();
  if (api->version == gpu::kVersion) return api;
  return unsupported(
      fmt::format("{}: expected version {}, found {}", file, gpu::kVersion, api->version));
}

Result<int> count_gpus(const gpu::Api& api) {
  char problem[256] = "";
  std::int32_t devices = 0;
  if (api.probe(problem, sizeof problem, &devices) == gpu::Code::Ok) return devices;
  return tl::unexpected(Error{ErrorCode::Device, detail::one_line(problem)});
}

Result<Gpu> Gpu::open(const gpu::Api& api, int device) {
  char problem[256] = "";
  gpu::Context* context = nullptr;
  if (api.open(device, &context, problem, sizeof problem) == gpu::Code::Ok)
    return Gpu(api, context);
  return tl::unexpected(Error{ErrorCode::Device, detail::one_line(problem)});
}

Status Gpu::verdict(gpu::Code code) const {
  if (code == gpu::Code::Ok) return {};
  std::string problem = detail::one_line(api_->problem(context_.get()));
  switch (code) {
    case gpu::Code::Unsupported:
      return unsupported(std::move(problem));
    case gpu::Code::Invalid:
      return invalid(std::move(problem));
    default:
      return tl::unexpected(Error{ErrorCode::Device, std::move(problem)});
  }
}

Result<gpu::DeviceInfo> Gpu::info() {
  gpu::DeviceInfo out;
  TRY(verdict(api_->info(context_.get(), &out)));
  return out;
}

Status Gpu::wait() { return verdict(api_->wait(context_.get())); }

Result<std::vector<gpu::Sample>> Gpu::time(gpu::Verb verb, std::size_t op_bytes,
                                           const std::vector<const void*>& ops, Counts counts) {
  std::vector<gpu::Sample> samples(static_cast<std::size_t>(counts.samples));
  const gpu::Timing timing{.verb = verb,
                           .op_bytes = op_bytes,
                           .ops = ops.data(),
                           .variants = static_cast<std::int32_t>(ops.size()),
                           .warm = counts.warm,
                           .samples = counts.samples,
                           .cupti = counts.kernels,
                           .out = samples.data()};
  TRY(verdict(api_->time(context_.get(), &timing)));
  return samples;
}

Result<gpu::UniqueId> Gpu::unique_id() {
  gpu::UniqueId id;
  TRY(verdict(api_->unique_id(context_.get(), &id)));
  return id;
}

Status Gpu::join(int ranks, int rank, const gpu::UniqueId& id) {
  return verdict(api_->join(context_.get(), ranks, rank, &id));
}

Result<GpuMemory> GpuMemory::allocate(Gpu& gpu, std::int64_t bytes) {
  void* data = nullptr;
  TRY(gpu.verdict(gpu.api().allocate(gpu.context(), bytes, &data)));
  return GpuMemory(gpu, data, bytes);
}

GpuMemory::GpuMemory(GpuMemory&& other) noexcept
    : gpu_(other.gpu_), data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}

GpuMemory& GpuMemory::operator=(GpuMemory&& other) noexcept {
  std::swap(gpu_, other.gpu_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

GpuMemory::~GpuMemory() {
  if (data_ != nullptr) gpu_->api().release(gpu_->context(), data_);
}

Status GpuMemory::from_host(const void* from, std::int64_t bytes) {
  ASSERT(bytes <= bytes_);
  return gpu_->verdict(gpu_->api().to_device(gpu_->context(), data_, from, bytes));
}

Status GpuMemory::to_host(void* to, std::int64_t bytes) const {
  ASSERT(bytes <= bytes_);
  return gpu_->verdict(gpu_->api().to_host(gpu_->context(), to, data_, bytes));
}

Status GpuMemory::fill(int byte) {
  return gpu_->verdict(gpu_->api().fill(gpu_->context(), data_, byte, bytes_));
}

Status GpuMemory::randomise(gpu::Type type, std::uint64_t seed) {
  const std::int64_t size = type == gpu::Type::F32 ? 4 : 2;
  return gpu_->verdict(gpu_->api().randomise(gpu_->context(), data_, type, bytes_ / size, seed));
}

}  // namespace narrows
