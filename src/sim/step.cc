// SPDX-License-Identifier: Apache-2.0
#include "sim/step.h"

#include <algorithm>

#include "schedule/library.h"
#include "sim/critical_path.h"

namespace narrows {
namespace {

using Run = StepCost::Run;

ItemTicks sum_ticks(const StepCost& cost, Run run) {
  ItemTicks sum;
  for (int i = run.first; i <= run.last; ++i) {
    const ItemTicks& t = cost.items()[static_cast<std::size_t>(i)];
    sum.forward += t.forward;
    sum.input_grad += t.input_grad;
    sum.weight_grad += t.weight_grad;
    sum.forward_exposed += t.forward_exposed;
    sum.input_grad_exposed += t.input_grad_exposed;
    sum.weight_grad_exposed += t.weight_grad_exposed;
  }
  return sum;
}

bool has_pairs(const Schedule& schedule) {
  return schedule.kind == ScheduleKind::DualPipe || schedule.kind == ScheduleKind::DualPipeV;
}

// Communication that nothing hides, over the whole program of a rank.
Tick exposed_on(const StepCost& cost, const Schedule& schedule, const std::vector<Run>& chunks,
                int rank) {
  std::vector<ItemTicks> ticks;
  for (const Run& run : chunks) ticks.push_back(sum_ticks(cost, run));
  const std::size_t n = chunks.size();
  std::vector<Tick> pairs(n * n);
  if (has_pairs(schedule)) {
    for (std::size_t a = 0; a < n; ++a) {
      for (std::size_t b = 0; b < n; ++b) {
        if (a != b) pairs[a * n + b] = cost.pair_exposed(chunks[a], chunks[b]);
      }
    }
  }
  Tick total;
  for (const Instruction& at : schedule.programs[static_cast<std::size_t>(rank)]) {
    const ItemTicks& t = ticks[static_cast<std::size_t>(at.chunk)];
    switch (at.action) {
      case Action::Forward:
        total += t.forward_exposed;
        break;
      case Action::InputGrad:
        total += t.input_grad_exposed;
        break;
      case Action::WeightGrad:
        total += t.weight_grad_exposed;
        break;
      case Action::Backward:
        total += t.input_grad_exposed + t.weight_grad_exposed;
        break;
      case Action::Pair:
        total +=
            pairs[static_cast<std::size_t>(at.chunk) * n + static_cast<std::size_t>(at.back_chunk)];
        break;
    }
  }
  return total;
}

void drop_transients(LiveBytes& live) {
  for (std::vector<ChunkBytes>& chunks : live.chunk) {
    for (ChunkBytes& chunk : chunks) {
      chunk.forward = chunk.input_grad = chunk.weight_grad = chunk.backward = {};
    }
  }
  for (auto& rank : live.pair) {
    for (auto& row : rank) row.assign(row.size(), {});
  }
}

std::vector<std::pair<std::string, Seconds>> phases_of(const Schedule& schedule,
                                                       const Played& played) {
  Seconds forward, input, weight, backward, pair, waiting;
  const std::vector<TimeTable> tables = time_tables(schedule, played);
  for (const TimeTable& table : tables) {
    forward += to_seconds(table.forward);
    input += to_seconds(table.input_grad);
    weight += to_seconds(table.weight_grad);
    backward += to_seconds(table.backward);
    pair += to_seconds(table.pair);
    waiting += to_seconds(table.waiting);
  }
  const double ranks = static_cast<double>(tables.size());
  return {{"F", forward / ranks},  {"I", input / ranks}, {"W", weight / ranks},
          {"B", backward / ranks}, {"FB", pair / ranks}, {"bubble", waiting / ranks}};
}

}  // namespace

Placement placement_of(const Schedule& schedule, const StageRuns& runs) {
  Placement place(static_cast<std::size_t>(schedule.ranks),
                  std::vector<Run>(static_cast<std::size_t>(schedule.chunks_per_rank)));
  for (const auto& route : schedule.routes) {
    for (std::size_t stage = 0; stage < route.size(); ++stage) {
      const ChunkRef at = route[stage];
      place[static_cast<std::size_t>(at.rank)][static_cast<std::size_t>(at.chunk)] = runs[stage];
    }
  }
  return place;
}

StageRuns runs_from_cuts(const std::vector<int>& last_items) {
  StageRuns runs;
  int first = 0;
  for (const int last : last_items) {
    runs.push_back({first, last});
    first = last + 1;
  }
  return runs;
}

Result<Schedule> schedule_for(const Strategy& strategy) {
  return make_schedule(strategy.schedule, strategy.pp, chunks_per_rank(strategy),
                       static_cast<int>(strategy.micro_batches));
}

Durations durations_of(const StepCost& cost, const Schedule& schedule, const Placement& place,
                       bool blocking_sends) {
  const Tick blocked = blocking_sends && schedule.ranks > 1 ? cost.send() : Tick{};
  Durations d;
  for (const std::vector<Run>& chunks : place) {
    std::vector<ChunkTimes> times;
    for (const Run& run : chunks) {
      const ItemTicks t = sum_ticks(cost, run);
      times.push_back({t.forward + blocked, t.input_grad + blocked, t.weight_grad,
                       t.input_grad + t.weight_grad + blocked});
    }
    d.chunk.push_back(std::move(times));
    if (!has_pairs(schedule)) continue;
    std::vector<std::vector<Tick>> pairs(chunks.size(), std::vector<Tick>(chunks.size()));
    for (std::size_t a = 0; a < chunks.size(); ++a) {
      for (std::size_t b = 0; b < chunks.size(); ++b) {
        if (a != b) pairs[a][b] = cost.pair(chunks[a], chunks[b]) + 2 * blocked;
      }
    }
    d.pair.push_back(std::move(pairs));
  }
  const Tick latency = blocking_sends ? Tick{} : cost.send();
  // What a chunk hands on comes as late as its expert group's slowest rank.
  const double skew = cost.expert_skew();
  const auto late = [&](ChunkRef from, bool forward) {
    const auto rank = static_cast<std::size_t>(from.rank),
               chunk = static_cast<std::size_t>(from.chunk);
    Tick time = forward ? d.chunk[rank][chunk].forward : d.chunk[rank][chunk].input_grad;
    if (has_pairs(schedule)) {
      for (std::size_t b = 0; b < d.pair[rank].size(); ++b)
        time = std::max(time, forward ? d.pair[rank][chunk][b] : d.pair[rank][b][chunk]);
    }
    return latency + round_up(skew * to_seconds(time));
  };
  for (const auto& route : schedule.routes) {
    std::vector<Tick> forward, backward;
    for (std::size_t hop = 0; hop + 1 < route.size(); ++hop) {
      forward.push_back(late(route[hop], true));
      backward.push_back(late(route[hop + 1], false));
    }
    d.forward_send.push_back(std::move(forward));
    d.backward_send.push_back(std::move(backward));
  }
  return d;
}

TailCost slowest_tail(const StepCost& cost, const Placement& place) {
  TailCost slowest;
  for (const std::vector<Run>& chunks : place) {
    // The reduction of a chunk starts when its last micro-batch has gone backward through it.
    Tick backward;
    for (const Run& run : chunks) {
      const ItemTicks t = sum_ticks(cost, run);
      backward += t.input_grad + t.weight_grad;
    }
    const TailCost tail = cost.tail(held_by_rank(cost, chunks), to_seconds(backward));
    if (tail.all() > slowest.all()) slowest = tail;
  }
  return slowest;
}

StepPrediction predict_step(const StepCost& cost, const Schedule& schedule,
                            const CompiledSchedule& compiled, const StageRuns& runs,
                            const SoftwareProfile& software) {
  const Placement place = placement_of(schedule, runs);
  StepPrediction p;
  p.played = compiled.play_shared(durations_of(cost, schedule, place, software.blocking_p2p),
                                  cost.speed_alone());
  p.makespan = p.played.makespan;

  LiveBytes live = live_bytes_of(cost, schedule, place);
  const std::vector<Bytes> peaks = live_peaks(schedule, live);
  drop_transients(live);
  const std::vector<Bytes> kept = live_peaks(schedule, live);
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    const HeldParameters held = held_by_rank(cost, place[static_cast<std::size_t>(rank)]);
    p.memory.push_back(rank_memory(held, cost.strategy(), cost.grid(),
                                   peaks[static_cast<std::size_t>(rank)],
                                   kept[static_cast<std::size_t>(rank)], software));
    if (total(p.memory.back()) > total(p.memory[static_cast<std::size_t>(p.fullest_rank)]))
      p.fullest_rank = rank;
  }

