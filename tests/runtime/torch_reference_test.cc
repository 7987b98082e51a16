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
  std::vector<double> loss, grad_norm;
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
  Reference r{numbers(*json->find("loss")), numbers(*json->find("grad_norm")), {}};
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

void check(const testing::Trained& mine, const Reference& torch) {
  REQUIRE(mine.error == "");
  CHECK(mine.loss[0] == Approx(torch.loss[0]).epsilon(1e-6));
  CHECK(mine.grad_norm[0] == Approx(torch.grad_norm[0]).epsilon(1e-5));
  REQUIRE(mine.gradients.size() == torch.tensors.size());
  for (const auto& [hf_name, gradient] : mine.gradients) {
    const std::string name = portable_name(hf_name);
    INFO(hf_name << " = " << name);
    REQUIRE(torch.tensors.contains(name));
    const Reference::Tensor& expected = torch.tensors.at(name);
    CHECK(testing::norm_of(gradient) == Approx(expected.norm).epsilon(1e-4));
    for (std::size_t d = 0; d < 3; ++d) {
      CHECK(product(gradient, name, d + 1) ==
            Approx(expected.products[d]).margin(1e-4 * expected.norm));
    }
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

}  // namespace narrows
