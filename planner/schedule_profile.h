// What a bound and a memory verdict need of a schedule, without its instructions: how much work a
// rank has done when it finishes the backward of a stage for the last time, and the combinations of
// live micro-batches that can be the fullest. Made once per (schedule, ranks, chunks,
// micro-batches); long schedules repeat, so theirs are extended from shorter ones.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "schedule/schedule.h"
#include "sim/live.h"
#include "sim/play.h"

namespace narrows {

// How often a rank runs each kind of instruction, up to some point: per chunk F, I, W, B; per
// ordered pair of chunks FB.
struct WorkCount {
  std::vector<std::int64_t> alone;  // chunk * 4 + {F, I, W, B}
  std::vector<std::int64_t> pairs;  // forward chunk * chunks + backward chunk
  friend bool operator==(const WorkCount&, const WorkCount&) = default;
};

struct Checkpoint {
  WorkCount done;
  int route = 0;
  int stage = -1;     // whose gradient leaves here for the stage before; -1: the end of the program
  bool whole = true;  // it left at the end of a B or pair, not of an I
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

// Live micro-batches per chunk while one instruction runs.
struct LiveState {
  Instruction running;            // its kind and chunks; the micro-batches are 0
  std::vector<int> until_input;   // per chunk: F has begun, I not ended
  std::vector<int> until_weight;  // F has begun, W not ended
  std::vector<int> handed;        // I has begun, W not ended
  friend bool operator==(const LiveState&, const LiveState&) = default;
};

struct RankProfile {
  int first_route = 0;
  int first_stage = 0;  // of its first instruction, a forward
  std::vector<Checkpoint> checkpoints;
  std::vector<LiveState> live;  // none dominates another
  // Every backward is whole: until_input and until_weight are the same and nothing is handed on.
  bool whole = true;
  // The most of each over all chunks together.
  int most_until_input = 0;
  int most_until_weight = 0;
  int most_handed = 0;
};

struct ScheduleProfile {
  Schedule shape;  // without programs
  std::vector<RankProfile> ranks;
};

ScheduleProfile profile_of(const Schedule& schedule);
// The profile of a library schedule. Long ones are extended from shorter ones: counts grow by the
// same in every period, live states do not change.
Result<ScheduleProfile> profile_of(ScheduleKind kind, int ranks, int chunks, int micro_batches);

// What live_peak cannot exceed, from totals alone.
Bytes live_peak_limit(const RankProfile& profile, std::span<const ChunkBytes> chunks,
                      const std::vector<std::vector<Bytes>>& pairs);
// Bytes that a rank keeps at its fullest: equal to live_peaks.
Bytes live_peak(const RankProfile& profile, std::span<const ChunkBytes> chunks,
                const std::vector<std::vector<Bytes>>& pairs);

// A time that no playing of the schedule with these durations is below: on each rank, what must
// happen before its first instruction, its own work, and what the last gradient still has to pass.
// Sends count where they must happen. Of ranks that share processors (`alone` above 1, as
// play_shared has it): at the speed of one that is alone, and no less than all work takes together.
Tick lower_bound(const ScheduleProfile& profile, const Durations& durations, double alone = 1);

// Profiles by key. Not thread-safe.
class ScheduleProfiles {
 public:
  // Null if the library refuses the key (the rules of layout have been checked before).
  const ScheduleProfile* get(ScheduleKind kind, int ranks, int chunks_per_rank, int micro_batches);

 private:
  std::map<std::tuple<ScheduleKind, int, int, int>, ScheduleProfile> known_;
};

}  // namespace narrows
