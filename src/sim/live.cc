// SPDX-License-Identifier: Apache-2.0
#include "sim/live.h"

#include <algorithm>

namespace narrows {

namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

// Replays one rank: `begin` adds what an instruction takes, `end` removes what it releases. Whole
// bytes, so sums in doubles are exact.
class RankMemory {
 public:
  RankMemory(const LiveBytes& bytes, int rank)
      : chunks_(bytes.chunk[at(rank)]),
        pairs_(bytes.pair.empty() ? nullptr : &bytes.pair[at(rank)]) {}

  Bytes held() const { return held_; }

  // What the rank holds while `what` runs, its transient bytes included.
  Bytes begin(const Instruction& what) {
    const ChunkBytes& chunk = chunks_[at(what.chunk)];
    if (what.action == Action::Forward || what.action == Action::Pair) {
      held_ += chunk.f_to_i + chunk.f_to_w;
    }
    return held_ + transient(what);
  }

  void end(const Instruction& what) {
    const ChunkBytes& chunk = chunks_[at(what.chunk)];
    switch (what.action) {
      case Action::Forward:
        break;
      case Action::InputGrad:
        held_ += chunk.i_to_w - chunk.f_to_i;
        break;
      case Action::WeightGrad:
        held_ -= chunk.f_to_w + chunk.i_to_w;
        break;
      case Action::Backward:
        held_ -= chunk.f_to_i + chunk.f_to_w;
        break;
      case Action::Pair: {
        const ChunkBytes& back = chunks_[at(what.back_chunk)];
        held_ -= back.f_to_i + back.f_to_w;
        break;
      }
    }
  }

 private:
  Bytes transient(const Instruction& what) const {
    const ChunkBytes& chunk = chunks_[at(what.chunk)];
    switch (what.action) {
      case Action::Forward:
        return chunk.forward;
      case Action::InputGrad:
        return chunk.input_grad;
      case Action::WeightGrad:
        return chunk.weight_grad;
      case Action::Backward:
        return chunk.backward;
      case Action::Pair:
        break;
    }
    ASSERT(pairs_ != nullptr);
    return (*pairs_)[at(what.chunk)][at(what.back_chunk)];
  }

  const std::vector<ChunkBytes>& chunks_;         // borrows
  const std::vector<std::vector<Bytes>>* pairs_;  // borrows
  Bytes held_;
};

// Counts the living chunks of one rank.
class RankCount {
 public:
  RankCount(int chunks, Release release)
      : release_(release), now_(at(chunks), 0), peak_{.all = 0, .of_chunk = now_} {}

  void run(const Instruction& what) {
    switch (what.action) {
      case Action::Forward:
        return take(what.chunk);
      case Action::InputGrad:
        if (release_ == Release::InputGrad) drop(what.chunk);
        return;
      case Action::WeightGrad:
        if (release_ == Release::WeightGrad) drop(what.chunk);
        return;
      case Action::Backward:
        return drop(what.chunk);
      case Action::Pair:
        take(what.chunk);
        return drop(what.back_chunk);
    }
  }
  LiveChunks peak() && { return std::move(peak_); }

 private:
  void take(int chunk) {
    peak_.all = std::max(peak_.all, ++all_);
    peak_.of_chunk[at(chunk)] = std::max(peak_.of_chunk[at(chunk)], ++now_[at(chunk)]);
  }
  void drop(int chunk) {
    --all_;
    --now_[at(chunk)];
  }

  Release release_;
  int all_ = 0;
  std::vector<int> now_;
  LiveChunks peak_;
};

}  // namespace

std::vector<std::vector<Bytes>> live_bytes(const Schedule& schedule, const LiveBytes& bytes) {
  std::vector<std::vector<Bytes>> live;
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    RankMemory memory(bytes, rank);
    std::vector<Bytes>& curve = live.emplace_back();
    curve.reserve(schedule.programs[at(rank)].size());
    for (const Instruction& what : schedule.programs[at(rank)]) {
      curve.push_back(memory.begin(what));
      memory.end(what);
    }
  }
  return live;
}

std::vector<Bytes> live_peaks(const Schedule& schedule, const LiveBytes& bytes) {
  std::vector<Bytes> peaks;
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    RankMemory memory(bytes, rank);
    Bytes peak;
    for (const Instruction& what : schedule.programs[at(rank)]) {
      peak = max(peak, memory.begin(what));
      memory.end(what);
    }
    peaks.push_back(peak);
  }
  return peaks;
}

std::vector<LiveChunks> live_chunks(const Schedule& schedule, Release release) {
  std::vector<LiveChunks> peaks;
  for (const Program& program : schedule.programs) {
    RankCount count(schedule.chunks_per_rank, release);
    for (const Instruction& what : program) count.run(what);
    peaks.push_back(std::move(count).peak());
  }
  return peaks;
}

void add_memory(const Schedule& schedule, const LiveBytes& bytes, const Played& played,
                Timeline& timeline) {
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    const Program& program = schedule.programs[at(rank)];
    RankMemory memory(bytes, rank);
    for (std::size_t i = 0; i < program.size(); ++i) {
      const Tick start = played.start[at(rank)][i];
      const Tick end = played.end[at(rank)][i];
      timeline.memory.push_back({.rank = rank, .at = start, .bytes = memory.begin(program[i])});
      memory.end(program[i]);
      // Back to back instructions need no sample between them.
      const bool last = i + 1 == program.size();
      if (last || played.start[at(rank)][i + 1] > end) {
        timeline.memory.push_back({.rank = rank, .at = end, .bytes = memory.held()});
      }
    }
  }
}

}  // namespace narrows
