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

bool multiplies(const Block& block, const Weight& weight) {
  const std::vector<Op>& ops = block.graph.forward;
  return std::any_of(ops.begin(), ops.end(), [&](const Op& op) {
    return op.kind == OpKind::Matmul && op.name == weight.op;
  });
}

// Whole cache lines for every share.
constexpr std::int64_t kAlign = 16;

}  // namespace

Buckets::Buckets(RankContext& rank, std::vector<Block*> blocks) : rank_(rank) {
  for (Block* block : blocks) place(*block);
  for (Bucket& bucket : buckets_) allocate(bucket);
  for (Block* block : blocks) {
    if (rank.strategy().zero < 2) mark_overwritten(*block);
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
  const std::int64_t shares = group_size(shard);
  const std::int64_t unit = shares * kAlign;
  bucket.count = (bucket.count + unit - 1) / unit * unit;
  bucket.first = bucket.count / shares * group_rank(shard);
  bucket.last = bucket.first + bucket.count / shares;
  bucket.holders = group_size(across(bucket)) * group_size(twins(bucket));
  bucket.place = group_rank(across(bucket)) * group_size(twins(bucket)) + group_rank(twins(bucket));
  if (bucket.group == WeightGroup::Copies) {
    bucket.holders *= rank_.strategy().tp;
    bucket.place = bucket.place * rank_.strategy().tp + rank_.at.tp;
  }
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

// Tables of the vocabulary may be read by several blocks.
void Buckets::mark_overwritten(Block& block) {
  for (const auto& [owner, places] : places_) {
    if (owner != &block) continue;
    for (std::size_t i = 0; i < places.size(); ++i) {
      Bucket& bucket = buckets_[at(places[i].bucket)];
      if (bucket.is_embedding || bucket.is_head) continue;
      for (BucketWeight& w : bucket.weights) {
        if (w.offset != places[i].offset || !multiplies(block, w.weight)) continue;
        w.is_overwritten = true;
        block.weights[i].is_stale = &w.is_stale;
      }
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

void Buckets::clear_gradients() {
  const OpTimer timer(rank_.log, StepWork::ClearGradients);
  for (Bucket& bucket : buckets_) {
    if (rank_.strategy().zero >= 2) {
      rank_.backend.clear(bucket.gradient.data(), std::ssize(bucket.gradient));
      continue;
    }
    for (BucketWeight& w : bucket.weights) {
      w.is_stale = w.is_overwritten;
      if (!w.is_stale) rank_.backend.clear(bucket.gradient.data() + w.offset, w.weight.count);
    }
  }
}

BucketRun Buckets::counted(const Bucket& bucket) const {
  const std::int64_t lines = (bucket.last - bucket.first) / kAlign;
  const auto begin = [&](std::int64_t place) {
    return bucket.first + lines * place / bucket.holders * kAlign;
  };
  return {begin(bucket.place), begin(bucket.place + 1)};
}

bool Buckets::leads(const Bucket& bucket) const { return bucket.place == 0; }

}  // namespace narrows
