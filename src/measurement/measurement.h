// A measurement: a fact about one kernel. What ran, where, how long it took, and who says so.
// Estimates are made from these in cost/; nothing here predicts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/units.h"
#include "model/op.h"
#include "model/recipe.h"

namespace narrows {

enum class KernelFamily { Matmul, Attention, Memory };

struct Measurement {
  KernelFamily family = KernelFamily::Matmul;
  std::string chip;  // "h100-sxm5"
  std::string
      generation;  // of kernels, where several exist side by side: "dsv3-2024"; "" = the usual one
  std::string source;  // "S-AIC"
  Recipe recipe = Recipe::Bf16;
  Direction direction = Direction::Forward;
  MatmulShape matmul;        // family Matmul; the shape of the forward op in every direction
  AttentionShape attention;  // family Attention; InputGrad is the whole backward
  std::string memory_class;  // family Memory: "norm", "rope", …
  Bytes traffic;             // family Memory: least bytes read and written
  Seconds time;
  int multiprocessors = 0;  // that the kernel had, 0 = all
  // The time includes a pass that quantises the input at this share of memory bandwidth; 0 = it
  // does not.
  double quantise = 0;
  bool grid = false;     // part of a full grid: many m for each (n, k)
  bool library = false;  // of a library that runs alike on every chip of the architecture
};

}  // namespace narrows
