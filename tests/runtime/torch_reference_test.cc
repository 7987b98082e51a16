// PyTorch's losses and gradients (scripts/torch-reference) from the same portable weights and
// tokens.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "base/json.h"
#include "runtime/small_plans.h"
#include "runtime/weight_names.h"

namespace narrows {
namespace {

struct Reference {
  std::vector<double> loss, grad_norm, mtp_loss, aux_loss;
  struct Tensor {
    double norm = 0;
    std::vector<double> products;
  };
  std::map<std::string, Tensor> tensors;
};

std::vector<double> numbers(const Json& array) {
  std::vector<double> found;
  for (const Json& item : array.items()) found.push_back(item.number());
  return found;
}

Reference read_reference(const std::string& name) {
  const Result<Json> json =
      read_json(std::string(NARROWS_SOURCE_DIR) + "/tests/data/torch/" + name + ".json");
  REQUIRE(json);
  Reference r{numbers(*json->find("loss")), numbers(*json->find("grad_norm")), {}, {}, {}};
  if (json->find("mtp_loss") != nullptr) {
    r.mtp_loss = numbers(*json->find("mtp_loss"));
    r.aux_loss = numbers(*json->find("aux_loss"));
  }
  for (const Json& t : json->find("tensors")->items()) {
    r.tensors[t.find("name")->string()] = {t.find("norm")->number(), numbers(*t.find("products"))};
  }
  return r;
}

// The product with direction `d` of the reference.
double product(const std::vector<float>& gradient, const std::string& name, std::uint64_t d) {
  // With scale 1 a portable weight is the direction itself.
  const PortableWeight direction{portable_weight(d, name, 1).key, 1.0f};
  std::vector<float> values(gradient.size());
  fill(direction, 0, values);
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += static_cast<double>(values[i]) * static_cast<double>(gradient[i]);
  }
  return sum;
}

// The rows as the portable numbers have them.
std::vector<float> in_portable_order(const WeightPiece& piece, const std::vector<float>& gradient) {
  std::vector<float> rows(gradient.size());
  for (std::int64_t r = 0; r < piece.rows; ++r) {
    std::copy_n(gradient.begin() + r * piece.columns, piece.columns,
                rows.begin() + portable_row(piece, r) * piece.columns);
  }
  return rows;
}

void check(const testing::Trained& mine, const Reference& torch) {
  REQUIRE(mine.error == "");
  CHECK(mine.loss[0] == Approx(torch.loss[0]).epsilon(1e-6));
  CHECK(mine.grad_norm[0] == Approx(torch.grad_norm[0]).epsilon(1e-5));
  REQUIRE(mine.gradients.size() == torch.tensors.size());
  for (const auto& [hf_name, stored] : mine.gradients) {
    const std::string name = portable_name(hf_name);
    const std::vector<float> gradient = in_portable_order(mine.pieces.at(hf_name), stored);
    INFO(hf_name << " = " << name);
    REQUIRE(torch.tensors.contains(name));
    const Reference::Tensor& expected = torch.tensors.at(name);
    if (testing::is_nothing(hf_name, expected.norm, torch.grad_norm[0])) {
      CHECK(testing::norm_of(gradient) < 1e-6 * torch.grad_norm[0]);
      continue;
    }
    CHECK(testing::norm_of(gradient) == Approx(expected.norm).epsilon(1e-4));
    for (std::size_t d = 0; d < 3; ++d) {
      CHECK(product(gradient, name, d + 1) ==
            Approx(expected.products[d]).margin(1e-4 * expected.norm));
    }
  }
  for (std::size_t step = 0; step < torch.mtp_loss.size(); ++step) {
    INFO("step " << step);
    const double tolerance = step == 0 ? 1e-6 : 1e-4;
    CHECK(mine.mtp_loss[step] == Approx(torch.mtp_loss[step]).epsilon(tolerance));
    CHECK(mine.aux_loss[step] == Approx(torch.aux_loss[step]).epsilon(tolerance));
  }
  for (std::size_t step = 1; step < torch.loss.size(); ++step) {
    INFO("step " << step);
    CHECK(mine.loss[step] == Approx(torch.loss[step]).epsilon(1e-4));
    CHECK(mine.grad_norm[step] == Approx(torch.grad_norm[step]).epsilon(1e-3));
  }
}

Strategy one_rank() {
  Strategy s;
  s.precision = Recipe::F32;
  s.micro_batch = 4;
  return s;
}

// Trains as scripts/torch-reference did.
void check_features(const ModelSpec& model, const std::string& name, const LossWeights& weights,
                    double balance_rate = 0) {
  const Plan plan = testing::small_plan(model, one_rank(), 16, 4);
  const OptimizerOptions optimizer{.learning_rate = 0.003, .balance_rate = balance_rate};
  check(testing::train(plan, {.steps = 6, .optimizer = optimizer, .weights = weights}),
        read_reference(name));
}

}  // namespace

