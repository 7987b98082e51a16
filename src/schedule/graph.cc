// SPDX-License-Identifier: Apache-2.0
#include "schedule/graph.h"

#include <fmt/format.h>

#include "schedule/text.h"
#include "schedule/validate.h"

namespace narrows {

namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

struct Stop {
  int route = 0;
  int stage = 0;
};

class Builder {
 public:
  explicit Builder(const Schedule& schedule)
      : schedule_(schedule), micro_batches_(schedule.micro_batches_of_route()) {}

  ScheduleGraph build() {
    find_stops();
    number_nodes();
    for (ScheduleNode& node : graph_.nodes) connect(node);
    return std::move(graph_);
  }

 private:
  int place(ChunkRef chunk) const { return chunk.rank * schedule_.chunks_per_rank + chunk.chunk; }
  std::size_t key(ChunkRef chunk, int micro_batch) const {
    return at(place(chunk)) * at(micro_batches_) + at(micro_batch);
  }
  const Instruction& instruction(const ScheduleNode& node) const {
    return schedule_.programs[at(node.rank)][at(node.index)];
  }

  void find_stops() {
    stops_.resize(at(schedule_.ranks * schedule_.chunks_per_rank));
    for (int route = 0; route < static_cast<int>(schedule_.routes.size()); ++route) {
      for (int stage = 0; stage < schedule_.stages(); ++stage) {
        stops_[at(place(schedule_.routes[at(route)][at(stage)]))] = {route, stage};
      }
    }
  }

  // Also notes which node gives the output and which the gradient of each (chunk, micro-batch).
  void number_nodes() {
    output_.assign(stops_.size() * at(micro_batches_), -1);
    gradient_.assign(stops_.size() * at(micro_batches_), -1);
    for (int rank = 0; rank < schedule_.ranks; ++rank) {
      graph_.first.push_back(static_cast<int>(graph_.nodes.size()));
      const Program& program = schedule_.programs[at(rank)];
      for (int index = 0; index < static_cast<int>(program.size()); ++index) {
        note(rank, program[at(index)], static_cast<int>(graph_.nodes.size()));
        graph_.nodes.push_back({.rank = rank, .index = index, .forward = {}, .backward = {}});
      }
    }
    graph_.first.push_back(static_cast<int>(graph_.nodes.size()));
  }

  void note(int rank, const Instruction& what, int node) {
    const ChunkRef chunk{.rank = rank, .chunk = what.chunk};
    if (what.action == Action::Forward) output_[key(chunk, what.micro_batch)] = node;
    if (what.action == Action::InputGrad || what.action == Action::Backward) {
      gradient_[key(chunk, what.micro_batch)] = node;
    }
    if (what.action == Action::Pair) {
      output_[key(chunk, what.micro_batch)] = node;
      gradient_[key({.rank = rank, .chunk = what.back_chunk}, what.back_micro_batch)] = node;
    }
  }

  void connect(ScheduleNode& node) {
    const Instruction& what = instruction(node);
    const bool pair = what.action == Action::Pair;
    if (pair || what.action == Action::Forward) {
      node.forward = arrival({.rank = node.rank, .chunk = what.chunk}, what.micro_batch, -1);
    }
    if (what.action == Action::InputGrad || what.action == Action::Backward) {
      node.backward = arrival({.rank = node.rank, .chunk = what.chunk}, what.micro_batch, +1);
    }
    if (pair) {
      node.backward =
          arrival({.rank = node.rank, .chunk = what.back_chunk}, what.back_micro_batch, +1);
    }
  }

  // `step` -1: the output of the stage before; +1: the gradient of the stage after.
  Arrival arrival(ChunkRef to, int micro_batch, int step) const {
    const Stop stop = stops_[at(place(to))];
    const int stage = stop.stage + step;
    if (stage < 0 || stage >= schedule_.stages()) return {};
    const ChunkRef from = schedule_.routes[at(stop.route)][at(stage)];
    const std::vector<int>& producers = step < 0 ? output_ : gradient_;
    return {.from = producers[key(from, micro_batch)],
            .route = stop.route,
            .hop = from.rank == to.rank ? -1 : std::min(stop.stage, stage)};
  }

  const Schedule& schedule_;  // borrows
  int micro_batches_;
  std::vector<Stop> stops_;  // by place
  std::vector<int> output_;  // by key
  std::vector<int> gradient_;
  ScheduleGraph graph_;
};

// Lets every rank run as far as it can, again and again, until all is done or nothing moves.
Status put_in_order(const Schedule& schedule, ScheduleGraph& graph) {
  std::vector<bool> done(graph.nodes.size(), false);
  std::vector<int> next(graph.first.begin(), graph.first.end() - 1);
  const auto here = [&](const Arrival& arrival) {
    return arrival.from < 0 || done[at(arrival.from)];
  };
  bool moved = true;
  while (moved) {
    moved = false;
    for (std::size_t rank = 0; rank < next.size(); ++rank) {
      int& node = next[rank];
      for (; node < graph.first[rank + 1]; ++node) {
        if (!here(graph.nodes[at(node)].forward) || !here(graph.nodes[at(node)].backward)) break;
        done[at(node)] = true;
        graph.order.push_back(node);
        moved = true;
      }
    }
  }
  for (std::size_t rank = 0; rank < next.size(); ++rank) {
    if (next[rank] == graph.first[rank + 1]) continue;
    const int index = next[rank] - graph.first[rank];
    return invalid(fmt::format("rank {}: {} at {}: deadlock, what it waits for can never run", rank,
                               to_text(schedule.programs[rank][at(index)]), index));
  }
  return {};
}

}  // namespace

Result<ScheduleGraph> graph_of(const Schedule& schedule) {
  TRY(validate_ranks(schedule));
  ScheduleGraph graph = Builder(schedule).build();
  TRY(put_in_order(schedule, graph));
  return graph;
}

}  // namespace narrows
