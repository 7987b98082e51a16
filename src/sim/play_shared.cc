// Ranks that share processors: an event queue over the compiled graph, since how fast an
// instruction goes depends on who else runs. Between two events all that runs goes at one speed.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "sim/play.h"

namespace narrows {

class SharedPlay {
 public:
  SharedPlay(const CompiledSchedule& schedule, const Durations& durations, double alone)
      : schedule_(schedule),
        alone_(alone),
        steps_of_(static_cast<std::size_t>(schedule.ranks_)),
        ranks_(static_cast<std::size_t>(schedule.ranks_)),
        start_(schedule.steps_.size()),
        end_(schedule.steps_.size(), -1) {
    ASSERT(alone >= 1);
    schedule.fill_table(durations, table_);
    for (std::size_t i = 0; i < schedule.rank_.size(); ++i)
      steps_of_[static_cast<std::size_t>(schedule.rank_[i])].push_back(static_cast<int>(i));
  }

  void run() {
    for (;;) {
      for (std::size_t r = 0; r < ranks_.size(); ++r) begin(r);
      const double speed = speed_now();
      const double next = next_event(speed);
      if (next < 0) return;
      advance(next, speed);
    }
  }

  Tick start(std::size_t step) const { return ticks(start_[step]); }
  Tick end(std::size_t step) const { return ticks(end_[step]); }

 private:
  // What a rank is at: the place in its own list of steps, and the work that is left of it while
  // it runs.
  struct Rank {
    std::size_t at = 0;
    bool runs = false;
    double left = 0;
    double finish = 0;
  };

  static Tick ticks(double time) { return {static_cast<std::int64_t>(std::ceil(time - 1e-6))}; }

  bool is_over(std::size_t r) const { return ranks_[r].at == steps_of_[r].size(); }
  std::size_t step_of(std::size_t r) const {
    return static_cast<std::size_t>(steps_of_[r][ranks_[r].at]);
  }

  // When the inputs of the rank's next step are there; below 0 while nobody knows.
  double ready(std::size_t r) const {
    const CompiledSchedule::Step& step = schedule_.steps_[step_of(r)];
    double time = 0;
    const int from[] = {step.forward_from, step.backward_from};
    const int sent[] = {step.forward_send, step.backward_send};
    for (int i = 0; i < 2; ++i) {
      if (from[i] == 0) continue;
      const double end = end_[static_cast<std::size_t>(from[i] - 1)];
      if (end < 0) return -1;
      time = std::max(time, end + static_cast<double>(table_[static_cast<std::size_t>(sent[i])]));
    }
    return time;
  }

  void begin(std::size_t r) {
    Rank& rank = ranks_[r];
    if (rank.runs || is_over(r)) return;
    const double when = ready(r);
    if (when < 0 || when > now_) return;
    const std::size_t step = step_of(r);
    start_[step] = now_;
    rank.runs = true;
    rank.left =
        static_cast<double>(table_[static_cast<std::size_t>(schedule_.steps_[step].duration)]);
  }

  double speed_now() const {
    const auto running =
        std::count_if(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.runs; });
    const double share = static_cast<double>(ranks_.size()) /
                         static_cast<double>(std::max<std::ptrdiff_t>(running, 1));
    return std::min(alone_, share);
  }

  // The next end of a step or arrival of an input; below 0 if there is none.
  double next_event(double speed) {
    double next = -1;
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      Rank& rank = ranks_[r];
      if (is_over(r)) continue;
      const double when = rank.runs ? now_ + rank.left / speed : ready(r);
      rank.finish = when;
      if (when >= 0 && (next < 0 || when < next)) next = when;
    }
    return next;
  }

  void advance(double next, double speed) {
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      Rank& rank = ranks_[r];
      if (!rank.runs) continue;
      if (rank.finish > next) {
        rank.left -= (next - now_) * speed;
        continue;
      }
      end_[step_of(r)] = next;
      rank.runs = false;
      ++rank.at;
    }
    now_ = next;
  }

  const CompiledSchedule& schedule_;
  double alone_;
  std::vector<std::int64_t> table_;
  std::vector<std::vector<int>> steps_of_;  // rank -> its steps in program order
  std::vector<Rank> ranks_;
  std::vector<double> start_, end_;  // by step, in nanoseconds; an end below 0 is still to come
  double now_ = 0;
};

Played CompiledSchedule::play_shared(const Durations& durations, double alone) const {
  if (alone <= 1) return play(durations);
  SharedPlay shared(*this, durations, alone);
  shared.run();
  Played played;
  for (int rank = 0; rank < ranks_; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    played.start.emplace_back(static_cast<std::size_t>(first_[r + 1] - first_[r]));
  }
  played.end = played.start;
  played.busy.resize(static_cast<std::size_t>(ranks_));
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const auto rank = static_cast<std::size_t>(rank_[i]);
    const auto index = static_cast<std::size_t>(node_[i] - first_[rank]);
    played.start[rank][index] = shared.start(i);
    played.end[rank][index] = shared.end(i);
    played.busy[rank] += shared.end(i) - shared.start(i);
    played.makespan = std::max(played.makespan, shared.end(i));
  }
  return played;
}

}  // namespace narrows
