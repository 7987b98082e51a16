// SPDX-License-Identifier: Apache-2.0
#include "model/recipe.h"

namespace narrows {

Bytes size_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::F32:
      return 4 * byte;
    case Dtype::Bf16:
      return 2 * byte;
    case Dtype::Fp16:
      return 2 * byte;
    case Dtype::E5M6:
      return 1.5 * byte;
    case Dtype::Fp8Block:
      return (1 + 4.0 / 128) * byte;
    case Dtype::Fp8:
      return 1 * byte;
    case Dtype::Mxfp8:
      return (1 + 1.0 / 32) * byte;
    case Dtype::Nvfp4:
      return (0.5 + 1.0 / 16) * byte;
    case Dtype::Int64:
      return 8 * byte;
  }
  return Bytes();
}

std::string to_string(Dtype dtype) {
  switch (dtype) {
    case Dtype::F32:
      return "f32";
    case Dtype::Bf16:
      return "bf16";
    case Dtype::Fp16:
      return "fp16";
    case Dtype::E5M6:
      return "e5m6";
    case Dtype::Fp8Block:
      return "fp8-block";
    case Dtype::Fp8:
      return "fp8";
    case Dtype::Mxfp8:
      return "mxfp8";
    case Dtype::Nvfp4:
      return "nvfp4";
    case Dtype::Int64:
      return "int64";
  }
  return "";
}

std::string to_string(Recipe recipe) {
  switch (recipe) {
    case Recipe::F32:
      return "f32";
    case Recipe::Fp16:
      return "fp16";
    case Recipe::Bf16:
      return "bf16";
    case Recipe::Fp8Block:
      return "fp8-block";
    case Recipe::Fp8Tensor:
      return "fp8-tensor";
    case Recipe::Fp8Row:
      return "fp8-row";
    case Recipe::Mxfp8:
      return "mxfp8";
    case Recipe::Nvfp4:
      return "nvfp4";
  }
  return "";
}

const std::vector<Recipe>& all_recipes() {
  static const std::vector<Recipe> recipes = {Recipe::F32,      Recipe::Fp16,      Recipe::Bf16,
                                              Recipe::Fp8Block, Recipe::Fp8Tensor, Recipe::Fp8Row,
                                              Recipe::Mxfp8,    Recipe::Nvfp4};
  return recipes;
}

std::optional<Recipe> recipe_of(std::string_view name) {
  for (const Recipe recipe : all_recipes()) {
    if (to_string(recipe) == name) return recipe;
  }
  return std::nullopt;
}

bool is_quantised(Recipe recipe) {
  return recipe != Recipe::F32 && recipe != Recipe::Fp16 && recipe != Recipe::Bf16;
}

Dtype activation_dtype(Recipe recipe) {
  if (recipe == Recipe::F32) return Dtype::F32;
  return recipe == Recipe::Fp16 ? Dtype::Fp16 : Dtype::Bf16;
}

Dtype operand_dtype(Recipe recipe) {
  switch (recipe) {
    case Recipe::Fp8Block:
      return Dtype::Fp8Block;
    case Recipe::Fp8Tensor:  // one scale a tensor or a row: nothing that counts
    case Recipe::Fp8Row:
      return Dtype::Fp8;
    case Recipe::Mxfp8:
      return Dtype::Mxfp8;
    case Recipe::Nvfp4:
      return Dtype::Nvfp4;
    case Recipe::F32:
    case Recipe::Fp16:
    case Recipe::Bf16:
      return activation_dtype(recipe);
  }
  return Dtype::Bf16;
}

}  // namespace narrows
