// SPDX-License-Identifier: Apache-2.0
#include "runtime/trainer_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "model/spec_json.h"
#include "runtime/checkpoint_files.h"
#include "runtime/rotary.h"

namespace narrows {
namespace {

// A run of a bucket's elements in memory.
struct Run {
  void* data = nullptr;
  TensorType type = TensorType::F32;
  std::int64_t first = 0;
  std::int64_t last = 0;
};

// For saving without the pieces that another rank saves.
enum class Copies { With, Without };

void add_parts(const Bucket& bucket, const Run& run, std::string_view suffix, Copies copies,
               std::vector<TensorPart>& parts) {
  for (const BucketWeight& w : bucket.weights) {
    const std::int64_t first = std::max(run.first, w.offset);
    const std::int64_t last = std::min(run.last, w.offset + w.weight.count);
    if (first >= last) continue;
    const std::int64_t skipped = (first - run.first) * bytes_of(run.type);
    const WeightMemory memory{static_cast<char*>(run.data) + skipped, run.type, first - w.offset,
                              last - first};
    for (const WeightPiece& piece : w.weight.pieces) {
      if (piece.is_copy && copies == Copies::Without) continue;
      std::vector<TensorPart> more = parts_of(piece, memory, suffix);
      std::move(more.begin(), more.end(), std::back_inserter(parts));
    }
  }
}

void add_moments(Bucket& bucket, Copies copies, CheckpointParts& parts) {
  const auto run = [&](LargeVector<float>& wide, LargeVector<std::uint16_t>& narrow) {
    return narrow.empty() ? Run{wide.data(), TensorType::F32, bucket.first, bucket.last}
                          : Run{narrow.data(), TensorType::Bf16, bucket.first, bucket.last};
  };
  add_parts(bucket, run(bucket.first_moment, bucket.first_moment_bf16), ".exp_avg", copies,
            parts.optimizer);
  add_parts(bucket, run(bucket.second_moment, bucket.second_moment_bf16), ".exp_avg_sq", copies,
            parts.optimizer);
}

void add_biases(Trainer& trainer, CheckpointParts& parts) {
  std::vector<TensorPart> biases = trainer.rank().balance.parts();
  std::move(biases.begin(), biases.end(), std::back_inserter(parts.weights));
}

bool leads_group(const Group& group) { return group == nullptr || group->rank() == 0; }

}  // namespace

CheckpointParts parts_to_save(Trainer& trainer) {
  CheckpointParts parts;
  Buckets& buckets = trainer.buckets();
  for (Bucket& bucket : buckets.all()) {
    if (!buckets.leads(bucket)) continue;
    const Run share{buckets.value_share(bucket), TensorType::F32, bucket.first, bucket.last};
    add_parts(bucket, share, "", Copies::Without, parts.weights);
    add_moments(bucket, Copies::Without, parts);
  }
  const Groups& g = trainer.rank().groups;
  const bool leads = leads_group(g.shard) && leads_group(g.stage_across) && leads_group(g.mirror);
  if (leads) add_biases(trainer, parts);
  return parts;
}

CheckpointParts parts_to_load(Trainer& trainer) {
  CheckpointParts parts;
  for (Bucket& bucket : trainer.buckets().all()) {
    const bool is_whole = std::ssize(bucket.value) == bucket.count;
    const Run held{bucket.value.data(), TensorType::F32, is_whole ? 0 : bucket.first,
                   is_whole ? bucket.count : bucket.last};
    add_parts(bucket, held, "", Copies::With, parts.weights);
    add_moments(bucket, Copies::With, parts);
  }
  add_biases(trainer, parts);
  return parts;
}

std::string fingerprint_of(const ModelSpec& model) {
  const std::string text = to_json(model).compact();
  return fmt::format("{} ({:016x})", model.name,
                     checksum(std::as_bytes(std::span<const char>(text))));
}

int oldest_checkpoint_of(const ModelSpec& model) {
  return rotates_neighbours(model) ? kRotatedPairsSince : 1;
}

}  // namespace narrows
