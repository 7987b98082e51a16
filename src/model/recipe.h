// Number formats: how a tensor is stored, and the recipes of precision that training runs use. A
// recipe says in which format matmuls multiply, how activations cross the expert all-to-all, and
// what quantisation it costs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace narrows {

// A storage format with its scales: fp8-block carries a float per 1x128 tile, mxfp8 a byte per 32,
// nvfp4 a byte per 16.
enum class Dtype { F32, Bf16, Fp16, E5M6, Fp8Block, Fp8, Mxfp8, Nvfp4, Int64 };

// Bytes of one element, scales included (Fp8Block 1 + 4/128, E5M6 12 bits).
Bytes size_of(Dtype dtype);
std::string to_string(Dtype dtype);

// In which format the matmuls of the linear layers multiply (cli.md's recipes).
enum class Recipe { F32, Fp16, Bf16, Fp8Block, Fp8Tensor, Fp8Row, Mxfp8, Nvfp4 };

std::string to_string(Recipe recipe);                    // "fp8-block"
std::optional<Recipe> recipe_of(std::string_view name);  // by its exact name
const std::vector<Recipe>& all_recipes();
// Whether matmuls multiply in fewer than 16 bits (so that inputs must be quantised first).
bool is_quantised(Recipe recipe);
// The storage of activations, weights and gradients between kernels: F32 for f32, Fp16 for fp16,
// else Bf16.
Dtype activation_dtype(Recipe recipe);
// The storage of a quantised matmul operand; activation_dtype where the recipe does not quantise.
Dtype operand_dtype(Recipe recipe);

}  // namespace narrows
