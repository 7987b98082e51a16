// SPDX-License-Identifier: Apache-2.0
#include "cli/trial_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "cli/own_measurements.h"
#include "cost/block_cost.h"
#include "measure/machine.h"
#include "measure/op_case.h"
#include "measurement/local_cluster.h"
#include "runtime/cpu_backend.h"
#include "store/import.h"
#include "store/store.h"
#include "timeline/usual_mean.h"

namespace narrows {
namespace {

// A rank of a machine that does nothing else is interrupted a few times a second; one that shares
// its processor, at every end of a time slice.
constexpr double kMostPreemptions = 40;

struct Runs {
  std::vector<Tick> times;
  std::vector<std::int64_t> rows;
};
// Of one op in all layers: block, name, direction.
using OpKey = std::tuple<std::string, std::string, std::string>;

std::map<OpKey, Runs> runs_of(const Timeline& timeline) {
  std::map<OpKey, Runs> all;
  for (const OpSpan& span : timeline.ops) {
    const OpLabel& label = timeline.op_labels[static_cast<std::size_t>(span.label)];
    const bool is_work = !label.block.empty() && label.kind != "collective";
    if (!is_work) continue;
    const std::string direction = label.direction == "R" ? "F" : label.direction;
    Runs& runs = all[{label.block, label.name, direction}];
    runs.times.push_back(span.end - span.start);
    runs.rows.push_back(span.rows);
  }
  return all;
}

struct NamedBlock {
  BlockKind kind;
  const char* name;
};
constexpr NamedBlock kBlocks[] = {{BlockKind::Attention, "attention"},
                                  {BlockKind::DenseFfn, "ffn"},
                                  {BlockKind::Moe, "moe"},
                                  {BlockKind::Embedding, "embedding"},
                                  {BlockKind::Head, "head"}};

const char* letter_of(Direction direction) {
  return direction == Direction::Forward ? "F" : direction == Direction::InputGrad ? "I" : "W";
}

// Whether the runtime talks inside the op (ops_norm.cc, ops_attention.cc, ops_ends.cc).
bool talks(const Op& op, const Strategy& s) {
  if (op.kind == OpKind::Attention) return s.cp > 1;
  if (op.kind == OpKind::Loss) return s.tp > 1;
  return op.kind == OpKind::Norm && op.direction == Direction::InputGrad && s.tp > 1 &&
         !s.sequence_parallel;
}

template <typename T>
T middle(std::vector<T> values, double share = 0.5) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

Graph graph_of(const Plan& plan, BlockKind kind, const Sharding& sharding) {
  RoutedLoad load;
  if (plan.model.moe) load = {exactly(1), exactly(plan.model.moe->top_k)};
  Graph graph =
      build_block({kind, sharding, plan.strategy.precision, fusions_of(plan.software), false},
                  plan.model, load);
  differentiate(graph, Recompute::None, fusions_of(plan.software));
  return graph;
}

// The op as it is filed, for so many rows.
std::optional<Measurement> filed(const GraphSite& site, const Op& op, std::int64_t rows) {
  const OpCase c = op_case(site, op);
  if (!c.run || rows <= 0) return std::nullopt;
  Measurement what = c.what;
  if (what.family == KernelFamily::Matmul) what.matmul.m = exactly(static_cast<double>(rows));
  // Of moves with as many rows as were routed here, the bytes are not the graph's.
  const bool is_routed = op.name.starts_with("expert ") || op.kind == OpKind::Permute;
  if (what.family == KernelFamily::Memory && is_routed) return std::nullopt;
  return what;
}

void add_rows(const std::vector<Op>& ops, const GraphSite& site, const char* block,
              const TrialRun& run, const std::map<OpKey, Runs>& all,
              std::map<std::string, KernelObservation>& rows) {
  for (const Op& op : ops) {
    const auto found = all.find({block, op.name, letter_of(op.direction)});
    if (found == all.end() || talks(op, run.plan.strategy)) continue;
    const Runs& runs = found->second;
    std::optional<Measurement> what = filed(site, op, middle(runs.rows));
    if (!what) continue;
    what->time = max(usual_mean(runs.times), 1 * ns);
    what->chip = run.plan.cluster.chip.name;
    const Spread spread{to_seconds(middle(runs.times, 0.1)), to_seconds(middle(runs.times, 0.9)),
                        static_cast<int>(runs.times.size())};
    rows.emplace(key_of(*what), KernelObservation{*what, spread, ""});
  }
}

}  // namespace

std::vector<KernelObservation> rows_of(const TrialRun& run) {
  std::vector<KernelObservation> list;
  if (run.trial.preemptions > kMostPreemptions) return list;
  if (run.plan.cluster.chip.architecture != kCpuArchitecture) return list;
  const Strategy& s = run.plan.strategy;
  Sharding sharding{s.tp,          s.sequence_parallel,       s.cp, s.ep, s.etp,
                    s.micro_batch, run.plan.training.sequence};
  const std::map<OpKey, Runs> all = runs_of(run.trial.timeline);
  const bool makes_bf16 = make_cpu_backend(1)->makes_bf16();
  std::map<std::string, KernelObservation> rows;
  for (const NamedBlock& block : kBlocks) {
    if (block.kind == BlockKind::Moe && !run.plan.model.moe) continue;
    if (block.kind == BlockKind::DenseFfn && run.plan.model.ffn == 0) continue;
    const Graph graph = graph_of(run.plan, block.kind, sharding);
    const GraphSite site{graph, run.plan.model, sharding, s.precision, makes_bf16};
    add_rows(graph.forward, site, block.name, run, all, rows);
    add_rows(graph.input_grad, site, block.name, run, all, rows);
    add_rows(graph.weight_grad, site, block.name, run, all, rows);
  }
  for (auto& [key, row] : rows) list.push_back(std::move(row));
  return list;
}

Result<std::int64_t> keep_trials(std::span<const TrialRun> runs,
                                 const std::optional<std::string>& db) {
  std::vector<Batch> batches;
  std::int64_t count = 0;
  for (const TrialRun& run : runs) {
    Batch batch;
    batch.kernels = rows_of(run);
    if (batch.kernels.empty()) continue;
    batch.machine = fingerprint_of(this_machine(), gpus_of(run.plan.strategy));
    std::string content;
    for (const KernelObservation& row : batch.kernels)
      content += fmt::format("{} {};", key_of(row.what), row.what.time / ns);
    batch.origin = {kTrialOrigin, "narrows tune", content_hash(content), "", today()};
    count += std::ssize(batch.kernels);
    batches.push_back(std::move(batch));
  }
  if (batches.empty()) return count;
  const std::string path = TRY(store_path(db, true));
  Store store = TRY(Store::open(path));
  TRY(store.add(batches));
  return count;
}

}  // namespace narrows
