// SPDX-License-Identifier: Apache-2.0
#include "sim/play.h"

#include <algorithm>

#include "schedule/text.h"

namespace narrows {

namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

constexpr int kActionsOfChunk = 4;  // F I W B, in the order of Action

}  // namespace

Durations uniform_durations(const Schedule& schedule, ChunkTimes times, Tick pair, Tick send) {
  const std::size_t ranks = at(schedule.ranks);
  const std::size_t chunks = at(schedule.chunks_per_rank);
  const std::vector<std::vector<Tick>> sends(schedule.routes.size(),
                                             std::vector<Tick>(at(schedule.stages() - 1), send));
  const std::vector<std::vector<Tick>> pairs(chunks, std::vector<Tick>(chunks, pair));
  return {.chunk = std::vector(ranks, std::vector<ChunkTimes>(chunks, times)),
          .pair = std::vector(ranks, pairs),
          .forward_send = sends,
          .backward_send = sends};
}

// The table: a zero, then F I W B of every chunk, then every pair, then forward sends, then
// backward sends.
int CompiledSchedule::duration_slot(int rank, const Instruction& instruction) const {
  const int place = rank * chunks_ + instruction.chunk;
  if (instruction.action != Action::Pair) {
    return 1 + place * kActionsOfChunk + static_cast<int>(instruction.action);
  }
  return 1 + ranks_ * chunks_ * kActionsOfChunk + place * chunks_ + instruction.back_chunk;
}

int CompiledSchedule::send_slot(const Arrival& arrival, bool backward) const {
  if (arrival.from < 0 || arrival.hop < 0) return 0;
  const int base = 1 + ranks_ * chunks_ * (kActionsOfChunk + chunks_);
  return base + ((backward ? routes_ : 0) + arrival.route) * hops_ + arrival.hop;
}

CompiledSchedule::Step CompiledSchedule::step_of(const ScheduleNode& node,
                                                 const Instruction& instruction,
                                                 const std::vector<int>& place) const {
  const auto end_of = [&](int from) { return from < 0 ? 0 : 1 + place[at(from)]; };
  const int before = node.index == 0 ? -1 : first_[at(node.rank)] + node.index - 1;
  return {.duration = duration_slot(node.rank, instruction),
          .before = end_of(before),
          .forward_from = end_of(node.forward.from),
          .forward_send = send_slot(node.forward, false),
          .backward_from = end_of(node.backward.from),
          .backward_send = send_slot(node.backward, true)};
}

Result<CompiledSchedule> CompiledSchedule::of(const Schedule& schedule) {
  const ScheduleGraph graph = TRY(graph_of(schedule));
  CompiledSchedule compiled;
  compiled.ranks_ = schedule.ranks;
  compiled.chunks_ = schedule.chunks_per_rank;
  compiled.routes_ = static_cast<int>(schedule.routes.size());
  compiled.hops_ = schedule.stages() - 1;
  compiled.first_ = graph.first;
  compiled.node_ = graph.order;
  std::vector<int> place(graph.nodes.size());  // node -> step
  for (std::size_t step = 0; step < graph.order.size(); ++step) {
    place[at(graph.order[step])] = static_cast<int>(step);
  }
  for (const int number : graph.order) {
    const ScheduleNode& node = graph.nodes[at(number)];
    const Instruction& instruction = schedule.programs[at(node.rank)][at(node.index)];
    compiled.has_pairs_ = compiled.has_pairs_ || instruction.action == Action::Pair;
    compiled.steps_.push_back(compiled.step_of(node, instruction, place));
    compiled.rank_.push_back(node.rank);
  }
  return compiled;
}

