// SPDX-License-Identifier: Apache-2.0
#include "planner/schedule_profile.h"

#include <algorithm>

#include "schedule/library.h"

namespace narrows {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

struct Place {
  int route = 0;
  int stage = 0;
};
std::vector<std::vector<Place>> places_of(const Schedule& schedule) {
  std::vector<std::vector<Place>> places(at(schedule.ranks),
                                         std::vector<Place>(at(schedule.chunks_per_rank)));
  for (std::size_t route = 0; route < schedule.routes.size(); ++route) {
    for (std::size_t stage = 0; stage < schedule.routes[route].size(); ++stage) {
      const ChunkRef ref = schedule.routes[route][stage];
      places[at(ref.rank)][at(ref.chunk)] = {static_cast<int>(route), static_cast<int>(stage)};
    }
  }
  return places;
}

// Every count of `a` is at least that of `b`, and the same kind of instruction runs.
bool dominates(const LiveState& a, const LiveState& b) {
  if (!(a.running == b.running)) return false;
  const auto covers = [](const std::vector<int>& x, const std::vector<int>& y) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (x[i] < y[i]) return false;
    }
    return true;
  };
  return covers(a.until_input, b.until_input) && covers(a.until_weight, b.until_weight) &&
         covers(a.handed, b.handed);
}

void keep_front(std::vector<LiveState>& front, const LiveState& state) {
  for (const LiveState& kept : front) {
    if (dominates(kept, state)) return;
  }
  std::erase_if(front, [&](const LiveState& kept) { return dominates(state, kept); });
  front.push_back(state);
}

// Replays a rank's program, counting.
class Walk {
 public:
  Walk(int chunks, const std::vector<Place>& places)
      : chunks_(chunks), places_(places), last_(at(chunks)) {
    count_.alone.assign(at(4 * chunks), 0);
    count_.pairs.assign(at(chunks * chunks), 0);
    now_.until_input.assign(at(chunks), 0);
    now_.until_weight = now_.handed = now_.until_input;
  }

  void run(const Instruction& what) {
    const std::size_t c = at(what.chunk);
    if (what.action == Action::Forward || what.action == Action::Pair) {
      ++now_.until_input[c];
      ++now_.until_weight[c];
    }
    now_.running = {what.action, what.chunk, 0, what.back_chunk,
                    what.action == Action::Pair ? 0 : -1};
    keep_front(front_, now_);
    switch (what.action) {
      case Action::Forward:
        ++count_.alone[4 * c];
        break;
      case Action::InputGrad:
        ++count_.alone[4 * c + 1];
        --now_.until_input[c];
        ++now_.handed[c];
        leave(what.chunk, false);
        break;
      case Action::WeightGrad:
        ++count_.alone[4 * c + 2];
        --now_.until_weight[c];
        --now_.handed[c];
        break;
      case Action::Backward:
        ++count_.alone[4 * c + 3];
        release(what.chunk);
        break;
      case Action::Pair:
        ++count_.pairs[at(what.chunk * chunks_ + what.back_chunk)];
        release(what.back_chunk);
        break;
    }
  }

  RankProfile finish() && {
    RankProfile profile;
    for (const Checkpoint& last : last_) {
      if (last.stage > 0) profile.checkpoints.push_back(last);
    }
    profile.checkpoints.push_back({count_, 0, -1, true});
    profile.live = std::move(front_);
    const auto sum = [](const std::vector<int>& counts) {
      int all = 0;
      for (const int n : counts) all += n;
      return all;
    };
    for (const LiveState& state : profile.live) {
      profile.whole =
          profile.whole && state.until_input == state.until_weight && sum(state.handed) == 0;
      profile.most_until_input = std::max(profile.most_until_input, sum(state.until_input));
      profile.most_until_weight = std::max(profile.most_until_weight, sum(state.until_weight));
      profile.most_handed = std::max(profile.most_handed, sum(state.handed));
    }
    return profile;
  }

 private:
  void release(int chunk) {
    --now_.until_input[at(chunk)];
    --now_.until_weight[at(chunk)];
    leave(chunk, true);
  }
  void leave(int chunk, bool whole) {
    last_[at(chunk)] = {count_, places_[at(chunk)].route, places_[at(chunk)].stage, whole};
  }

  int chunks_;
  const std::vector<Place>& places_;
  WorkCount count_;
  LiveState now_;
  std::vector<LiveState> front_;
  std::vector<Checkpoint> last_;  // by chunk: its latest gradient
};

