// SPDX-License-Identifier: Apache-2.0
#include "sim/critical_path.h"

#include <algorithm>

namespace narrows {

namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

void add(TimeTable& table, Action action, Tick t) {
  switch (action) {
    case Action::Forward:
      table.forward += t;
      return;
    case Action::InputGrad:
      table.input_grad += t;
      return;
    case Action::WeightGrad:
      table.weight_grad += t;
      return;
    case Action::Backward:
      table.backward += t;
      return;
    case Action::Pair:
      table.pair += t;
      return;
  }
}

Tick latency(const Arrival& arrival, const std::vector<std::vector<Tick>>& sends) {
  if (arrival.hop < 0 || sends.empty()) return {};
  return sends[at(arrival.route)][at(arrival.hop)];
}

// What an instruction waited for longest.
struct Cause {
  int node = -1;  // -1: nothing, it starts at 0
  Tick send;
};

class WayBack {
 public:
  WayBack(const ScheduleGraph& graph, const Durations& durations, const Played& played)
      : graph_(graph), durations_(durations), played_(played) {}

  Cause cause(int number) const {
    const ScheduleNode& node = graph_.nodes[at(number)];
    const Tick start = time(played_.start, number);
    if (node.index > 0 && time(played_.end, number - 1) == start)
      return {.node = number - 1, .send = {}};
    if (const Cause by = arrived(node.forward, durations_.forward_send, start); by.node >= 0)
      return by;
    if (const Cause by = arrived(node.backward, durations_.backward_send, start); by.node >= 0)
      return by;
    ASSERT(start == Tick{});
    return {};
  }

  CriticalLink link(int number, Tick send) const {
    const ScheduleNode& node = graph_.nodes[at(number)];
    return {.rank = node.rank,
            .index = node.index,
            .send = send,
            .start = time(played_.start, number),
            .end = time(played_.end, number)};
  }

 private:
  Tick time(const std::vector<std::vector<Tick>>& times, int number) const {
    const ScheduleNode& node = graph_.nodes[at(number)];
    return times[at(node.rank)][at(node.index)];
  }
  Cause arrived(const Arrival& arrival, const std::vector<std::vector<Tick>>& sends,
                Tick start) const {
    const Tick send = latency(arrival, sends);
    if (arrival.from < 0 || time(played_.end, arrival.from) + send != start) return {};
    return {.node = arrival.from, .send = send};
  }

  const ScheduleGraph& graph_;  // borrows
  const Durations& durations_;  // borrows
  const Played& played_;        // borrows
};

}  // namespace

Tick total(const TimeTable& table) {
  return table.forward + table.input_grad + table.weight_grad + table.backward + table.pair +
         table.send + table.waiting;
}

std::vector<TimeTable> time_tables(const Schedule& schedule, const Played& played) {
  std::vector<TimeTable> tables(at(schedule.ranks));
  for (std::size_t rank = 0; rank < tables.size(); ++rank) {
    const Program& program = schedule.programs[rank];
    for (std::size_t i = 0; i < program.size(); ++i) {
      add(tables[rank], program[i].action, played.end[rank][i] - played.start[rank][i]);
    }
    tables[rank].waiting = played.makespan - total(tables[rank]);
  }
  return tables;
}

int last_rank(const Played& played) {
  for (std::size_t rank = 0; rank < played.end.size(); ++rank) {
    if (played.end[rank].back() == played.makespan) return static_cast<int>(rank);
  }
  ASSERT(false);
}

Result<CriticalPath> critical_path(const Schedule& schedule, const Durations& durations,
                                   const Played& played) {
  const ScheduleGraph graph = TRY(graph_of(schedule));
  const WayBack way(graph, durations, played);
  CriticalPath path;
  int node = graph.first[at(last_rank(played) + 1)] - 1;
  while (node >= 0) {
    const Cause cause = way.cause(node);
    const CriticalLink& link = path.links.emplace_back(way.link(node, cause.send));
    add(path.table, schedule.programs[at(link.rank)][at(link.index)].action, link.end - link.start);
    path.table.send += link.send;
    node = cause.node;
  }
  std::reverse(path.links.begin(), path.links.end());
  return path;
}

}  // namespace narrows
