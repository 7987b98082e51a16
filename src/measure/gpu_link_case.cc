// SPDX-License-Identifier: Apache-2.0
#include "measure/gpu_link_case.h"

#include <utility>

namespace narrows {
namespace {

constexpr std::int64_t kSmallest = 256;

// As many as nccl-tests starts in a row; of large ones fewer, which are long enough for the clock.
int parts_of(std::int64_t bytes) { return bytes <= 4 << 20 ? 20 : 5; }

constexpr std::pair<CollectiveKind, gpu::Exchange> kExchanges[] = {
    {CollectiveKind::AllReduce, gpu::Exchange::AllReduce},
    {CollectiveKind::AllGather, gpu::Exchange::AllGather},
    {CollectiveKind::ReduceScatter, gpu::Exchange::ReduceScatter},
    {CollectiveKind::AllToAll, gpu::Exchange::AllToAll},
    {CollectiveKind::Broadcast, gpu::Exchange::Broadcast},
    {CollectiveKind::SendRecv, gpu::Exchange::SendReceive}};

// Elements of a rank as gpu::Collective counts them: of the buffer, or of each rank's piece.
bool counts_pieces(gpu::Exchange what) {
  return what == gpu::Exchange::AllGather || what == gpu::Exchange::ReduceScatter ||
         what == gpu::Exchange::AllToAll;
}

LinkMeasurement link_of(CollectiveKind what, int ranks, std::int64_t bytes) {
  LinkMeasurement link;
  link.what = what;
  link.ranks = link.ranks_per_node = ranks;
  link.bytes = static_cast<double>(bytes) * byte;
  return link;
}

}  // namespace

Result<std::unique_ptr<GpuLinkBench>> GpuLinkBench::make(Gpu& gpu, Bytes largest) {
  const auto bytes = static_cast<std::int64_t>(largest / byte);
  GpuMemory from = TRY(GpuMemory::allocate(gpu, bytes));
  GpuMemory to = TRY(GpuMemory::allocate(gpu, bytes));
  // What is all zeros takes less power, and so less time.
  TRY(from.randomise(gpu::Type::Bf16, 1));
  TRY(to.randomise(gpu::Type::Bf16, 2));
  void* host = nullptr;
  TRY(gpu.verdict(gpu.api().allocate_host(gpu.context(), bytes, &host)));
  std::unique_ptr<GpuLinkBench> bench(new GpuLinkBench(gpu, std::move(from), std::move(to), host));
  TRY(bench->from_.to_host(host, bytes));
  return bench;
}

GpuLinkBench::~GpuLinkBench() { gpu_.api().release_host(gpu_.context(), host_); }

template <typename Op>
GpuLinkCase GpuLinkBench::case_of(const LinkMeasurement& what, const Op& op) {
  const int parts = parts_of(static_cast<std::int64_t>(what.bytes / byte));
  Gpu* const gpu = &gpu_;
  const auto run = [gpu, op, parts]() -> Status {
    for (int i = 0; i < parts; ++i) TRY(gpu->run(op));
    return gpu->wait();
  };
  return {what, {run, what.ranks > 1}, parts};
}

std::vector<GpuLinkCase> GpuLinkBench::copies() {
  const struct {
    const char* method;
    gpu::Path path;
    const void* from;
    void* to;
  } ways[] = {{kCopyToDevice, gpu::Path::HostToDevice, host_, to_.data()},
              {kCopyToHost, gpu::Path::DeviceToHost, from_.data(), host_},
              {kCopyOnDevice, gpu::Path::DeviceToDevice, from_.data(), to_.data()}};
  std::vector<GpuLinkCase> cases;
  for (const auto& way : ways) {
    for (std::int64_t bytes = kSmallest; bytes <= from_.bytes(); bytes *= 4) {
      LinkMeasurement link = link_of(CollectiveKind::SendRecv, 1, bytes);
      link.method = way.method;
      cases.push_back(case_of(link, gpu::Copy{way.path, way.from, way.to, bytes}));
    }
  }
  return cases;
}

std::vector<GpuLinkCase> GpuLinkBench::collectives(const GpuGroup& group) {
  std::vector<GpuLinkCase> cases;
  for (const auto& [what, exchange] : kExchanges) {
    if (what == CollectiveKind::SendRecv && group.ranks != 2) continue;
    for (std::int64_t bytes = kSmallest; bytes <= from_.bytes(); bytes *= 4) {
      // Whole elements for every member.
      const std::int64_t piece = bytes / 2 / group.ranks, all = piece * group.ranks;
      LinkMeasurement link = link_of(what, group.ranks, 2 * all);
      link.dtype = "bf16";
      link.method = "nccl";
      const gpu::Collective op{.what = exchange,
                               .type = gpu::Type::Bf16,
                               .count = counts_pieces(exchange) ? piece : all,
                               .in = from_.data(),
                               .out = to_.data(),
                               .peer = what == CollectiveKind::SendRecv ? 1 - group.rank : 0};
      if (piece > 0) cases.push_back(case_of(link, op));
    }
  }
  return cases;
}

}  // namespace narrows
