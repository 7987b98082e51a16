// The weights of a rank in memory, with gradients and optimiser state, in buckets: what one block
// holds of one WeightGroup, in one array, so that one collective reduces it. The ranks that hold a
// bucket share out its state as the plan's ZeRO stage says: 1 the moments, 2 the gradients too, 3
// the weights too. A rank's share is the run [first, last) of the bucket.
//
// Gradients are f32 sums over micro-batches. Under ZeRO 2 and 3 a bucket's whole gradient exists
// only while micro-batches are between their I and W, and is then scattered into the shares.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/large_memory.h"
#include "runtime/block_run.h"

namespace narrows {

// A weight's place in its bucket.
struct BucketWeight {
  Weight weight;
  std::int64_t offset = 0;
  bool is_overwritten = false;  // a matmul's, read by one block: its first W need not add
  bool is_stale = false;        // … and that is still to come in this step
};

struct Bucket {
  std::string name;  // "layer 3 attention replicas": the same on every rank that holds it
  WeightGroup group = WeightGroup::Replicas;
  // A vocabulary's table, which several blocks may read: at other ranks of the pipeline, too.
  bool is_embedding = false;
  bool is_head = false;  // of its own, where it is not the embedding's
  std::vector<BucketWeight> weights;
  std::int64_t count = 0;  // elements, a multiple of the shares
  std::int64_t first = 0;  // of this rank's share
  std::int64_t last = 0;
  int holders = 1;                                 // ranks with the same share …
  int place = 0;                                   // … and which of them this one is
  LargeVector<float> value;                        // whole; under ZeRO 3 the share
  LargeVector<float> gradient;                     // whole; from ZeRO 2 the share
  LargeVector<float> first_moment, second_moment;  // the share
  // The same in bf16, where the plan's software keeps moments so; then there are none in floats.
  LargeVector<std::uint16_t> first_moment_bf16, second_moment_bf16;
  // ZeRO 3, ZeRO 2: whole arrays while they are needed, and by how many.
  Storage whole_value, whole_gradient;
  int value_uses = 0;
  int gradient_uses = 0;
};

// Elements [first, last) of a bucket.
struct BucketRun {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

class Buckets {
 public:
  // Takes the weights of all blocks of the rank, in the order of the model; they are zero. Borrows
  // both.
  Buckets(RankContext& rank, std::vector<Block*> blocks);

  // Around each pass of a block: its weights, and from the begin of I to the end of W its
  // gradients, are where its BoundWeights point.
  Status acquire_values(Block& block);
  void release_values(Block& block);
  void acquire_gradients(Block& block);
  Status release_gradients(Block& block);

  // At the end of the step: every share becomes the sum over all that hold it.
  Status reduce();
  // The new weights to all that hold them.
  Status gather();
  void clear_gradients();

  std::vector<Bucket>& all() { return buckets_; }
  const std::vector<Bucket>& all() const { return buckets_; }

  // This rank's share of the gradient, and of the weights.
  float* gradient_share(Bucket& bucket) const {
    return bucket.gradient.data() + (rank_.strategy().zero < 2 ? bucket.first : 0);
  }
  float* value_share(Bucket& bucket) const {
    return bucket.value.data() + (rank_.strategy().zero < 3 ? bucket.first : 0);
  }
  const float* gradient_share(const Bucket& bucket) const {
    return bucket.gradient.data() + (rank_.strategy().zero < 2 ? bucket.first : 0);
  }
  // What this rank counts of a share that several hold: together they count all of it, once.
  BucketRun counted(const Bucket& bucket) const;
  // Of all ranks with the same share one leads: it alone writes the share into a checkpoint.
  bool leads(const Bucket& bucket) const;

 private:
  struct Place {
    int bucket = 0;
    std::int64_t offset = 0;
  };
  int bucket_for(const Block& block, const Weight& weight);
  void place(Block& block);
  void allocate(Bucket& bucket);
  void bind_values(Block& block);
  void bind_gradients(Block& block);
  void mark_overwritten(Block& block);
  std::vector<int> used_by(const Block& block) const;
  Communicator* shard_of(const Bucket& bucket) const;
  Communicator* across(const Bucket& bucket) const;
  // Ranks of other stages that hold it too.
  Communicator* twins(const Bucket& bucket) const;
  Status scatter(Bucket& bucket);
  Status join_copies(const Bucket& bucket, float* gradient);

  RankContext& rank_;
  std::vector<Bucket> buckets_;
  std::vector<std::pair<const Block*, std::vector<Place>>> places_;  // by weight of the block
};

}  // namespace narrows
