// SPDX-License-Identifier: Apache-2.0
#include "model/parameters.h"

#include <catch2/catch.hpp>

#include "model/builtin.h"
#include "model/published.h"

namespace narrows {
namespace {

ModelSpec model(const std::string& name) {
  const Result<BuiltinModel> found = builtin_model(name);
  INFO((found ? "" : found.error().message));
  REQUIRE(found.has_value());
  return found->spec;
}

}  // namespace

TEST_CASE("parameters: every published model has its published counts, to the last parameter") {
  for (const PublishedCounts& row : published_counts()) {
    INFO(row.name);
    const ParameterCount count = count_parameters(model(row.name));
    CHECK(count.total == row.total);
    CHECK(count.active == row.active);
    CHECK(count.active_without_embedding == row.active_without_embedding);
    CHECK(count.mtp == row.mtp);
  }
}

TEST_CASE("parameters: Megatron's GPT models have the sizes of narayanan2021 table 1") {
  const std::vector<std::pair<std::string, double>> billions = {
      {"megatron-1.7b", 1.7},   {"megatron-3.6b", 3.6},   {"megatron-7.5b", 7.5},
      {"megatron-18b", 18.4},   {"megatron-39b", 39.1},   {"megatron-76b", 76.1},
      {"megatron-145b", 145.6}, {"megatron-310b", 310.1}, {"megatron-530b", 529.6},
      {"megatron-1t", 1008.0}};
  for (const auto& [name, printed] : billions) {
    INFO(name);
    CHECK(count_parameters(model(name)).total / 1e9 == Approx(printed).margin(0.06));
  }
}

TEST_CASE(
    "parameters: the formula of narayanan2021 for GPT, 12 l h^2 (1 + 13/12h + (V + s)/12lh)") {
  const ModelSpec gpt = model("megatron-1t");
  const double l = gpt.layers;
  const double h = gpt.hidden;
  const double paper = 12 * l * h * h * (1 + 13 / (12 * h) + (gpt.vocab + 2048.0) / (12 * l * h));
  CHECK(count_parameters(gpt).total ==
        Approx(paper + 2 * h).epsilon(1e-12));  // the final norm is not in the formula
}

TEST_CASE("parameters: the pieces of DeepSeek-V3") {
  const ModelSpec v3 = model("deepseek-v3");
  const MatmulWeights moe = matmul_weights(v3, ItemKind::MoeLayer);
  CHECK(moe.attention ==
        7168. * 1536 + 1536. * 128 * 192 + 7168. * 576 + 512. * 128 * 256 + 128. * 128 * 7168);
  CHECK(moe.attention / 1e6 == Approx(187.105).margin(5e-4));
  CHECK(moe.expert / 1e6 == Approx(44.040).margin(5e-4));
  CHECK(moe.shared == moe.expert);
  CHECK(moe.router / 1e6 == Approx(1.835).margin(5e-4));
  CHECK(matmul_weights(v3, ItemKind::DenseLayer).ffn / 1e6 == Approx(396.362).margin(5e-4));
  CHECK(sum(item_parameters(v3, ItemKind::MoeLayer)) / 1e9 == Approx(11.507).margin(5e-4));
  CHECK(item_parameters(v3, ItemKind::Embedding).embedding == 129280. * 7168);
  CHECK(item_parameters(v3, ItemKind::Head).head == 129280. * 7168);
}

TEST_CASE(
    "parameters: V3's MTP block is a layer and a projection; its embedding and head are borrowed") {
  const ModelSpec v3 = model("deepseek-v3");
  const ItemParameters block = item_parameters(v3, ItemKind::MtpBlock);
  const ItemParameters layer = item_parameters(v3, ItemKind::MoeLayer);
  CHECK(block.expert == layer.expert);
  CHECK(block.dense - layer.dense == 2. * 7168 * 7168);
  CHECK(block.norm - layer.norm == 3. * 7168);
  CHECK(block.replicated == layer.replicated);
  CHECK(block.borrowed == 2. * 129280 * 7168);
  // What a token uses of it, projection included: 688.1 M.
  CHECK(sum(block) - block.expert / 256 * 248 == published_counts().front().mtp_active);
}

TEST_CASE("parameters: a tied head borrows the embedding's table") {
  const ModelSpec tied = model("qwen2.5-0.5b");
  const ItemParameters head = item_parameters(tied, ItemKind::Head);
  CHECK(head.head == 0);
  CHECK(head.borrowed == 151936. * 896);
  CHECK(matmul_weights(tied, ItemKind::Head).head == 151936. * 896);
}

TEST_CASE(
    "parameters: tensor parallelism does not divide latent down-projections, routers and row "
    "biases") {
  const ModelSpec v3 = model("deepseek-v3");
  CHECK(item_parameters(v3, ItemKind::DenseLayer).replicated == 7168. * (1536 + 512 + 64));
  CHECK(item_parameters(v3, ItemKind::MoeLayer).replicated ==
        7168. * (1536 + 512 + 64) + 7168. * 256 + 256);
  CHECK(item_parameters(model("gpt3-175b"), ItemKind::DenseLayer).replicated == 2 * 12288.);
  CHECK(item_parameters(model("llama-3.1-8b"), ItemKind::DenseLayer).replicated == 0);
}

TEST_CASE("parameters: a GPT layer by hand") {
  // h = 4, 2 heads of 2, ffn 16: q k v o 4 x 16 + 16 biases, ffn 2 x 64 + 16 + 4 biases, 2 norms of
  // 2 x 4.
  ModelSpec gpt = model("gpt3-175b");
  gpt.hidden = 4;
  gpt.ffn = 16;
  gpt.attention.heads = gpt.attention.kv_heads = 2;
  gpt.attention.head_dim = 2;
  const ItemParameters layer = item_parameters(gpt, ItemKind::DenseLayer);
  CHECK(layer.dense == 64 + 16 + 128 + 20);
  CHECK(layer.norm == 16);
}

}  // namespace narrows
