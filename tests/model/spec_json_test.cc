// SPDX-License-Identifier: Apache-2.0
#include "model/spec_json.h"

#include <catch2/catch.hpp>

#include "model/builtin.h"

namespace narrows {
namespace {

Result<ModelSpec> read(const std::string& text) {
  const Json node = TRY(parse_json(text, "plan.json"));
  JsonObject object = TRY(JsonObject::of(node, "plan.json"));
  return model_from_json(object);
}

std::string complaint(const std::string& text) {
  const Result<ModelSpec> model = read(text);
  return model ? "accepted" : model.error().message;
}

// A small model's text with one piece replaced.
std::string changed(const std::string& from, const std::string& to) {
  std::string text = R"({"name": "tiny", "layers": 4, "hidden": 64, "ffn": 256, "vocab": 1000,
 "attention": {"kind": "gqa", "heads": 8, "kv_heads": 4, "head_dim": 8},
 "moe": {"experts": 8, "top_k": 2, "expert_ffn": 32, "dense_layers": 1, "groups": 4, "top_groups": 2}})";
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("model json: every built-in model reads back as itself, and writes the same bytes") {
  for (const std::string& name : builtin_model_names()) {
    INFO(name);
    const ModelSpec model = builtin_model(name)->spec;
    const std::string text = to_json(model).text();
    const Result<ModelSpec> back = read(text);
    INFO((back ? "" : back.error().message));
    REQUIRE(back.has_value());
    CHECK(*back == model);
    CHECK(to_json(*back).text() == text);
  }
}

TEST_CASE("model json: each field changes the text, and comes back") {
  ModelSpec model = builtin_model("qwen2-57b-a14b")->spec;
  model.tied_embeddings = true;
  model.activation = Activation::Gelu;
  model.norm = NormKind::Layer;
  model.linear_bias = true;
  model.learned_positions = 77;
  model.mtp_layers = 2;
  model.ffn = 99;
  model.attention.qk_norm = QkNorm::Full;
  model.attention.window = 128;
  model.attention.window_every = 3;
  model.moe->groups = 4;
  model.moe->top_groups = 2;
  model.moe->dense_layers = 3;
  model.moe->layer_step = 2;
  model.moe->score = RouterScore::Sigmoid;
  model.moe->selection_bias = true;
  CHECK(read(to_json(model).text()).value() == model);
}

TEST_CASE("model json: what is left out has its documented default") {
  const ModelSpec model =
      read(R"({"name": "tiny", "layers": 2, "hidden": 64, "ffn": 256, "vocab": 1000,
    "attention": {"kind": "gqa", "heads": 8, "head_dim": 8}})")
          .value();
  CHECK(model.attention.kv_heads == 8);
  CHECK(model.activation == Activation::SwiGlu);
  CHECK_FALSE(model.moe.has_value());
}

TEST_CASE("model json: a wrong piece is refused with its place") {
  CHECK(complaint(changed("\"top_k\": 2", "\"top_k\": 2")) == "accepted");
  CHECK(complaint(changed("\"heads\": 8", "\"heds\": 8, \"heads\": 8")) ==
        "plan.json:2: attention.heds: unknown key; did you mean \"heads\"?");
  CHECK(complaint(changed("\"layers\": 4", "\"layers\": 4097")) ==
        "plan.json:1: layers: expected a whole number from 1 to 4096, found the number 4097");
  CHECK(complaint(changed("\"name\": \"tiny\"", "\"name\": \"\"")) ==
        "plan.json:1: name: expected 1 to 200 characters, found 0");
  CHECK(complaint(changed("\"gqa\"", "\"mqa\"")) ==
        "plan.json:2: attention.kind: expected \"gqa\" or \"mla\", found \"mqa\"");
  CHECK(complaint(changed("\"kv_heads\": 4", "\"kv_heads\": 3")) ==
        "plan.json:2: attention.kv_heads: expected a divisor of the 8 heads, found 3");
  CHECK(complaint(changed("\"kv_heads\": 4", "\"kv_heads\": 16")) ==
        "plan.json:2: attention.kv_heads: expected a whole number from 1 to 8, found 16");
  CHECK(complaint(changed("\"kv_heads\": 4", "\"kv_heads\": 4, \"v_dim\": 8")) ==
        "plan.json:2: attention.v_dim: unknown key");
  CHECK(complaint(changed("\"head_dim\": 8", "\"head_dim\": 8, \"window_every\": 2")) ==
        "plan.json:2: attention.window_every: expected 1 without a window, found 2");
  CHECK(complaint(changed("\"top_k\": 2", "\"top_k\": 9")) ==
        "plan.json:3: moe.top_k: expected a whole number from 1 to 8, found 9");
  CHECK(complaint(changed("\"top_k\": 2", "\"top_k\": 5")) ==
        "plan.json:3: moe.top_k: expected at most the 4 experts of 2 groups, found 5");
  CHECK(complaint(changed("\"groups\": 4", "\"groups\": 3")) ==
        "plan.json:3: moe.groups: expected a divisor of the 8 experts, found 3");
  CHECK(complaint(changed("\"dense_layers\": 1", "\"dense_layers\": 4")) ==
        "plan.json:3: moe.dense_layers: expected a whole number from 0 to 3, found 4");
  CHECK(complaint(changed("\"dense_layers\": 1", "\"shared_gate\": true")) ==
        "plan.json:3: moe.shared_gate: expected a shared expert to gate, found shared_ffn 0");
  CHECK(complaint(changed("\"ffn\": 256", "\"ffn\": 0")) ==
        "plan.json:1: ffn: expected a whole number from 1 to 10000000, found 0");
}

TEST_CASE("validate: shapes built in memory are held to the same rules") {
  ModelSpec v3 = builtin_model("deepseek-v3")->spec;
  CHECK(validate(v3).has_value());
  v3.attention.kv_heads = 8;
  CHECK(validate(v3).error().message ==
        "attention.kv_heads: expected a whole number from 128 to 128, found 8");
  v3 = builtin_model("deepseek-v3")->spec;
  v3.linear_bias = true;
  CHECK(validate(v3).error().message ==
        "attention.kind: expected gqa for a model with biases, found mla");
  v3 = builtin_model("deepseek-v3")->spec;
  v3.moe->layer_step = 0;
  CHECK(validate(v3).error().message ==
        "moe.layer_step: expected a whole number from 1 to 58, found 0");
}

}  // namespace narrows