std::int64_t work(const WorkCount& count, const Durations& d, std::size_t rank) {
  const std::size_t chunks = d.chunk[rank].size();
  std::int64_t sum = 0;
  for (std::size_t c = 0; c < chunks; ++c) {
    const ChunkTimes& t = d.chunk[rank][c];
    sum += count.alone[4 * c] * t.forward.ns + count.alone[4 * c + 1] * t.input_grad.ns +
           count.alone[4 * c + 2] * t.weight_grad.ns + count.alone[4 * c + 3] * t.backward.ns;
  }
  if (d.pair.empty()) return sum;
  for (std::size_t a = 0; a < chunks; ++a) {
    for (std::size_t b = 0; b < chunks; ++b)
      sum += count.pairs[a * chunks + b] * d.pair[rank][a][b].ns;
  }
  return sum;
}

}  // namespace

ScheduleProfile profile_of(const Schedule& schedule) {
  ScheduleProfile profile;
  profile.shape = schedule;
  profile.shape.programs.clear();
  const auto places = places_of(schedule);
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    const Program& program = schedule.programs[at(rank)];
    Walk walk(schedule.chunks_per_rank, places[at(rank)]);
    for (const Instruction& what : program) walk.run(what);
    profile.ranks.push_back(std::move(walk).finish());
    const Place first = places[at(rank)][at(program.front().chunk)];
    profile.ranks.back().first_route = first.route;
    profile.ranks.back().first_stage = first.stage;
  }
  return profile;
}

Bytes live_peak_limit(const RankProfile& profile, std::span<const ChunkBytes> chunks,
                      const std::vector<std::vector<Bytes>>& pairs) {
  Bytes input, weight, handed, transient;
  for (const ChunkBytes& chunk : chunks) {
    input = max(input, chunk.f_to_i);
    weight = max(weight, chunk.f_to_w);
    handed = max(handed, chunk.i_to_w);
    transient = max(max(max(transient, chunk.forward), chunk.input_grad),
                    max(chunk.weight_grad, chunk.backward));
  }
  for (const auto& row : pairs) {
    for (const Bytes pair : row) transient = max(transient, pair);
  }
  return profile.most_until_input * input + profile.most_until_weight * weight +
         profile.most_handed * handed + transient;
}

Bytes live_peak(const RankProfile& profile, std::span<const ChunkBytes> chunks,
                const std::vector<std::vector<Bytes>>& pairs) {
  Bytes peak;
  for (const LiveState& state : profile.live) {
    Bytes held;
    for (std::size_t c = 0; c < chunks.size(); ++c) {
      if (profile.whole) {
        held += state.until_input[c] * (chunks[c].f_to_i + chunks[c].f_to_w);
        continue;
      }
      held += state.until_input[c] * chunks[c].f_to_i + state.until_weight[c] * chunks[c].f_to_w +
              state.handed[c] * chunks[c].i_to_w;
    }
    const ChunkBytes& chunk = chunks[at(state.running.chunk)];
    switch (state.running.action) {
      case Action::Forward:
        held += chunk.forward;
        break;
      case Action::InputGrad:
        held += chunk.input_grad;
        break;
      case Action::WeightGrad:
        held += chunk.weight_grad;
        break;
      case Action::Backward:
        held += chunk.backward;
        break;
      case Action::Pair:
        held += pairs[at(state.running.chunk)][at(state.running.back_chunk)];
        break;
    }
    peak = max(peak, held);
  }
  return peak;
}

