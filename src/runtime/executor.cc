// SPDX-License-Identifier: Apache-2.0
#include "runtime/executor.h"

#include <utility>

#include "runtime/context.h"
#include "runtime/packing.h"
#include "schedule/library.h"
#include "schedule/text.h"

namespace narrows {
namespace {

constexpr int kTags = 65536;

// Ends of a send agree on the tag: which way, the chunk that receives, and the micro-batch.
int tag_of(bool forward, int chunks, int chunk, int micro_batch) {
  const int lane = 2 * chunk + (forward ? 0 : 1);
  return micro_batch % (kTags / (2 * chunks)) * 2 * chunks + lane;
}

}  // namespace

Result<Executor> Executor::make(RankContext& rank) {
  const Strategy& s = rank.strategy();
  Executor executor(rank);
  executor.schedule_ =
      TRY(make_schedule(s.schedule, s.pp, chunks_per_rank(s), static_cast<int>(s.micro_batches)));
  std::vector<Block*> blocks;
  for (const Chunk& chunk : rank.plan.stages[static_cast<std::size_t>(rank.at.pp)].chunks) {
    executor.chunks_.emplace_back(rank, chunk);
  }
  for (ChunkPass& chunk : executor.chunks_) {
    for (Block& block : chunk.blocks()) blocks.push_back(&block);
  }
  executor.buckets_ = std::make_unique<Buckets>(rank, std::move(blocks));
  return executor;
}

Executor::Place Executor::place_of(int chunk) const {
  const ChunkRef here{rank_->at.pp, chunk};
  for (std::size_t r = 0; r < schedule_.routes.size(); ++r) {
    for (std::size_t s = 0; s < schedule_.routes[r].size(); ++s) {
      if (schedule_.routes[r][s] == here) return {static_cast<int>(r), static_cast<int>(s)};
    }
  }
  ASSERT(false);
  return {};
}

// What the chunk before (or, backward, behind) gives; empty at the ends of the route.
Result<Storage> Executor::take(Way way, int chunk, int micro_batch) {
  const Place place = place_of(chunk);
  const bool forward = way == Way::Forward;
  const int from = place.stage + (forward ? -1 : 1);
  if (from < 0 || from >= schedule_.stages()) return Storage();
  const ChunkRef source =
      schedule_.routes[static_cast<std::size_t>(place.route)][static_cast<std::size_t>(from)];
  if (source.rank == rank_->at.pp) {
    auto node = local_.extract({static_cast<int>(way), place.route, place.stage, micro_batch});
    ASSERT(!node.empty());
    return std::move(node.mapped());
  }
  Coordinates at = rank_->at;
  at.pp = source.rank;
  const Sharding sharding = sharding_of(rank_->plan);
  const bool narrow = forward && rank_->format != Multiply::F32;
  Storage data = rank_->pool.matrix(static_cast<std::int64_t>(tokens_outside(sharding)),
                                    rank_->model().hidden, narrow ? Form::Bf16 : Form::F32);
  const int tag = tag_of(forward, schedule_.chunks_per_rank, chunk, micro_batch);
  const OpTimer timer(rank_->log, StepWork::Receive);
  TRY(rank_->groups.world->receive(buffer_of(data), rank_->grid.rank_of(at), tag));
  return data;
}

Status Executor::give(Way way, int chunk, int micro_batch, Storage data) {
  const Place place = place_of(chunk);
  const bool forward = way == Way::Forward;
  const int to = place.stage + (forward ? 1 : -1);
  if (to < 0 || to >= schedule_.stages()) return {};
  const ChunkRef target =
      schedule_.routes[static_cast<std::size_t>(place.route)][static_cast<std::size_t>(to)];
  if (target.rank == rank_->at.pp) {
    local_[{static_cast<int>(way), place.route, to, micro_batch}] = std::move(data);
    return {};
  }
  Coordinates at = rank_->at;
  at.pp = target.rank;
  const int tag = tag_of(forward, schedule_.chunks_per_rank, target.chunk, micro_batch);
  Request request = rank_->groups.world->start_send(view_of(data), rank_->grid.rank_of(at), tag);
  sent_.push_back({std::move(data), std::move(request)});
  // What has arrived needs its memory no longer.
  std::erase_if(sent_, [](Sent& sent) { return sent.request.done(); });
  return {};
}

Result<MicroBatch> Executor::load(int chunk, int micro_batch) const {
  const OpTimer timer(rank_->log, StepWork::ReadTokens);
  const Strategy& s = rank_->strategy();
  const std::int64_t sequence = rank_->plan.training.sequence;
  const std::vector<std::int32_t> positions = context_positions(sequence, s.cp, rank_->at.cp);
  const std::int64_t number =
      std::int64_t{place_of(chunk).route} * schedule_.micro_batches_of_route() + micro_batch;
  MicroBatch batch;
  batch.loss_share = 1.0 / (static_cast<double>(rank_->plan.training.global_batch) *
                            static_cast<double>(sequence));
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(sequence) + 1);
  for (int i = 0; i < s.micro_batch; ++i) {
    const std::int64_t row =
        (std::int64_t{rank_->at.dp} * s.micro_batches + number) * s.micro_batch + i;
    TRY((*read_)(step_, row, tokens));
    for (const std::int32_t p : positions) {
      batch.tokens.push_back(tokens[static_cast<std::size_t>(p)]);
      batch.targets.push_back(tokens[static_cast<std::size_t>(p) + 1]);
      const bool last = p + 1 == sequence;
      batch.second_targets.push_back(last ? -1 : tokens[static_cast<std::size_t>(p) + 2]);
      batch.positions.push_back(p);
    }
  }
  return batch;
}