TEST_CASE("torch: MLA and a softmax router give PyTorch's losses and gradients") {
  const Plan plan = testing::small_plan(testing::small_mla(), one_rank(), 16, 4);
  check(testing::train(plan, {.steps = 6, .optimizer = {.learning_rate = 0.003}}),
        read_reference("softmax"));
}

TEST_CASE("torch: sigmoid router, two shared experts, no query latent, clipping") {
  ModelSpec model = testing::small_mla();
  model.attention.q_lora = 0;
  model.moe->score = RouterScore::Sigmoid;
  model.moe->shared_ffn = 32;
  model.moe->dense_layers = 0;
  const Plan plan = testing::small_plan(model, one_rank(), 16, 4);
  check(testing::train(plan, {.steps = 6, .optimizer = {.learning_rate = 0.003, .clip = 0.5}}),
        read_reference("sigmoid"));
}

TEST_CASE(
    "torch: a selection bias, moved by the loads of each step, in the best groups of experts") {
  ModelSpec model = testing::small_mla();
  model.moe->score = RouterScore::Sigmoid;
  model.moe->experts = 8;
  model.moe->groups = 4;
  model.moe->top_groups = 2;
  model.moe->selection_bias = true;
  check_features(model, "bias", {}, 0.05);
}

TEST_CASE("torch: the sequence-wise balance loss of both routers") {
  ModelSpec model = testing::small_mla();
  check_features(model, "aux", {.aux = 0.5});
  model.moe->score = RouterScore::Sigmoid;
  check_features(model, "aux-sigmoid", {.aux = 0.5});
}

TEST_CASE("torch: a block that predicts the token after the next") {
  ModelSpec model = testing::small_mla();
  model.mtp_layers = 1;
  check_features(model, "mtp", {.mtp = 0.3});
}

TEST_CASE("torch: grouped queries, normalised heads, biases of their projections") {
  ModelSpec model = testing::small_gqa();
  check_features(model, "gqa", {});
  model.attention.qkv_bias = true;
  check_features(model, "qkv-bias", {});
  model.attention.qkv_bias = false;
  model.attention.qk_norm = QkNorm::PerHead;
  check_features(model, "qk-norm", {});
  model.attention.qk_norm = QkNorm::Full;
  check_features(model, "qk-norm-full", {});
}

TEST_CASE("torch: GPT-2's learned positions, LayerNorm, GELU and biases") {
  ModelSpec model = testing::small_gqa();
  model.attention.kv_heads = 4;
  model.activation = Activation::Gelu;
  model.norm = NormKind::Layer;
  model.linear_bias = true;
  model.attention.qkv_bias = true;
  model.learned_positions = 16;
  model.tied_embeddings = true;
  check_features(model, "gpt", {});
}

TEST_CASE("torch: a gate on the shared expert") {
  ModelSpec model = testing::small_gqa();
  model.moe = testing::small_mla().moe;
  model.moe->shared_gate = true;
  check_features(model, "shared-gate", {});
}

TEST_CASE("torch: rotary positions stretched in every way") {
  ModelSpec latent = testing::small_mla();
  latent.numerics = Numerics{.rope_scaling = "yarn",
                             .scaling = {.factor = 4,
                                         .positions = 8,
                                         .beta_fast = 2,
                                         .beta_slow = 0.1,
                                         .mscale = 1,
                                         .mscale_all_dim = 0.8}};
  check_features(latent, "yarn-mla", {});
  ModelSpec model = testing::small_gqa();
  model.numerics = latent.numerics;
  model.numerics->scaling.mscale = model.numerics->scaling.mscale_all_dim = 0;
  check_features(model, "yarn", {});
  model.numerics->rope_scaling = "llama3";
  check_features(model, "llama3", {});
  model.numerics->rope_scaling = "linear";
  check_features(model, "linear", {});
}

}  // namespace narrows