void CompiledSchedule::fill_table(const Durations& durations,
                                  std::vector<std::int64_t>& table) const {
  table.clear();
  table.push_back(0);
  ASSERT(durations.chunk.size() == at(ranks_));
  for (const std::vector<ChunkTimes>& chunks : durations.chunk) {
    ASSERT(chunks.size() == at(chunks_));
    for (const ChunkTimes& times : chunks) {
      for (const Tick t : {times.forward, times.input_grad, times.weight_grad, times.backward}) {
        table.push_back(t.ns);
      }
    }
  }
  if (durations.pair.empty()) {
    ASSERT(!has_pairs_);
    table.resize(table.size() + at(ranks_ * chunks_ * chunks_), 0);
  }
  for (const std::vector<std::vector<Tick>>& forwards : durations.pair) {
    ASSERT(forwards.size() == at(chunks_));
    for (const std::vector<Tick>& backwards : forwards) {
      ASSERT(backwards.size() == at(chunks_));
      for (const Tick t : backwards) table.push_back(t.ns);
    }
  }
  for (const std::vector<std::vector<Tick>>* sends :
       {&durations.forward_send, &durations.backward_send}) {
    if (sends->empty()) table.resize(table.size() + at(routes_ * hops_), 0);
    for (const std::vector<Tick>& hops : *sends) {
      ASSERT(hops.size() == at(hops_));
      for (const Tick t : hops) table.push_back(t.ns);
    }
  }
  ASSERT(table.size() ==
         at(1 + ranks_ * chunks_ * (kActionsOfChunk + chunks_) + 2 * routes_ * hops_));
}

// `extra` is empty or by node.
std::int64_t CompiledSchedule::run(Scratch& scratch, std::span<const Tick> extra) const {
  scratch.ends.resize(steps_.size() + 1);
  const std::int64_t* const table = scratch.table.data();
  std::int64_t* const ends = scratch.ends.data();
  ends[0] = 0;
  std::int64_t makespan = 0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    const std::int64_t output = ends[step.forward_from] + table[step.forward_send];
    const std::int64_t gradient = ends[step.backward_from] + table[step.backward_send];
    const std::int64_t start = std::max(ends[step.before], std::max(output, gradient));
    ends[i + 1] = start + table[step.duration];
    if (!extra.empty()) ends[i + 1] += extra[at(node_[i])].ns;
    makespan = std::max(makespan, ends[i + 1]);
  }
  return makespan;
}

Tick CompiledSchedule::makespan(const Durations& durations) {
  fill_table(durations, scratch_.table);
  return {run(scratch_, {})};
}

Tick CompiledSchedule::makespan(const Durations& durations, std::span<const Tick> extra) {
  ASSERT(extra.size() == steps_.size());
  fill_table(durations, scratch_.table);
  return {run(scratch_, extra)};
}

Played CompiledSchedule::play(const Durations& durations) const {
  Scratch scratch;
  fill_table(durations, scratch.table);
  Played played{.makespan = {run(scratch, {})},
                .busy = std::vector<Tick>(at(ranks_)),
                .start = {},
                .end = {}};
  for (int rank = 0; rank < ranks_; ++rank) {
    played.start.emplace_back(at(first_[at(rank + 1)] - first_[at(rank)]));
  }
  played.end = played.start;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const std::size_t rank = at(rank_[i]);
    const std::size_t index = at(node_[i] - first_[rank]);
    const Tick duration{scratch.table[at(steps_[i].duration)]};
    const Tick end{scratch.ends[i + 1]};
    played.busy[rank] += duration;
    played.start[rank][index] = end - duration;
    played.end[rank][index] = end;
  }
  return played;
}

Timeline to_timeline(const Schedule& schedule, const Played& played) {
  Timeline timeline{.ranks = schedule.ranks, .spans = {}, .memory = {}};
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    const Program& program = schedule.programs[at(rank)];
    for (std::size_t i = 0; i < program.size(); ++i) {
      timeline.spans.push_back({.rank = rank,
                                .stream = 0,
                                .name = to_text(program[i]),
                                .start = played.start[at(rank)][i],
                                .end = played.end[at(rank)][i]});
    }
  }
  return timeline;
}

}  // namespace narrows
