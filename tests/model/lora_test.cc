// SPDX-License-Identifier: Apache-2.0
// Training of adapters beside frozen weights.
#include "model/flops.h"
#include "model/graph_fixture.h"
#include "model/parameters.h"

namespace narrows {
namespace {

ModelSpec with_adapters(const char* name, int rank) {
  ModelSpec model = model_named(name);
  model.lora_rank = rank;
  return model;
}

Flops total_flops(const std::vector<Op>& ops) {
  Flops all;
  for (const Op& op : ops) all += executed_flops(op);
  return all;
}

}  // namespace

TEST_CASE("lora: the weight gradient is the adapters' alone, the input gradient everybody's") {
  const ModelSpec plain = model_named("llama-3.1-70b"), lora = with_adapters("llama-3.1-70b", 16);
  for (const Recipe recipe : {Recipe::Bf16, Recipe::Fp8Tensor, Recipe::Fp8Block}) {
    for (const BlockKind kind : {BlockKind::Attention, BlockKind::DenseFfn, BlockKind::Head}) {
      CAPTURE(to_string(recipe), static_cast<int>(kind));
      const BlockKey key{kind, {.tp = 4, .sequence_parallel = true, .sequence = 4096}, recipe, {}};
      const Graph all = differentiated(key, plain, Recompute::None);
      const Graph few = differentiated(key, lora, Recompute::None);
      CHECK(total_flops(few.input_grad) >= total_flops(all.input_grad));
      // 2 FLOPs a token and adapter weight of this rank; nothing in the other blocks.
      const double weights = kind == BlockKind::Attention ? adapter_parameters(lora, 4) : 0;
      CHECK(total_flops(few.weight_grad) / flop == Approx(2 * 4096 * weights));
      CHECK(kept_bytes(few).until_weight_grad <= kept_bytes(all).until_weight_grad);
      CHECK(kept_bytes(few).input_to_weight_grad <= kept_bytes(all).input_to_weight_grad);
    }
  }
}

TEST_CASE("lora: adapters by hand, and a token costs two thirds of the weights' FLOPs") {
  // Llama 3.1 70B: 8192 in, 64 heads and twice 8 KV heads of 128 out.
  CHECK(adapter_parameters(with_adapters("llama-3.1-70b", 16), 1) == 16 * (8192 + 80 * 128));
  CHECK(adapter_parameters(model_named("llama-3.1-70b"), 1) == 0);
  const FlopsRule weights_only{.attention_core = false};
  const auto cost = [&](const ModelSpec& m) {
    return training_flops_per_token(m, 4096, weights_only);
  };
  CHECK(cost(with_adapters("llama-3.1-70b", 16)) / cost(model_named("llama-3.1-70b")) ==
        Approx(2.0 / 3));
}

}  // namespace narrows
