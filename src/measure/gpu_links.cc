// SPDX-License-Identifier: Apache-2.0
#include "measure/gpu_links.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "measure/gpu_link_case.h"
#include "measure/profile.h"
#include "runtime/world.h"

namespace narrows {
namespace {

// A sample must outlast what the threads' meeting before it costs.
constexpr Seconds kShortest = 1 * ms;
// NCCL takes some seconds to find its ways among GPUs, in which no rank is heard of.
constexpr Seconds kSilence = 120 * sec;

// What rank 0 of a group hands to the others before they join.
struct Invitation {
  gpu::UniqueId id{};
  bool is_valid = false;
};

// One device's part.
class DeviceLinks {
 public:
  DeviceLinks(const gpu::Api& api, const GpuLinkOptions& options, const GpuLinkEvents& events,
              Communicator& world)
      : api_(api), options_(options), events_(events), world_(world) {}

  Status run(GpuLinkSummary& summary) {
    start_ = options_.now();
    Gpu gpu = TRY(Gpu::open(api_, world_.rank()));
    std::unique_ptr<GpuLinkBench> bench = TRY(GpuLinkBench::make(gpu, options_.largest));
    const std::vector<int> groups = group_sizes();
    phases_left_ = 1 + static_cast<int>(groups.size());
    summary_.gpus = world_.size();
    TRY(time(bench->copies()));
    for (const int ranks : groups) {
      TRY(join(gpu, ranks));
      if (!summary_.no_collectives.empty()) break;
      TRY(time(bench->collectives({ranks, world_.rank() % ranks})));
    }
    if (world_.size() == 1)
      summary_.no_collectives = "collectives need two GPUs, and this machine shows one";
    summary_.elapsed = options_.now() - start_;
    if (world_.rank() == 0) summary = summary_;
    return {};
  }

 private:
  std::vector<int> group_sizes() const {
    std::vector<int> sizes;
    for (int ranks = 2; ranks <= world_.size(); ++ranks) {
      if (world_.size() % ranks == 0) sizes.push_back(ranks);
    }
    return sizes;
  }

  // Neighbours become one group of NCCL's. Without NCCL none does, and it is said why.
  Status join(Gpu& gpu, int ranks) {
    const std::unique_ptr<Communicator> group =
        TRY(world_.split(world_.rank() / ranks, world_.rank()));
    Invitation invitation;
    std::string why;
    if (group->rank() == 0) {
      const Result<gpu::UniqueId> made = gpu.unique_id();
      if (made) invitation = {*made, true};
      if (!made) why = made.error().message;
    }
    std::array<std::byte, sizeof(Invitation)> bytes{};
    std::memcpy(bytes.data(), &invitation, sizeof invitation);
    TRY(group->broadcast(std::span<std::byte>(bytes), 0));
    std::memcpy(&invitation, bytes.data(), sizeof invitation);
    // All ranks join or none.
    std::array<double, 1> missing = {invitation.is_valid ? 0.0 : 1.0};
    TRY(world_.all_reduce(std::span<double>(missing), Reduction::Max));
    if (missing[0] > 0) {
      summary_.no_collectives = why.empty() ? "another GPU has no NCCL" : why;
      return {};
    }
    return gpu.join(ranks, group->rank(), invitation.id);
  }

  Status time(const std::vector<GpuLinkCase>& all) {
    std::vector<const GpuLinkCase*> cases;
    std::vector<BenchTask> tasks;
    for (const GpuLinkCase& c : all) {
      ++summary_.cases;
      if (options_.known.count(link_key(c.what)) > 0) {
        ++summary_.known;
        continue;
      }
      cases.push_back(&c);
      tasks.push_back(c.task);
    }
    BenchOptions bench;
    bench.rules = options_.rules;
    bench.rules.budget = (options_.rules.budget - (options_.now() - start_)) / phases_left_--;
    bench.shortest = kShortest;
    bench.stop = options_.stop;
    bench.progress = events_.progress;
    bench.result = [&](int task, const SampleSummary& s) -> Status {
      ++summary_.measured;
      const GpuLinkCase& c = *cases[static_cast<std::size_t>(task)];
      LinkObservation seen{c.what, {s.p10 / c.parts, s.p90 / c.parts, s.samples}};
      seen.what.time = max(s.mean / c.parts, 1 * ns);
      return events_.link ? events_.link(seen) : Status();
    };
    const BenchSite site{.world = world_.size() > 1 ? &world_ : nullptr, .now = options_.now};
    TRY(time_tasks(tasks, site, bench));
    return {};
  }

  const gpu::Api& api_;
  const GpuLinkOptions& options_;
  const GpuLinkEvents& events_;
  Communicator& world_;
  Seconds start_;
  int phases_left_ = 1;
  GpuLinkSummary summary_;
};

}  // namespace

Result<GpuLinkSummary> profile_gpu_links(const gpu::Api& api, const GpuLinkOptions& options,
                                         const GpuLinkEvents& events) {
  if (job_size() > 0)
    return unsupported("links of GPUs are timed by one process, found several: start it alone");
  GpuLinkSummary summary;
  const int gpus = TRY(count_gpus(api));
  const WorldEnd end =
      run_world({.ranks = gpus, .silence = kSilence}, [&](Communicator& world) -> Status {
        return DeviceLinks(api, options, events, world).run(summary);
      });
  if (end.is_broken && events.broken) events.broken(end.status.error());
  TRY(end.status);
  return summary;
}

}  // namespace narrows
