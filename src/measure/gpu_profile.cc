// SPDX-License-Identifier: Apache-2.0
#include "measure/gpu_profile.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace narrows {
namespace {

// So many failures of the device in a row, and it is taken for lost.
constexpr int kPatience = 25;

constexpr OpKind kMoves[] = {
    OpKind::Norm,   OpKind::Rope,    OpKind::ActivationFn, OpKind::Elementwise, OpKind::Quantise,
    OpKind::Router, OpKind::Permute, OpKind::Embedding,    OpKind::Loss,        OpKind::Optimizer};

std::optional<OpKind> kind_of(const Measurement& what) {
  if (what.family == KernelFamily::Matmul) return OpKind::Matmul;
  if (what.family == KernelFamily::Attention) return OpKind::Attention;
  for (const OpKind kind : kMoves) {
    if (to_string(kind) == what.memory_class) return kind;
  }
  return std::nullopt;
}

std::vector<GpuCase> distinct(const std::vector<OpCase>& cases) {
  std::vector<GpuCase> list;
  std::set<std::string> keys;
  for (const OpCase& c : cases) {
    std::optional<GpuCase> on_gpu = gpu_case(c);
    if (on_gpu && keys.insert(key_of(on_gpu->what)).second) list.push_back(std::move(*on_gpu));
  }
  Random random(1);
  for (std::size_t i = list.size(); i > 1; --i)
    std::swap(list[i - 1], list[static_cast<std::size_t>(random.below(i))]);
  return list;
}

KernelObservation row_of(const GpuCase& c, const GpuTimes& times) {
  std::vector<Sample> samples;
  for (const gpu::Sample& sample : times.samples)
    samples.push_back({kernel_time(sample), {}, false});
  const SampleSummary s = summarise(samples, {}, 0);
  KernelObservation row{c.what, {s.p10, s.p90, s.samples}, times.samples.front().kernel};
  row.what.time = max(s.mean, 1 * ns);
  return row;
}

class GpuProfile {
 public:
  GpuProfile(Gpu& gpu, const GpuProfileOptions& options, const GpuProfileEvents& events)
      : gpu_(gpu), options_(options), events_(events), rules_(options.rules) {}

  Result<GpuProfileSummary> run() {
    const Seconds start = options_.now();
    const std::vector<GpuCase> cases = distinct(options_.cases);
    summary_.cases = static_cast<int>(cases.size());
    TRY(choose_clock());
    int seen = 0;
    for (const GpuCase& c : cases) {
      summary_.elapsed = options_.now() - start;
      if (summary_.elapsed >= options_.budget || stopped()) break;
      ++seen;
      if (options_.known.count(key_of(c.what)) > 0) {
        ++summary_.known;
        continue;
      }
      TRY(time(c));
      if (events_.progress)
        events_.progress({summary_.cases, seen, options_.now() - start, options_.budget});
    }
    summary_.elapsed = options_.now() - start;
    return summary_;
  }

 private:
  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }

  // By CUPTI where it runs.
  Status choose_clock() {
    if (!rules_.kernels) return {};
    const GpuWork first{.kind = OpKind::Elementwise, .rows = 1024, .columns = 1024};
    const Result<GpuTimes> probe = time_on_gpu(gpu_, first, rules_);
    if (probe) return {};
    if (probe.error().code != ErrorCode::Unsupported) return tl::unexpected(probe.error());
    rules_.kernels = false;
    summary_.by_events = true;
    return {};
  }

  Status time(const GpuCase& c) {
    const Result<GpuTimes> times = time_on_gpu(gpu_, c.work, rules_);
    if (times) {
      failures_ = 0;
      ++summary_.measured;
      return events_.kernel ? events_.kernel(row_of(c, *times)) : Status();
    }
    // One that does not fit into the memory fails alone.
    const bool is_lost = times.error().code == ErrorCode::Device && ++failures_ >= kPatience;
    if (is_lost) return tl::unexpected(times.error());
    ++summary_.refused[times.error().message];
    return {};
  }

  Gpu& gpu_;
  const GpuProfileOptions& options_;
  const GpuProfileEvents& events_;
  GpuRules rules_;
  GpuProfileSummary summary_;
  int failures_ = 0;
};

}  // namespace

std::optional<GpuCase> gpu_case(const OpCase& c) {
  const std::optional<OpKind> kind = kind_of(c.what);
  // Memory classes without an extent: what the runtime does by the way.
  if (!kind || c.name == "packing") return std::nullopt;
  GpuCase on_gpu{c.what, {.kind = *kind, .direction = c.what.direction, .recipe = c.what.recipe}};
  on_gpu.work.matmul = c.what.matmul;
  on_gpu.work.attention = c.what.attention;
  on_gpu.work.rows = c.extent.rows;
  on_gpu.work.columns = c.extent.columns;
  if (*kind == OpKind::Matmul) return on_gpu;
  // Attention and what moves memory run in 16 bits.
  on_gpu.what.recipe = on_gpu.work.recipe = Recipe::Bf16;
  if (*kind != OpKind::Attention)
    on_gpu.what.traffic = std::floor(floor_of(on_gpu.work).bytes) * byte;
  return on_gpu;
}

Result<GpuProfileSummary> profile_gpu(Gpu& gpu, const GpuProfileOptions& options,
                                      const GpuProfileEvents& events) {
  return GpuProfile(gpu, options, events).run();
}

Machine fingerprint_of(const gpu::DeviceInfo& device, const std::string& chip) {
  Machine m;
  m.chip = chip;
  m.device = device.name;
  m.clock = device.clock / sec;
  m.memory_clock = device.memory_clock / sec;
  m.driver = device.driver;
  m.libraries = device.libraries;
  return m;
}

}  // namespace narrows
