// Executes one step of a rank: walks its list of instructions (schedule/schedule.h), runs each on
// its chunk, and hands what leaves a chunk to the next one's rank. Sends are not waited for until
// the step ends.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "runtime/chunk_pass.h"
#include "schedule/schedule.h"
#include "timeline/timeline.h"

namespace narrows {

// sequence + 1 tokens of row `row` of the global batch of step `step`.
using ReadTokens =
    std::function<Status(std::int64_t step, std::int64_t row, std::span<std::int32_t> tokens)>;

// Of a step, or this rank's part of it: sums over ranks are the mean over the global batch.
struct StepLoss {
  double next = 0;  // cross-entropy of the next token
  double mtp = 0;   // of the one after it, unweighted
  double aux = 0;   // the balance loss
};

class Executor {
 public:
  // InvalidInput if the plan's schedule cannot be made. Borrows the context.
  static Result<Executor> make(RankContext& rank);
  Executor(Executor&&) = default;

  // Forward and backward of all micro-batches; gradients stand in the buckets, not yet reduced.
  // Returns this rank's part of the losses.
  Result<StepLoss> run(std::int64_t step, const ReadTokens& read);

  Buckets& buckets() { return *buckets_; }

  // From now on the time of every instruction, and of every op if the context has a log, is added
  // to `timeline`, which outlives the executor; null ends it.
  void record(Timeline* timeline);

 private:
  explicit Executor(RankContext& rank) : rank_(&rank) {}

  // Where a chunk stands on its route.
  struct Place {
    int route = 0;
    int stage = 0;
  };
  struct Sent {
    Storage data;
    Request request;
  };
  enum class Way { Forward, Backward };

  Place place_of(int chunk) const;
  Result<Storage> take(Way way, int chunk, int micro_batch);
  Status give(Way way, int chunk, int micro_batch, Storage data);
  Result<MicroBatch> load(int chunk, int micro_batch) const;
  Status execute(const Instruction& instruction);
  Status forward(int chunk, int micro_batch, Storage stream);
  Status input_grad(int chunk, int micro_batch, Storage gradient, bool with_weights);
  Status pair(const Instruction& instruction);
  Status weight_grad(int chunk, int micro_batch);
  Status finish_sends();

  RankContext* rank_;  // borrows
  Schedule schedule_;
  std::vector<ChunkPass> chunks_;
  std::unique_ptr<Buckets> buckets_;
  std::map<std::pair<int, int>, ChunkRun> runs_;             // chunk, micro-batch
  std::map<std::tuple<int, int, int, int>, Storage> local_;  // way, route, stage, micro-batch
  std::vector<Sent> sent_;
  Timeline* timeline_ = nullptr;  // borrows
  std::int64_t step_ = 0;
  const ReadTokens* read_ = nullptr;
  StepLoss loss_;
};

}  // namespace narrows
