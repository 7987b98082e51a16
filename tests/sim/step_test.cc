// One step's prediction: its parts add up, and it moves as the facts it is made of.
// SPDX-License-Identifier: Apache-2.0
#include "sim/step.h"

#include "cost/cost_fixture.h"
#include "plan/validate.h"

namespace narrows {
namespace {

struct Step {
  LayoutCost shared;
  StepCost cost;
  Schedule schedule;
  CompiledSchedule compiled;
  StageRuns runs;
  StepPrediction prediction;

  Step(Pricing& p, const Strategy& s, std::int64_t sequence)
      : shared(layout_cost(p.layout(s, sequence), p.items)),
        cost(s, shared, p.items),
        schedule(value_of(schedule_for(s))),
        compiled(value_of(CompiledSchedule::of(schedule))),
        runs(even_runs(static_cast<int>(shared.classes.size()), stages_of(s))),
        prediction(predict_step(cost, schedule, compiled, runs, p.software)) {}
  Step(const Step&) = delete;

  static StageRuns even_runs(int items, int stages) {
    std::vector<int> last;
    for (int stage = 1; stage <= stages; ++stage) last.push_back(items * stage / stages - 1);
    return runs_from_cuts(last);
  }
};

Tick part(const StepPrediction& p, const std::string& name) {
  for (const auto& [what, time] : p.breakdown) {
    if (what == name) return time;
  }
  FAIL("no part " + name);
  return {};
}

struct Case {
  const char* model;
  const char* cluster;
  const char* software;
  Strategy strategy;
};

std::vector<Case> cases() {
  std::vector<Case> all{
      {"deepseek-v3", "h800-2048", "hai-llm", v3_strategy()},
      {"llama-3.1-8b",
       "h100:64",
       "megatron-core",
       {.tp = 2,
        .pp = 4,
        .dp = 8,
        .dp_shard = 8,
        .zero = 1,
        .micro_batches = 8,
        .sequence_parallel = true}},
      {"llama-3.1-8b",
       "h100:64",
       "megatron-core",
       {.pp = 4, .vpp = 4, .dp = 16, .micro_batches = 12, .schedule = ScheduleKind::Interleaved}},
      {"llama-3.1-8b",
       "h100:64",
       "fsdp",
       {.dp = 64, .dp_shard = 64, .zero = 3, .micro_batches = 2}},
      {"mixtral-8x7b",
       "h100:64",
       "narrows",
       {.pp = 4,
        .ep = 8,
        .dp = 16,
        .dp_shard = 16,
        .zero = 3,
        .micro_batches = 16,
        .schedule = ScheduleKind::DualPipe}}};
  for (const ScheduleKind kind :
       {ScheduleKind::GPipe, ScheduleKind::OneFOneB, ScheduleKind::ZbH1, ScheduleKind::ZbH2,
        ScheduleKind::ZbV, ScheduleKind::DualPipe, ScheduleKind::DualPipeV}) {
    all.push_back({"mixtral-8x7b",
                   "h100:64",
                   "narrows",
                   {.pp = 4, .ep = 8, .dp = 16, .micro_batches = 16, .schedule = kind}});
  }
  return all;
}

Bytes parts_of(const RankMemory& m) {
  return m.parameters + m.gradients + m.optimizer + m.kept + m.transient + m.comm_buffers +
         m.context + m.allocator;
}

}  // namespace

TEST_CASE("step: the breakdown sums to the step, the memory to its parts") {
  for (const Case& c : cases()) {
    Pricing p(c.model, c.cluster, c.software);
    const Step step(p, c.strategy, 4096);
    const StepPrediction& out = step.prediction;
    CAPTURE(c.model, c.software, to_string(c.strategy.schedule), c.strategy.zero);
    Tick sum;
    for (const auto& [name, time] : out.breakdown) {
      CAPTURE(name);
      CHECK(time >= Tick{});
      sum += time;
    }
    CHECK(sum == out.step);
    CHECK(part(out, "compute") + part(out, "exposed_comm") + part(out, "bubble") == out.makespan);
    CHECK(out.memory.size() == static_cast<std::size_t>(c.strategy.pp));
    for (const RankMemory& rank : out.memory) {
      CHECK(total(rank) / byte == Approx(parts_of(rank) / byte).epsilon(1e-12));
      CHECK(total(rank) <= total(out.memory[static_cast<std::size_t>(out.fullest_rank)]));
      CHECK(rank.context == p.software.context);
    }
    CHECK(out.relative_error > 0);
    CHECK(out.relative_error < 1);
  }
}

TEST_CASE("step: every rank does all its items' work for every micro-batch") {
  for (const Case& c : cases()) {
    Pricing p(c.model, c.cluster, c.software);
    const bool pairs = c.strategy.schedule == ScheduleKind::DualPipe ||
                       c.strategy.schedule == ScheduleKind::DualPipeV;
    // A pair takes less than its halves; a blocking send is in the instruction.
    if (pairs || p.software.blocking_p2p) continue;
    const Step step(p, c.strategy, 4096);
    Tick work, busy;
    for (const ItemTicks& item : step.cost.items()) work += item.work();
    for (const Tick rank : step.prediction.played.busy) busy += rank;
    CAPTURE(c.model, c.software, to_string(c.strategy.schedule));
    CHECK(busy == c.strategy.micro_batches * work);
  }
}

TEST_CASE("step: twice the replicas and twice the batch change only what follows the pipeline") {
  for (const Case& c : cases()) {
    if (c.strategy.zero == 3) continue;  // gathers span the replicas
    const Pricing as_sold(c.model, c.cluster, c.software);
    Cluster equal = as_sold.cluster;
    equal.chip.spread.reset();  // of more chips the slowest is slower
    Pricing p(as_sold.model, equal, as_sold.software);
    Strategy twice = c.strategy;
    twice.dp *= 2;
    if (twice.dp_shard > 1) twice.dp_shard *= 2;
    Cluster larger = p.cluster;
    larger.gpus *= 2;
    for (Level& level : larger.levels) {
      if (&level == &larger.levels.back()) level.group *= 2;
    }
    Pricing q(p.model, larger, p.software);
    const Step one(p, c.strategy, 4096), two(q, twice, 4096);
    CAPTURE(c.model, c.software, to_string(c.strategy.schedule));
    CHECK(two.prediction.makespan == one.prediction.makespan);
    CHECK(part(two.prediction, "overhead") == part(one.prediction, "overhead"));
    const auto activations = [](const StepPrediction& s) {
      return s.memory[static_cast<std::size_t>(s.fullest_rank)].kept / byte;
    };
    if (one.prediction.fullest_rank == two.prediction.fullest_rank)
      CHECK(activations(two.prediction) == activations(one.prediction));
  }
}

TEST_CASE("step: more micro-batches take longer, by no more than one each on the slowest rank") {
  Pricing p("llama-3.1-8b", "h100:64", "megatron-core");
  Tick before;
  Tick slowest;
  for (const std::int64_t m : {8, 9, 10, 16, 32}) {
    const Strategy s{.pp = 4, .dp = 16, .micro_batches = m};
    const Step step(p, s, 4096);
    if (m > 8) {
      CHECK(step.prediction.makespan > before);
    }
    before = step.prediction.makespan;
    slowest = {};
    for (const Tick busy : step.prediction.played.busy) slowest = std::max(slowest, busy);
    CHECK(step.prediction.makespan >= slowest);
  }
}

TEST_CASE("step: 1F1B with equal stages takes (m + p - 1) slots and its sends") {
  // narayanan2021: the bubble is (p - 1) forwards and backwards; a send that does not block adds
  // its latency at the ends of the pipeline only.
  SoftwareProfile software = value_of(find_software("narrows"));
  ModelSpec model = builtin("llama-3.1-8b");
  model.layers = 34;
  Pricing p(model, cluster_named("h100:64"), software);
  const Strategy s{.pp = 4, .dp = 16, .micro_batches = 24};
  const LayoutCost shared = layout_cost(p.layout(s, 4096), p.items);
  const StepCost cost(s, shared, p.items);
  // Layers only: items 1 to 32 in four equal stages, the ends left out by hand.
  const StageRuns runs{{1, 8}, {9, 16}, {17, 24}, {25, 32}};
  const Schedule schedule = value_of(schedule_for(s));
  CompiledSchedule compiled = value_of(CompiledSchedule::of(schedule));
  Durations d = durations_of(cost, schedule, placement_of(schedule, runs), false);
  for (auto& hops : d.forward_send) hops.assign(3, Tick{});
  for (auto& hops : d.backward_send) hops.assign(3, Tick{});
  CHECK(compiled.makespan(d) == (24 + 4 - 1) * (8 * cost.items()[1].work()));
}

TEST_CASE("step: a rank of DualPipe holds both its stages' parameters") {
  Pricing p("deepseek-v3", "h800-2048", "hai-llm");
  const Step step(p, v3_strategy(), 4096);
  for (int rank = 0; rank < 16; ++rank) {
    HeldParameters both;
    std::vector<ItemClass> items;
    for (const int stage : {rank, 15 - rank}) {
      const StepCost::Run run = step.runs[static_cast<std::size_t>(stage)];
      for (int i = run.first; i <= run.last; ++i)
        items.push_back(step.cost.classes()[static_cast<std::size_t>(i)]);
    }
    both = step.cost.held().of(items);
    const Placement place = placement_of(step.schedule, step.runs);
    const HeldParameters held = held_by_rank(step.cost, place[static_cast<std::size_t>(rank)]);
    CHECK(held.all() == both.all());
    // Mirror ranks hold the same.
    CHECK(held.all() == held_by_rank(step.cost, place[static_cast<std::size_t>(15 - rank)]).all());
  }
}

TEST_CASE("step: a stack that frees what a stage received keeps that much less of it") {
  const Strategy s{
      .pp = 4, .vpp = 2, .dp = 2, .micro_batches = 8, .schedule = ScheduleKind::Interleaved};
  const auto predicted = [&](bool frees, Recompute recompute) {
    SoftwareProfile software = value_of(find_software("megatron-core"));
    software.frees_stage_input = frees;
    Pricing p(builtin("llama-3.1-8b"), cluster_named("h100:8"), software);
    Strategy with = s;
    with.recompute = recompute;
    return Step(p, with, 4096).prediction;
  };
  const StepPrediction keeps = predicted(false, Recompute::None),
                       frees = predicted(true, Recompute::None);
  // 4,096 tokens of 4,096 columns in 16 bits, for each chunk alive, all of which received theirs.
  const double message = 4096.0 * 4096 * 2;
  const LiveChunks alive = live_chunks(value_of(schedule_for(s)), Release::WeightGrad)[1];
  CHECK((keeps.memory[1].kept - frees.memory[1].kept) / byte == Approx(alive.all * message));
  CHECK(keeps.step == frees.step);
  // Recomputation starts from it.
  CHECK(predicted(true, Recompute::Full).memory[1].kept ==
        predicted(false, Recompute::Full).memory[1].kept);
}

TEST_CASE("step: layers whose activations wait on the host keep none, two of them pass") {
  const Strategy s{.dp = 8, .dp_shard = 8, .zero = 3, .micro_batches = 2};
  const auto predicted = [&](int offloaded) {
    SoftwareProfile software = value_of(find_software("megatron-core"));
    software.offloaded_layers = offloaded;
    Pricing p(builtin("llama-3.1-8b"), cluster_named("h100:8"), software);
    return Step(p, s, 4096).prediction;
  };
  const StepPrediction none = predicted(0), some = predicted(12), all = predicted(32);
  const Bytes layer = (none.memory[0].kept - some.memory[0].kept) / 12;
  CHECK(layer > Bytes());
  CHECK((none.memory[0].kept - all.memory[0].kept) / byte == Approx(32 * layer / byte));
  CHECK((some.memory[0].transient - none.memory[0].transient) / byte == Approx(2 * layer / byte));
  CHECK(total(all.memory[0]) < total(some.memory[0]));
  CHECK((some.step == none.step && all.step == none.step));
}

}  // namespace narrows
