// Memory over the program of each rank, from the order of its instructions alone: no times are
// needed, since a rank runs its list in order. What a chunk keeps of a micro-batch lives from the
// start of its F to the end of its I or W; what only one instruction needs is transient. A pair
// holds its forward's from its start and its backward's to its end.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/units.h"
#include "schedule/schedule.h"
#include "sim/play.h"
#include "timeline/timeline.h"

namespace narrows {

// Of one chunk and one micro-batch.
struct ChunkBytes {
  Bytes f_to_i;   // kept from F to I
  Bytes f_to_w;   // kept from F to W
  Bytes i_to_w;   // kept from the end of I to W; while I or B runs it is transient
  Bytes forward;  // transient, of each instruction
  Bytes input_grad;
  Bytes weight_grad;
  Bytes backward;
  friend bool operator==(const ChunkBytes&, const ChunkBytes&) = default;
};

struct LiveBytes {
  std::vector<std::vector<ChunkBytes>> chunk;  // rank -> chunk
  // rank -> forward's chunk -> backward's chunk: transient bytes; may be empty if the schedule has
  // no pairs.
  std::vector<std::vector<std::vector<Bytes>>> pair;
};

// rank -> instruction of its program -> bytes kept and transient while it runs. The schedule must
// be valid.
std::vector<std::vector<Bytes>> live_bytes(const Schedule& schedule, const LiveBytes& bytes);

// rank -> the most bytes kept and transient at once.
std::vector<Bytes> live_peaks(const Schedule& schedule, const LiveBytes& bytes);

// What ends a chunk's life when they are counted. A B ends both.
enum class Release { InputGrad, WeightGrad };

// The most (chunk, micro-batch) pairs alive at once on a rank.
struct LiveChunks {
  int all = 0;
  std::vector<int> of_chunk;  // chunk -> the most of that one, at any time
  friend bool operator==(const LiveChunks&, const LiveChunks&) = default;
};
std::vector<LiveChunks> live_chunks(const Schedule& schedule, Release release);

// Adds to `timeline`, for every rank, a sample at the start of each instruction and what is left at
// the end.
void add_memory(const Schedule& schedule, const LiveBytes& bytes, const Played& played,
                Timeline& timeline);

}  // namespace narrows