  p.comm = cost.comm();
  p.phases = phases_of(schedule, p.played);

  // The critical rank: the one whose last instruction ends last; of several, the busiest.
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    const auto r = static_cast<std::size_t>(rank), best = static_cast<std::size_t>(p.critical_rank);
    const Tick end = p.played.end[r].back(), last = p.played.end[best].back();
    if (end > last || (end == last && p.played.busy[r] > p.played.busy[best]))
      p.critical_rank = rank;
  }
  const TailCost tail = slowest_tail(cost, place);
  const Tick reduce = round_up(tail.reduce), optimizer = round_up(tail.optimizer),
             gather = round_up(tail.gather);
  const Tick overhead = round_up(software.step_overhead);
  p.step = p.makespan + reduce + optimizer + gather + overhead;

  const auto critical = static_cast<std::size_t>(p.critical_rank);
  const Tick busy = p.played.busy[critical];
  const Tick exposed = std::min(busy, exposed_on(cost, schedule, place[critical], p.critical_rank));
  p.breakdown = {{"compute", busy - exposed},   {"exposed_comm", exposed},
                 {"bubble", p.makespan - busy}, {"gradient_reduction", reduce},
                 {"optimizer", optimizer},      {"parameter_gather", gather},
                 {"overhead", overhead}};
  Seconds uncertain, all;
  for (std::size_t i = 0; i < cost.items().size(); ++i) {
    uncertain += cost.item(static_cast<int>(i)).uncertain;
    for (std::size_t b = 0; b < kBases; ++b)
      p.by_basis[b] += cost.item(static_cast<int>(i)).by_basis[b];
  }
  for (const Seconds t : p.by_basis) all += t;
  p.relative_error = all > Seconds() ? uncertain / all : 0;
  return p;
}

}  // namespace narrows
