// SPDX-License-Identifier: Apache-2.0
#include "model/spec.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "model/builtin.h"
#include "model/keep.h"
#include "model/recipe.h"

namespace narrows {
namespace {

// One letter an item, in order.
std::string picture(const ModelSpec& model) {
  std::string text;
  for (const ItemKind kind : items_of(model)) {
    switch (kind) {
      case ItemKind::Embedding:
        text += '<';
        break;
      case ItemKind::DenseLayer:
        text += 'd';
        break;
      case ItemKind::MoeLayer:
        text += 'E';
        break;
      case ItemKind::MtpBlock:
        text += 'm';
        break;
      case ItemKind::Head:
        text += '>';
        break;
    }
  }
  return text;
}

}  // namespace

TEST_CASE("items: embedding, layers, MTP blocks, head") {
  CHECK(picture(builtin_model("deepseek-v3")->spec) == "<ddd" + std::string(58, 'E') + "m>");
  CHECK(picture(builtin_model("deepseek-llm-7b")->spec) == "<" + std::string(30, 'd') + ">");
  ModelSpec model = builtin_model("mixtral-8x7b")->spec;
  model.layers = 6;
  CHECK(picture(model) == "<EEEEEE>");
  model.moe->layer_step = 2;
  CHECK(picture(model) == "<dEdEdE>");
  model.moe->dense_layers = 2;
  CHECK(picture(model) == "<dddEdE>");
  model.mtp_layers = 2;
  CHECK(picture(model) == "<dddEdEmm>");
}

TEST_CASE("windows: every layer, or all but every n-th") {
  ModelSpec model = builtin_model("llama-2-7b")->spec;
  const auto count = [&] {
    int windows = 0;
    for (int layer = 0; layer < model.layers; ++layer) windows += has_window(model, layer) ? 1 : 0;
    return windows;
  };
  CHECK(count() == 0);
  model.attention.window = 128;
  CHECK(count() == 32);
  model.attention.window_every = 4;
  CHECK(count() == 24);
  CHECK(has_window(model, 2));
  CHECK_FALSE(has_window(model, 3));
}

TEST_CASE("formats: bytes of an element, scales included") {
  CHECK(size_of(Dtype::F32) / byte == 4);
  CHECK(size_of(Dtype::Bf16) / byte == 2);
  CHECK(size_of(Dtype::E5M6) / byte == 1.5);
  // 7168 channels in fp8: 7168 bytes and 56 floats.
  CHECK(7168 * size_of(Dtype::Fp8Block) / byte == 7168 + 56 * 4);
  CHECK(7168 * size_of(Dtype::Mxfp8) / byte == 7168 + 7168 / 32);
  CHECK(7168 * size_of(Dtype::Nvfp4) / byte == 7168 / 2 + 7168 / 16);
}

TEST_CASE("recipes: known by their exact names; what they quantise, they store smaller") {
  std::string names;
  for (const Recipe recipe : all_recipes()) {
    names += to_string(recipe) + " ";
    CHECK(recipe_of(to_string(recipe)) == recipe);
    CHECK(is_quantised(recipe) == (size_of(operand_dtype(recipe)) < size_of(Dtype::Bf16)));
  }
  CHECK(names == "f32 fp16 bf16 fp8-block fp8-tensor fp8-row mxfp8 nvfp4 ");
  CHECK_FALSE(recipe_of("fp8").has_value());
  CHECK(activation_dtype(Recipe::Fp8Block) == Dtype::Bf16);
  CHECK(activation_dtype(Recipe::F32) == Dtype::F32);
  CHECK(operand_dtype(Recipe::Fp16) == Dtype::Fp16);
}

TEST_CASE("recompute policies: known by their exact names") {
  std::string names;
  for (const Recompute policy : all_recomputes()) {
    names += to_string(policy) + " ";
    CHECK(recompute_of(to_string(policy)) == policy);
  }
  CHECK(names == "none selective full v3 ");
  CHECK_FALSE(recompute_of("auto").has_value());
}

}  // namespace narrows