Status Executor::forward(int chunk, int micro_batch, Storage stream) {
  ChunkRun& run = runs_[{chunk, micro_batch}];
  run.batch = TRY(load(chunk, micro_batch));
  ChunkPass& pass = chunks_[static_cast<std::size_t>(chunk)];
  Storage out = TRY(pass.forward(run, std::move(stream), *buckets_));
  // Tensor-parallel ranks know the same loss; one says it.
  if (rank_->at.tp == 0) {
    loss_.next += run.batch.loss;
    loss_.mtp += run.batch.mtp_loss;
  }
  return give(Way::Forward, chunk, micro_batch, std::move(out));
}

Status Executor::input_grad(int chunk, int micro_batch, Storage gradient, bool with_weights) {
  ChunkRun& run = runs_[{chunk, micro_batch}];
  ChunkPass& pass = chunks_[static_cast<std::size_t>(chunk)];
  Storage out = TRY(with_weights ? pass.backward(run, std::move(gradient), *buckets_)
                                 : pass.input_grad(run, std::move(gradient), *buckets_));
  loss_.aux += run.batch.aux_loss;
  if (with_weights) runs_.erase({chunk, micro_batch});
  return give(Way::Backward, chunk, micro_batch, std::move(out));
}

Status Executor::weight_grad(int chunk, int micro_batch) {
  ChunkPass& pass = chunks_[static_cast<std::size_t>(chunk)];
  TRY(pass.weight_grad(runs_[{chunk, micro_batch}], *buckets_));
  runs_.erase({chunk, micro_batch});
  return {};
}

// Where experts are spread the halves take turns: what one has sent travels while the other
// computes. Else nothing travels, and they are run one after the other.
Status Executor::pair(const Instruction& i) {
  Storage stream = TRY(take(Way::Forward, i.chunk, i.micro_batch));
  if (rank_->groups.ep == nullptr || rank_->strands == nullptr) {
    TRY(forward(i.chunk, i.micro_batch, std::move(stream)));
    Storage gradient = TRY(take(Way::Backward, i.back_chunk, i.back_micro_batch));
    return input_grad(i.back_chunk, i.back_micro_batch, std::move(gradient), true);
  }
  Storage gradient = TRY(take(Way::Backward, i.back_chunk, i.back_micro_batch));
  Status ahead, back;
  rank_->strands->run(
      [&] { ahead = forward(i.chunk, i.micro_batch, std::move(stream)); },
      [&] { back = input_grad(i.back_chunk, i.back_micro_batch, std::move(gradient), true); });
  TRY(ahead);
  return back;
}

Status Executor::execute(const Instruction& i) {
  switch (i.action) {
    case Action::Forward:
      return forward(i.chunk, i.micro_batch, TRY(take(Way::Forward, i.chunk, i.micro_batch)));
    case Action::InputGrad:
    case Action::Backward:
      return input_grad(i.chunk, i.micro_batch, TRY(take(Way::Backward, i.chunk, i.micro_batch)),
                        i.action == Action::Backward);
    case Action::WeightGrad:
      return weight_grad(i.chunk, i.micro_batch);
    case Action::Pair:
      return pair(i);
  }
  return {};
}

Status Executor::finish_sends() {
  for (Sent& sent : sent_) TRY(sent.request.wait());
  sent_.clear();
  return {};
}

void Executor::record(Timeline* timeline) {
  timeline_ = timeline;
  if (rank_->log != nullptr) rank_->log->record(timeline, rank_->rank);
}

Result<StepLoss> Executor::run(std::int64_t step, const ReadTokens& read) {
  step_ = step;
  read_ = &read;
  loss_ = {};
  for (const Instruction& instruction :
       schedule_.programs[static_cast<std::size_t>(rank_->at.pp)]) {
    const Tick start = clock_now();
    TRY(execute(instruction));
    if (timeline_ == nullptr) continue;
    const Tick end = clock_now();
    timeline_->spans.push_back({rank_->rank, 0, to_text(instruction), start, end});
    timeline_->memory.push_back({rank_->rank, end, rank_->pool.out()});
  }
  TRY(finish_sends());
  return loss_;
}

}  // namespace narrows
