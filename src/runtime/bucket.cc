// SPDX-License-Identifier: Apache-2.0
#include "runtime/bucket.h"

#include <fmt/format.h>

#include <algorithm>

namespace narrows {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

const char* name_of(WeightGroup group) {
  switch (group) {
    case WeightGroup::Replicas:
      return "replicas";
    case WeightGroup::Copies:
      return "copies";
    case WeightGroup::Stage:
      return "stage";
    case WeightGroup::Experts:
      return "experts";
  }
  return "";
}

const char* name_of(BlockKind kind) {
  switch (kind) {
    case BlockKind::Attention:
      return "attention";
    case BlockKind::DenseFfn:
    case BlockKind::Moe:
      return "ffn";
    case BlockKind::Embedding:
      return "embedding";
    case BlockKind::Head:
      return "head";
    case BlockKind::MtpEntry:
      return "mtp";
  }
  return "";
}

int size_of(const Communicator* group) { return group == nullptr ? 1 : group->size(); }
int place_in(const Communicator* group) { return group == nullptr ? 0 : group->rank(); }

// Whole cache lines for every share.
constexpr std::int64_t kAlign = 16;

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

Buckets::Buckets(RankContext& rank, std::vector<Block*> blocks) : rank_(rank) {
  for (Block* block : blocks) place(*block);
  for (Bucket& bucket : buckets_) allocate(bucket);
  for (Block* block : blocks) {
    if (rank.strategy().zero < 3) bind_values(*block);
    if (rank.strategy().zero < 2) bind_gradients(*block);
  }
}

// The bucket that takes the weight: of a table there is one, whoever reads it.
int Buckets::bucket_for(const Block& block, const Weight& weight) {
  const bool is_head = weight.op == "head" && !rank_.model().tied_embeddings;
  const bool is_embedding = weight.op == "embedding" || (weight.op == "head" && !is_head);
  const std::string name =
      is_embedding ? "table of the embedding"
      : is_head    ? "table of the head"
      : block.layer < 0
          ? fmt::format("{} {}", name_of(block.kind), name_of(weight.group))
          : fmt::format("layer {} {} {}", block.layer, name_of(block.kind), name_of(weight.group));
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    if (buckets_[i].name == name) return static_cast<int>(i);
  }
  Bucket bucket;
  bucket.name = name;
  bucket.group = weight.group;
  bucket.is_embedding = is_embedding;
  bucket.is_head = is_head;
  buckets_.push_back(std::move(bucket));
  return static_cast<int>(buckets_.size()) - 1;
}

void Buckets::place(Block& block) {
  std::vector<Place> places;
  for (const BoundWeight& bound : block.weights) {
    const int index = bucket_for(block, bound.weight);
    Bucket& bucket = buckets_[at(index)];
    const bool shared = (bucket.is_embedding || bucket.is_head) && !bucket.weights.empty();
    if (!shared) {
      bucket.weights.push_back({bound.weight, bucket.count});
      bucket.count += (bound.weight.count + kAlign - 1) / kAlign * kAlign;
    }
    places.push_back({index, bucket.weights.back().offset});
  }
  places_.emplace_back(&block, std::move(places));
}

void Buckets::allocate(Bucket& bucket) {
  const int zero = rank_.strategy().zero;
  const Communicator* shard = zero > 0 ? shard_of(bucket) : nullptr;
  const std::int64_t shares = size_of(shard);
  const std::int64_t unit = shares * kAlign;
  bucket.count = (bucket.count + unit - 1) / unit * unit;
  bucket.first = bucket.count / shares * place_in(shard);
  bucket.last = bucket.first + bucket.count / shares;
  bucket.holders = size_of(across(bucket)) * size_of(twins(bucket));
  if (bucket.group == WeightGroup::Copies) bucket.holders *= rank_.strategy().tp;
  const std::int64_t share = bucket.last - bucket.first;
  bucket.value.assign(at(zero < 3 ? bucket.count : share), 0);
  bucket.gradient.assign(at(zero < 2 ? bucket.count : share), 0);
  if (rank_.plan.software.moment_dtype == Dtype::Bf16) {
    bucket.first_moment_bf16.assign(at(share), 0);
    bucket.second_moment_bf16.assign(at(share), 0);
  } else {
    bucket.first_moment.assign(at(share), 0);
    bucket.second_moment.assign(at(share), 0);
  }
}

void Buckets::bind_values(Block& block) {
  for (const auto& [owner, places] : places_) {
    if (owner != &block) continue;
    for (std::size_t i = 0; i < places.size(); ++i) {
      Bucket& bucket = buckets_[at(places[i].bucket)];
      float* whole = bucket.whole_value.held() ? bucket.whole_value.data() : bucket.value.data();
      block.weights[i].value = whole + places[i].offset;
    }
  }
}

void Buckets::bind_gradients(Block& block) {
  for (const auto& [owner, places] : places_) {
    if (owner != &block) continue;
    for (std::size_t i = 0; i < places.size(); ++i) {
      Bucket& bucket = buckets_[at(places[i].bucket)];
      float* whole =
          bucket.whole_gradient.held() ? bucket.whole_gradient.data() : bucket.gradient.data();
      block.weights[i].gradient = whole + places[i].offset;
    }
  }
}

std::vector<int> Buckets::used_by(const Block& block) const {
  std::vector<int> used;
  for (const auto& [owner, places] : places_) {
    if (owner != &block) continue;
    for (const Place& place : places) used.push_back(place.bucket);
  }
  std::sort(used.begin(), used.end());
  used.erase(std::unique(used.begin(), used.end()), used.end());
  return used;
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

void Buckets::clear_gradients() {
  const OpTimer timer(rank_.log, StepWork::ClearGradients);
  for (Bucket& bucket : buckets_) {
    rank_.backend.clear(bucket.gradient.data(), std::ssize(bucket.gradient));
  }
}

bool Buckets::leads(const Bucket& bucket) const {
  const bool is_first = place_in(across(bucket)) == 0 && place_in(twins(bucket)) == 0;
  return is_first && (bucket.group != WeightGroup::Copies || rank_.at.tp == 0);
}

}  // namespace narrows
