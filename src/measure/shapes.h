// Which ops to time for a model: those of every block's op graph, in all passes, under every
// division of work over so many ranks that a plan may use, for micro-batches of 1, 2, 4, …: points
// of one family (a matmul's n and k, a class of moves) at several numbers of rows, between which
// prices are interpolated. Without a model: a grid of matmuls, and moves by size.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "measure/op_case.h"
#include "model/block.h"

namespace narrows {

struct ShapeSpace {
  int ranks = 1;
  std::int64_t sequence = 0;
  std::int64_t global_batch = 1;
  int most_micro_batch = 8;
  std::vector<Recipe> recipes = {Recipe::F32, Recipe::Bf16};  // those that the backend multiplies
  Fusions fusions;                                            // of the runtime
  bool makes_bf16 = false;                                    // the backend (Backend::makes_bf16)
  bool on_gpu = false;  // for gpu_profile.h: passes too that no Backend runs by themselves
};

// Distinct, by key; in the order of the model.
std::vector<OpCase> cases_of(const ModelSpec& model, const ShapeSpace& space);

// For machines about which nothing else is known.
std::vector<OpCase> general_cases(const std::vector<Recipe>& recipes);

// Copies and large matmuls: what a machine's rates are derived from. The others begin with them.
std::vector<OpCase> rate_cases(const std::vector<Recipe>& recipes);

// How work may be divided over at most so many ranks.
std::vector<Sharding> shardings_of(const ModelSpec& model, const ShapeSpace& space);

}  // namespace narrows
