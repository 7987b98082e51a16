// SPDX-License-Identifier: Apache-2.0
#include "accuracy/run_strategy.h"

#include <fmt/format.h>

#include <algorithm>

namespace narrows {
namespace {

using Assumed = std::vector<std::string>;

int or_assume(const std::optional<int>& value, const char* name, int fallback, Assumed& assumed) {
  if (value) return *value;
  assumed.push_back(fmt::format("{}={}", name, fallback));
  return fallback;
}

// Interleaved without a printed number of chunks: one layer a chunk where layers (or layers and
// both ends) divide, which is as interleaved as the schedule gets; else two chunks a rank.
int chunks_by_default(const ModelSpec& model, int pp) {
  if (model.layers % pp == 0 && model.layers / pp > 1) return model.layers / pp;
  const int items = model.layers + 2;
  if (items % pp == 0 && items / pp > 1) return items / pp;
  return 2;
}

bool is_torchtitan(const Run& run) { return run.software == "torchtitan"; }

// Until torchtitan took a size of micro-batches (pipeline_parallel_microbatch_size, 1) it took a
// number (pipeline_parallel_microbatches), of which the default was one for each pipeline rank.
constexpr const char* kMicroBatchesBySize = "2025-05";

void split_batch(const Run& run, Strategy& s, Assumed& assumed) {
  if (!is_torchtitan(run) || s.pp == 1 || run.software_date.empty() ||
      run.software_date >= kMicroBatchesBySize)
    return;
  const std::int64_t sequences = s.micro_batch * s.micro_batches;
  if (s.micro_batch != 1 || sequences % s.pp != 0 || sequences == s.pp) return;
  s.micro_batch = static_cast<int>(sequences / s.pp);
  s.micro_batches = s.pp;
  assumed.push_back(fmt::format("micro_batch={}", s.micro_batch));
}

void add_schedule(const Run& run, Strategy& s, Assumed& assumed) {
  const RunLayout& layout = run.layout;
  const std::optional<ScheduleKind> named = schedule_of(layout.schedule);
  if (s.pp == 1) {
    s.schedule = ScheduleKind::OneFOneB;
    return;
  }
  const bool chunked = layout.vpp.value_or(1) > 1;
  s.schedule = chunked ? ScheduleKind::Interleaved : ScheduleKind::OneFOneB;
  if (named) {
    s.schedule = *named;
  } else {
    assumed.push_back("schedule=" + to_string(s.schedule));
  }
  // The interleaved schedule with one chunk a rank is 1F1B.
  if (s.schedule == ScheduleKind::Interleaved && layout.vpp == 1)
    s.schedule = ScheduleKind::OneFOneB;
  if (s.schedule != ScheduleKind::Interleaved) return;
  // torchtitan: two stages a rank unless told (its pipelining guide and later releases' default).
  const int chunks = is_torchtitan(run) ? 2 : chunks_by_default(*run.model, s.pp);
  s.vpp = or_assume(layout.vpp, "vpp", chunks, assumed);
}

// Megatron-Core's own default splits experts as the rest of the model; the recipes of NVIDIA's
// later releases say 1, since experts may then be folded over all ranks of a stage.
constexpr const char* kExpertsFolded = "2025-03";

int expert_split_by_default(const Run& run, const SoftwareProfile& software, int tp) {
  const bool early = !run.software_date.empty() && run.software_date < kExpertsFolded;
  return early && software.expert_tensor_parallel ? tp : 1;
}

void add_zero(const Run& run, const SoftwareProfile& software, Strategy& s, Assumed& assumed) {
  const int replicas = s.dp * s.cp;
  int fallback = 0;
  if (run.layout.sharded_optimizer.value_or(false)) fallback = 1;
  if (run.layout.shard.value_or(1) > 1) fallback = 3;  // weights sharded over so many ranks
  s.zero = run.layout.zero ? *run.layout.zero : or_assume({}, "zero", fallback, assumed);
  if (s.zero == 2 && s.pp > 1 && software.defers_scatter) s.zero = 1;
  if (replicas == 1) s.zero = 0;
  s.dp_shard = 1;
  if (s.zero == 0) return;
  s.dp_shard = replicas;
  // A printed group smaller than all replicas is hybrid sharding; one of all data-parallel ranks is
  // over the context-parallel ranks too, which hold the same weights.
  int printed = run.layout.shard.value_or(replicas);
  if (printed == s.dp) printed = replicas;
  if (printed > 1 && printed < replicas && replicas % printed == 0) s.dp_shard = printed;
}

// Tensor parallelism shards the tokens outside its regions too wherever the stack can.
void add_sequence_parallel(const Run& run, const SoftwareProfile& software, Strategy& s,
                           Assumed& assumed) {
  if (s.tp == 1) return;
  if (run.layout.sequence_parallel) {
    s.sequence_parallel = *run.layout.sequence_parallel;
    return;
  }
  const bool divides = *run.sequence % (std::int64_t{s.cp} * s.tp) == 0;
  s.sequence_parallel = software.sequence_parallel && divides;
  assumed.push_back(fmt::format("sequence_parallel={}", s.sequence_parallel));
}

void add_precision(const Run& run, const SoftwareProfile& software, Strategy& s, Assumed& assumed) {
  const std::optional<Recipe> recipe = recipe_of(run.layout.recipe);
  s.precision = recipe.value_or(Recipe::Bf16);
  if (!recipe) assumed.push_back("precision=bf16");
  const std::optional<Recompute> recompute = recompute_of(run.layout.recompute);
  if (recompute) {
    s.recompute = *recompute;
    return;
  }
  // A policy that we have no name for keeps most of a layer: nearest to the selective one.
  const auto can = [&](Recompute what) {
    return std::find(software.recomputes.begin(), software.recomputes.end(), what) !=
           software.recomputes.end();
  };
  const bool other = !run.layout.recompute.empty() && can(Recompute::Selective);
  s.recompute = other ? Recompute::Selective : Recompute::None;
  assumed.push_back("recompute=" + to_string(s.recompute));
}

}  // namespace

Result<Strategy> strategy_of(const Run& run, const SoftwareProfile& software,
                             std::vector<std::string>& assumed) {
  Strategy s;
  const RunLayout& layout = run.layout;
  s.tp = or_assume(layout.tp, "tp", 1, assumed);
  s.pp = or_assume(layout.pp, "pp", 1, assumed);
  s.cp = or_assume(layout.cp, "cp", 1, assumed);
  if (run.model->moe) {
    s.ep = or_assume(layout.ep, "ep", 1, assumed);
    s.etp = or_assume(layout.etp, "etp", expert_split_by_default(run, software, s.tp), assumed);
  }
  s.micro_batch = or_assume(layout.micro_batch, "micro_batch", 1, assumed);
  const std::int64_t replica = std::int64_t{s.tp} * s.pp * s.cp;
  const int gpus = *run.hardware.gpus;
  if (gpus % replica != 0)
    return unsupported(fmt::format("{} GPUs are not a multiple of tp·pp·cp = {}", gpus, replica));
  s.dp = static_cast<int>(gpus / replica);
  const std::int64_t rows = std::int64_t{s.dp} * s.micro_batch;
  if (*run.global_batch % rows != 0) {
    return unsupported(fmt::format("a global batch of {} is not a multiple of dp·micro_batch = {}",
                                   *run.global_batch, rows));
  }
  s.micro_batches = *run.global_batch / rows;
  split_batch(run, s, assumed);
  add_schedule(run, s, assumed);
  add_zero(run, software, s, assumed);
  add_sequence_parallel(run, software, s, assumed);
  add_precision(run, software, s, assumed);
  return s;
}

}  // namespace narrows
