// The small language in which a block's weights are written: each call adds a weight, or a piece to
// the last one, under the prefix of its layer. For weights.cc.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "runtime/weights.h"

namespace narrows {

class WeightList {
 public:
  WeightList(const ModelSpec& model, const WeightShard& shard, std::string prefix)
      : model_(model), shard_(shard), prefix_(std::move(prefix)) {}

  void vector(const std::string& op, const std::string& name, std::int64_t n, WeightGroup group) {
    begin(op, group);
    run(name, n, 0, n);
  }
  // The weight of a norm, and LayerNorm's bias.
  void norm(const std::string& op, const std::string& name, std::int64_t n, WeightGroup group) {
    vector(op, name, n, group);
    if (model_.norm == NormKind::Layer) bias(op, name, n, group);
  }
  void bias(const std::string& op, const std::string& name, std::int64_t n, WeightGroup group) {
    begin_bias(op, group);
    bias_run(name, n, 0, n);
  }
  void begin_bias(const std::string& op, WeightGroup group) { begin(op + " bias", group); }
  // Elements [first, first + count) of a vector of n.
  void run(const std::string& name, std::int64_t n, std::int64_t first, std::int64_t count) {
    piece({.name = named(name),
           .columns = n,
           .first_column = first,
           .piece_columns = count,
           .stride = count,
           .vector = true});
  }
  void bias_run(const std::string& name, std::int64_t n, std::int64_t first, std::int64_t count) {
    run(name, n, first, count);
    WeightPiece& last = last_piece();
    last.name = prefix_ + name + ".bias";
    last.initial = 0;
  }
  WeightPiece& last_piece() { return list_.back().pieces.back(); }
  // (n, k), held whole.
  void whole(const std::string& op, const std::string& name, std::int64_t n, std::int64_t k,
             WeightGroup group) {
    begin(op, group);
    rows(name, n, k, 0, n);
  }
  // Split by its rows, which are outputs.
  void by_rows(const std::string& op, const std::string& name, std::int64_t n, std::int64_t k) {
    begin(op, WeightGroup::Replicas);
    rows(name, n, k, n / shard_.tp * shard_.tp_rank, n / shard_.tp);
  }
  // Split by its columns, which are inputs.
  void by_columns(const std::string& op, const std::string& name, std::int64_t n, std::int64_t k) {
    begin(op, WeightGroup::Replicas);
    columns(name, n, k, k / shard_.tp * shard_.tp_rank, k / shard_.tp);
  }
  void begin(const std::string& op, WeightGroup group) { list_.push_back({op, group, 0, {}}); }
  void rows(const std::string& name, std::int64_t n, std::int64_t k, std::int64_t first,
            std::int64_t count) {
    piece({.name = named(name),
           .rows = n,
           .columns = k,
           .first_row = first,
           .piece_rows = count,
           .piece_columns = k,
           .stride = k});
  }
  void columns(const std::string& name, std::int64_t n, std::int64_t k, std::int64_t first,
               std::int64_t count) {
    piece({.name = named(name),
           .rows = n,
           .columns = k,
           .first_column = first,
           .piece_rows = n,
           .piece_columns = count,
           .stride = count});
  }
  // Space behind the last piece.
  void pad(std::int64_t count) { list_.back().count += count; }

  const ModelSpec& model() const { return model_; }
  const WeightShard& shard() const { return shard_; }
  // Weights that are not the layer's own.
  void append(std::vector<Weight> more) {
    std::move(more.begin(), more.end(), std::back_inserter(list_));
  }
  std::vector<Weight> take() { return std::move(list_); }

 private:
  std::string named(const std::string& name) const { return prefix_ + name + ".weight"; }
  void piece(WeightPiece p) {
    p.offset = list_.back().count;
    list_.back().count += p.piece_rows * p.stride;
    list_.back().pieces.push_back(std::move(p));
  }

  const ModelSpec& model_;
  const WeightShard& shard_;
  std::string prefix_;
  std::vector<Weight> list_;
};

}  // namespace narrows