Tick lower_bound(const ScheduleProfile& profile, const Durations& d, double alone) {
  const Schedule& shape = profile.shape;
  const std::size_t routes = shape.routes.size();
  const std::size_t stages = shape.routes.front().size();
  // Until the first micro-batch can reach a stage, and from a stage's gradient to the very end: a
  // gradient passes each earlier stage by at least its I (or the whole backward, where the schedule
  // never splits it).
  const bool fused = shape.kind == ScheduleKind::GPipe || shape.kind == ScheduleKind::OneFOneB ||
                     shape.kind == ScheduleKind::Interleaved;
  std::vector<std::int64_t> arrive(routes * stages), drain(routes * stages);
  for (std::size_t route = 0; route < routes; ++route) {
    for (std::size_t s = 1; s < stages; ++s) {
      const ChunkRef before = shape.routes[route][s - 1], here = shape.routes[route][s];
      const ChunkTimes& t = d.chunk[at(before.rank)][at(before.chunk)];
      const bool remote = before.rank != here.rank;
      const std::int64_t out =
          remote && !d.forward_send.empty() ? d.forward_send[route][s - 1].ns : 0;
      const std::int64_t back =
          remote && !d.backward_send.empty() ? d.backward_send[route][s - 1].ns : 0;
      arrive[route * stages + s] = arrive[route * stages + s - 1] + t.forward.ns + out;
      const std::int64_t pass = fused ? t.backward.ns : std::min(t.input_grad.ns, t.backward.ns);
      drain[route * stages + s] = drain[route * stages + s - 1] + pass + back;
    }
  }
  std::int64_t bound = 0;
  for (std::size_t rank = 0; rank < profile.ranks.size(); ++rank) {
    const RankProfile& r = profile.ranks[rank];
    const std::int64_t start = arrive[at(r.first_route) * stages + at(r.first_stage)];
    for (const Checkpoint& point : r.checkpoints) {
      const std::int64_t after =
          point.stage > 0 ? drain[at(point.route) * stages + at(point.stage)] : 0;
      bound = std::max(bound, start + work(point.done, d, rank) + after);
    }
  }
  if (alone <= 1) return {bound};
  std::int64_t all = 0;
  for (std::size_t rank = 0; rank < profile.ranks.size(); ++rank)
    all += work(profile.ranks[rank].checkpoints.back().done, d, rank);
  // Sends do not get faster, so that this is lower than need be by them.
  const auto together = all / static_cast<std::int64_t>(profile.ranks.size());
  const auto fastest = static_cast<std::int64_t>(static_cast<double>(bound) / alone);
  return {std::max(together, fastest)};
}

namespace {

// `from` plus `times` the work that separates `before` from it.
WorkCount extended(const WorkCount& before, const WorkCount& from, std::int64_t times) {
  WorkCount count = from;
  for (std::size_t i = 0; i < count.alone.size(); ++i) {
    count.alone[i] += times * (from.alone[i] - before.alone[i]);
  }
  for (std::size_t i = 0; i < count.pairs.size(); ++i) {
    count.pairs[i] += times * (from.pairs[i] - before.pairs[i]);
  }
  return count;
}

// After this many micro-batches a rank a schedule repeats, every two rounds of the ranks.
constexpr int kSettled = 6;
constexpr int kPeriod = 2;

Result<ScheduleProfile> direct(ScheduleKind kind, int ranks, int chunks, int micro_batches) {
  const Schedule schedule = TRY(make_schedule(kind, ranks, chunks, micro_batches));
  return profile_of(schedule);
}

}  // namespace

Result<ScheduleProfile> profile_of(ScheduleKind kind, int ranks, int chunks, int micro_batches) {
  const int period = kPeriod * ranks;
  const int settled = kSettled * ranks;
  // GPipe keeps every micro-batch: it never settles.
  if (kind == ScheduleKind::GPipe || micro_batches < settled + 2 * period) {
    return direct(kind, ranks, chunks, micro_batches);
  }
  const int rest = (micro_batches - settled) % period;
  const ScheduleProfile before = TRY(direct(kind, ranks, chunks, settled + rest));
  ScheduleProfile profile = TRY(direct(kind, ranks, chunks, settled + rest + period));
  const std::int64_t times = (micro_batches - settled - rest - period) / period;
  profile.shape.micro_batches = micro_batches;
  for (std::size_t r = 0; r < profile.ranks.size(); ++r) {
    for (std::size_t c = 0; c < profile.ranks[r].checkpoints.size(); ++c) {
      WorkCount& done = profile.ranks[r].checkpoints[c].done;
      done = extended(before.ranks[r].checkpoints[c].done, done, times);
    }
  }
  return profile;
}

const ScheduleProfile* ScheduleProfiles::get(ScheduleKind kind, int ranks, int chunks_per_rank,
                                             int micro_batches) {
  const auto key = std::tuple(kind, ranks, chunks_per_rank, micro_batches);
  const auto found = known_.find(key);
  if (found != known_.end()) return &found->second;
  Result<ScheduleProfile> made = profile_of(kind, ranks, chunks_per_rank, micro_batches);
  if (!made) return nullptr;
  return &known_.emplace(key, std::move(*made)).first->second;
}

}  // namespace narrows
