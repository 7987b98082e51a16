// Times of ops on a machine that was measured op by op (`narrows profile`), where a chip is a rank
// on processors: no tiles and waves, no relatives, caches that reward repetition. Method: rows of
// one family (a matmul's n, k and groups; attention's heads and sequence; a class of moves, each by
// direction and, of matmuls, format) make a curve over how much of it there is (rows, sequences,
// bytes), with straight lines between its points: time is nearly linear there, so that the line
// is right to the measurements' own noise. Beyond its ends the last line goes on. A family that was
// not measured takes the efficiency of the nearest ones, over the floor that the chip's rates set.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "cost/estimate.h"
#include "cost/interpolate.h"
#include "hardware/chip.h"
#include "measurement/kernel_tables.h"
#include "model/op.h"

namespace narrows {

// Whether the chip is one that these times are for.
bool is_machine(const Chip& chip);

// Points by amount; times may fall where the measurements did.
class TimeCurve {
 public:
  // Points of one amount count with their mean.
  void add(double amount, Seconds time);
  bool empty() const { return points_.empty(); }
  Estimate at(double amount) const;

 private:
  std::map<double, std::pair<double, int>> points_;  // amount -> sum of seconds, count
};

class MachineTimes {
 public:
  MachineTimes(const KernelTables& tables, const Chip& chip);

  Estimate matmul(Recipe recipe, Direction direction, const MatmulShape& shape) const;
  // Of bf16 unless the recipe is f32.
  Estimate attention(Recipe recipe, Direction direction, const AttentionShape& shape) const;
  // Under bf16 from rows of that where there are any, as a backend has them that makes it.
  Estimate memory_bound(Recipe recipe, OpKind kind, Direction direction, Bytes traffic) const;
  // Activations that wait for their gradient in the recipe's format: packed after forward, unpacked
  // before. Nothing where they were made in it.
  Estimate packing(Recipe recipe, Direction direction, double elements) const;

 private:
  using Key = std::vector<std::int64_t>;
  // Families of one format and direction, and how far their times stand from the floor.
  struct Group {
    std::map<Key, TimeCurve> families;
    Scatter efficiencies;
  };
  void add(const Measurement& row);
  Seconds matmul_floor(Recipe recipe, const MatmulShape& shape) const;
  Seconds attention_floor(bool narrow, Direction direction, const AttentionShape& shape) const;

  FlopRate wide_, narrow_;
  Bandwidth bandwidth_;
  std::map<std::pair<Recipe, Direction>, Group> matmuls_;
  std::map<std::pair<bool, bool>, Group> attention_;      // in 16 bits, forward
  using Move = std::tuple<std::string, Direction, bool>;  // class; in bf16
  std::map<Move, TimeCurve> moves_;
  bool makes_bf16_ = false;
};

}  // namespace narrows
