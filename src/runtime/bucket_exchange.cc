// What buckets say to other ranks: whole weights and gradients while a block works (ZeRO), and the
// sums and new weights at the end of a step.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/bucket.h"

namespace narrows {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

Communicator* Buckets::shard_of(const Bucket& bucket) const {
  const Groups& g = rank_.groups;
  return bucket.group == WeightGroup::Experts ? g.expert_shard.get() : g.shard.get();
}

Communicator* Buckets::across(const Bucket& bucket) const {
  const Groups& g = rank_.groups;
  switch (bucket.group) {
    case WeightGroup::Replicas:
    case WeightGroup::Copies:
      return g.replicas_across.get();
    case WeightGroup::Stage:
      return g.stage_across.get();
    case WeightGroup::Experts:
      return g.experts_across.get();
  }
  return nullptr;
}

Communicator* Buckets::twins(const Bucket& bucket) const {
  const Groups& g = rank_.groups;
  if (bucket.is_embedding) return g.embedding.get();
  return bucket.is_head ? g.head.get() : g.mirror.get();
}

Status Buckets::acquire_values(Block& block) {
  if (rank_.strategy().zero < 3) return {};
  for (const int index : used_by(block)) {
    Bucket& bucket = buckets_[at(index)];
    if (bucket.value_uses++ > 0) continue;
    const OpTimer timer(rank_.log, StepWork::GatherWeights);
    bucket.whole_value = rank_.pool.matrix(1, bucket.count);
    const Buffer whole(bucket.whole_value.data(), bucket.count, Element::F32);
    if (Communicator* shard = shard_of(bucket)) {
      TRY(shard->all_gather(bucket.value, whole));
    } else {
      std::copy(bucket.value.begin(), bucket.value.end(), bucket.whole_value.data());
    }
  }
  bind_values(block);
  return {};
}

void Buckets::release_values(Block& block) {
  if (rank_.strategy().zero < 3) return;
  for (const int index : used_by(block)) {
    Bucket& bucket = buckets_[at(index)];
    if (--bucket.value_uses == 0) bucket.whole_value.release();
  }
}

void Buckets::acquire_gradients(Block& block) {
  if (rank_.strategy().zero < 2) return;
  for (const int index : used_by(block)) {
    Bucket& bucket = buckets_[at(index)];
    if (bucket.gradient_uses++ == 0) bucket.whole_gradient = rank_.pool.zeros(1, bucket.count);
  }
  bind_gradients(block);
}

Status Buckets::release_gradients(Block& block) {
  if (rank_.strategy().zero < 2) return {};
  for (const int index : used_by(block)) {
    Bucket& bucket = buckets_[at(index)];
    if (--bucket.gradient_uses == 0) TRY(scatter(bucket));
  }
  return {};
}

// Of pieces that several tensor-parallel ranks hold, each has the part of its own heads.
Status Buckets::join_copies(const Bucket& bucket, float* gradient) {
  if (rank_.groups.kv == nullptr) return {};
  for (const BucketWeight& w : bucket.weights) {
    for (const WeightPiece& p : w.weight.pieces) {
      if (p.copies == 1) continue;
      const Buffer piece(gradient + w.offset + p.offset, p.piece_rows * p.stride, Element::F32);
      TRY(rank_.groups.kv->all_reduce(piece));
    }
  }
  return {};
}

// The whole gradient's sum over the shares' ranks, added to this rank's share.
Status Buckets::scatter(Bucket& bucket) {
  const OpTimer timer(rank_.log, StepWork::ScatterGradients);
  TRY(join_copies(bucket, bucket.whole_gradient.data()));
  Storage part = rank_.pool.matrix(1, bucket.last - bucket.first);
  const Buffer whole(bucket.whole_gradient.data(), bucket.count, Element::F32);
  const Buffer mine(part.data(), part.count(), Element::F32);
  if (Communicator* shard = shard_of(bucket)) {
    TRY(shard->reduce_scatter(whole, mine));
  } else {
    std::copy_n(bucket.whole_gradient.data(), part.count(), part.data());
  }
  float* share = bucket.gradient.data();
  rank_.backend.run(kernels::Add{part.data(), share, share, part.count()});
  bucket.whole_gradient.release();
  return {};
}

Status Buckets::reduce() {
  const OpTimer timer(rank_.log, StepWork::ReduceGradients);
  // Ranks that hold the same buckets may list them in another order (DualPipe's mirror).
  std::vector<Bucket*> order;
  for (Bucket& bucket : buckets_) order.push_back(&bucket);
  std::sort(order.begin(), order.end(),
            [](const Bucket* a, const Bucket* b) { return a->name < b->name; });
  for (Bucket* bucket : order) {
    if (rank_.strategy().zero < 2) TRY(join_copies(*bucket, bucket->gradient.data()));
    const Buffer share(gradient_share(*bucket), bucket->last - bucket->first, Element::F32);
    Communicator* shard = shard_of(*bucket);
    if (rank_.strategy().zero == 1 && shard != nullptr) {
      TRY(shard->reduce_scatter(bucket->gradient, share));
    }
    if (Communicator* all = across(*bucket)) TRY(all->all_reduce(share));
    if (Communicator* others = twins(*bucket)) TRY(others->all_reduce(share));
  }
  return {};
}

Status Buckets::gather() {
  const int zero = rank_.strategy().zero;
  if (zero == 0 || zero == 3) return {};
  const OpTimer timer(rank_.log, StepWork::SendWeights);
  for (Bucket& bucket : buckets_) {
    Communicator* shard = shard_of(bucket);
    if (shard == nullptr) continue;
    const View share(value_share(bucket), bucket.last - bucket.first, Element::F32);
    TRY(shard->all_gather(share, bucket.value));
  }
  return {};
}

}  // namespace narrows
