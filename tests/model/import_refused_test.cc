// What import refuses, and in which words. Each case is a good configuration with one line changed.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <map>

#include "model/import.h"
#include "model/parameters.h"
#include "model/validate.h"

namespace narrows {
namespace {

using Lines = std::map<std::string, std::string>;

// One key a line, in alphabetical order from line 2, so that messages name a line.
Result<ModelSpec> import_lines(const Lines& lines) {
  std::string text = "{\n";
  for (const auto& [key, value] : lines) text += "\"" + key + "\": " + value + ",\n";
  text += "\"z\": 0}\n";
  const Result<Json> node = parse_json(text, "config.json");
  if (!node) return tl::unexpected(node.error());
  return import_config(*node, "config.json");
}

// The message for `lines` with some changed; "" as a value takes a key out.
std::string complaint(Lines lines, const Lines& changes) {
  REQUIRE(import_lines(lines).has_value());
  for (const auto& [key, value] : changes) {
    if (value.empty()) {
      lines.erase(key);
    } else {
      lines[key] = value;
    }
  }
  const Result<ModelSpec> model = import_lines(lines);
  return model ? "accepted" : model.error().message;
}

const Lines& llama() {
  static const Lines lines = {{"hidden_size", "4096"},
                              {"intermediate_size", "11008"},
                              {"max_position_embeddings", "4096"},
                              {"model_type", "\"llama\""},
                              {"num_attention_heads", "32"},
                              {"num_hidden_layers", "32"},
                              {"num_key_value_heads", "8"},
                              {"vocab_size", "32000"}};
  return lines;
}

Lines with(Lines lines, const Lines& more) {
  for (const auto& [key, value] : more) lines[key] = value;
  return lines;
}

const Lines& v3() {
  static const Lines lines = with(llama(), {{"model_type", "\"deepseek_v3\""},
                                            {"num_key_value_heads", "32"},
                                            {"kv_lora_rank", "512"},
                                            {"qk_nope_head_dim", "128"},
                                            {"qk_rope_head_dim", "64"},
                                            {"v_head_dim", "128"},
                                            {"n_routed_experts", "16"},
                                            {"num_experts_per_tok", "4"},
                                            {"moe_intermediate_size", "512"},
                                            {"n_group", "4"},
                                            {"topk_group", "2"}});
  return lines;
}

const Lines& qwen() {
  static const Lines lines = with(llama(), {{"model_type", "\"qwen2_moe\""},
                                            {"num_hidden_layers", "2"},
                                            {"num_experts", "8"},
                                            {"num_experts_per_tok", "2"},
                                            {"moe_intermediate_size", "512"},
                                            {"shared_expert_intermediate_size", "512"}});
  return lines;
}

}  // namespace

TEST_CASE("import: sizes of the wrong type or out of range are refused with their place") {
  CHECK(complaint(llama(), {{"hidden_size", "\"4096\""}}) ==
        "config.json:2: hidden_size: expected a whole number from 1 to 1000000, found \"4096\"");
  CHECK(complaint(llama(), {{"hidden_size", "-4096"}}) ==
        "config.json:2: hidden_size: expected a whole number from 1 to 1000000, found the number "
        "-4096");
  CHECK(complaint(llama(), {{"num_hidden_layers", "0"}}) ==
        "config.json:7: num_hidden_layers: expected a whole number from 1 to 4096, found the "
        "number 0");
  CHECK(complaint(llama(), {{"intermediate_size", "9e99"}}) ==
        "config.json:3: intermediate_size: expected a whole number from 1 to 10000000, found the "
        "number 9e+99");
  CHECK(complaint(llama(), {{"vocab_size", "32000.5"}}) ==
        "config.json:9: vocab_size: expected a whole number from 1 to 100000000, found the number "
        "32000.5");
  CHECK(complaint(llama(), {{"num_attention_heads", "null"}}) ==
        "config.json:6: num_attention_heads: expected a whole number from 1 to 65536, found null");
  CHECK(
      complaint(llama(), {{"vocab_size", ""}}) ==
      "config.json:1: vocab_size: expected a whole number from 1 to 100000000, found no such key");
  CHECK(complaint(llama(), {{"tie_word_embeddings", "1"}}) ==
        "config.json:9: tie_word_embeddings: expected true or false, found the number 1");
}

TEST_CASE("import: an unknown model_type is refused with the known ones") {
  CHECK(complaint(llama(), {{"model_type", "\"mamba\""}}) ==
        "config.json:5: model_type: expected one of deepseek deepseek_v2 deepseek_v3 gpt2 kimi_k2 "
        "llama mistral mixtral "
        "qwen2 qwen2_moe qwen3 qwen3_moe, found \"mamba\"");
  CHECK(complaint(llama(), {{"model_type", ""}}) ==
        "config.json:1: model_type: expected a string, found no such key");
  CHECK(import_lines(with(llama(), {{"model_type", "\"mamba\""}})).error().code ==
        ErrorCode::Unsupported);
}

TEST_CASE("import: what is not an object is refused") {
  const Json node = *parse_json("[1]", "config.json");
  CHECK(import_config(node, "config.json").error().message ==
        "config.json:1: expected an object, found an array");
}

TEST_CASE("import: heads must share the hidden size and the KV heads") {
  CHECK(complaint(llama(), {{"num_attention_heads", "40"}}) ==
        "config.json:6: num_attention_heads: expected a divisor of hidden_size, 4096, where "
        "head_dim is absent, found 40");
  CHECK(complaint(llama(), {{"num_attention_heads", "40"}, {"head_dim", "128"}}) == "accepted");
  CHECK(
      complaint(llama(), {{"num_key_value_heads", "5"}}) ==
      "config.json:8: num_key_value_heads: expected a divisor of the 32 attention heads, found 5");
  CHECK(
      complaint(llama(), {{"num_key_value_heads", "64"}}) ==
      "config.json:8: num_key_value_heads: expected a divisor of the 32 attention heads, found 64");
  CHECK(complaint(v3(), {{"num_key_value_heads", "8"}}) ==
        "config.json:13: num_key_value_heads: expected the 32 attention heads, which latent "
        "attention does not group, "
        "found 8");
  CHECK(complaint(v3(), {{"qk_rope_head_dim", "63"}}) ==
        "config.json:15: qk_rope_head_dim: expected an even number, since pairs of dimensions are "
        "rotated, found 63");
  CHECK(complaint(llama(), {{"head_dim", "127"}}) ==
        "config.json:2: head_dim: expected an even number, since pairs of dimensions are rotated, "
        "found 127");
  CHECK(complaint(llama(), {{"hidden_size", "96"}}) ==
        "config.json:6: num_attention_heads: expected heads of an even size, since pairs of "
        "dimensions are rotated, "
        "found 96 / 32");
}

TEST_CASE("import: what would change the work and cannot be said is refused, not dropped") {
  CHECK(complaint(llama(), {{"hidden_act", "\"relu\""}}) ==
        "config.json:2: hidden_act: expected \"silu\", found \"relu\"");
  CHECK(complaint(llama(), {{"attention_bias", "true"}}) ==
        "config.json:2: attention_bias: expected attention_bias and mlp_bias both true or both "
        "false, found one of each");
  CHECK(complaint(v3(), {{"attention_bias", "true"}}) ==
        "config.json:2: attention_bias: expected false for this model_type, found true");
  CHECK(complaint(v3(), {{"moe_layer_freq", "2"}}) ==
        "config.json:8: moe_layer_freq: expected 1, found 2");
  CHECK(complaint(v3(), {{"scoring_func", "\"relu\""}}) ==
        "config.json:16: scoring_func: expected \"softmax\" or \"sigmoid\", found \"relu\"");
  CHECK(complaint(v3(), {{"topk_method", "\"random\""}}) ==
        "config.json:17: topk_method: expected \"greedy\", \"group_limited_greedy\" or "
        "\"noaux_tc\", found \"random\"");
  CHECK(complaint(qwen(), {{"mlp_only_layers", "[1]"}}) ==
        "config.json:5: mlp_only_layers: expected the first layers in order, 0, 1, ..., found the "
        "number 1 in place 0");
}

TEST_CASE("import: experts must exist in the number that tokens choose, in whole groups") {
  CHECK(complaint(v3(), {{"num_experts_per_tok", "17"}}) ==
        "config.json:11: num_experts_per_tok: expected at most the 16 experts, found 17");
  CHECK(complaint(v3(), {{"num_experts_per_tok", "9"}}) ==
        "config.json:11: num_experts_per_tok: expected at most the 8 experts of 2 groups, found 9");
  CHECK(complaint(v3(), {{"n_group", "5"}}) ==
        "config.json:8: n_group: expected a divisor of the 16 experts, found 5");
  CHECK(complaint(v3(), {{"topk_group", "5"}}) ==
        "config.json:16: topk_group: expected at most the 4 groups of n_group, found 5");
  CHECK(complaint(v3(), {{"first_k_dense_replace", "32"}}) ==
        "config.json:2: first_k_dense_replace: expected a whole number from 0 to 31, found the "
        "number 32");
}

TEST_CASE(
    "import: fields of the window and of the rotation that contradict each other are refused") {
  CHECK(complaint(qwen(), {{"use_sliding_window", "true"}}) ==
        "config.json:13: use_sliding_window: expected a sliding_window beside it, found none");
  CHECK(complaint(qwen(), {{"layer_types", "[\"sliding_attention\", \"full_attention\"]"}}) ==
        "config.json:4: layer_types: expected full_attention only, since use_sliding_window is not "
        "true, found "
        "sliding_attention");
  CHECK(complaint(qwen(), {{"layer_types", "[\"full_attention\"]"}}) ==
        "config.json:4: layer_types: expected 2 entries as num_hidden_layers says, found 1");
  CHECK(complaint(qwen(), {{"use_sliding_window", "true"},
                           {"sliding_window", "64"},
                           {"max_window_layers", "1"}}) ==
        "config.json:5: max_window_layers: expected 0 or at least the 2 layers, found 1");
  CHECK(complaint(llama(), {{"rope_scaling", "{\"type\": \"yarn\", \"rope_type\": \"linear\"}"}}) ==
        "config.json:9: rope_scaling.type: expected rope_type, \"linear\", found \"yarn\"");
  CHECK(complaint(llama(), {{"rope_scaling", "{\"original_max_position_embeddings\": 8192}"}}) ==
        "config.json:9: rope_scaling.original_max_position_embeddings: expected at most "
        "max_position_embeddings, 4096, "
        "found 8192");
  CHECK(
      complaint(llama(), {{"rope_theta", "-1"}}) ==
      "config.json:9: rope_theta: expected a number from 1 to 1000000000000, found the number -1");
  CHECK(complaint(llama(), {{"rope_scaling", "\"yarn\""}}) ==
        "config.json:9: rope_scaling: expected an object, found \"yarn\"");
}

TEST_CASE(
    "import: whatever value a key has, the answer is a refusal with its place or a sound model") {
  const std::vector<std::string> values = {"null",
                                           "true",
                                           "0",
                                           "-1",
                                           "1",
                                           "3",
                                           "7",
                                           "1.5",
                                           "9e99",
                                           "-9e99",
                                           "1e400",
                                           "1000000",
                                           "\"\"",
                                           "\"x\"",
                                           "[]",
                                           "[0]",
                                           "{}",
                                           "[{}]",
                                           "2147483648",
                                           "9223372036854775807",
                                           "18446744073709551615"};
  const std::vector<std::string> more = {"head_dim",
                                         "hidden_act",
                                         "tie_word_embeddings",
                                         "rope_scaling",
                                         "rope_theta",
                                         "layer_types",
                                         "sliding_window",
                                         "use_sliding_window",
                                         "max_window_layers",
                                         "n_shared_experts",
                                         "q_lora_rank",
                                         "topk_method",
                                         "first_k_dense_replace",
                                         "scoring_func",
                                         "num_nextn_predict_layers",
                                         "moe_layer_freq",
                                         "mlp_only_layers",
                                         "decoder_sparse_step",
                                         "attention_bias",
                                         "qkv_bias"};
  int accepted = 0;
  for (const Lines& base : {llama(), v3(), qwen()}) {
    std::vector<std::string> keys = more;
    for (const auto& [key, value] : base) keys.push_back(key);
    for (const std::string& key : keys) {
      for (const std::string& value : values) {
        INFO(key << ": " << value);
        const Result<ModelSpec> model = import_lines(with(base, {{key, value}}));
        if (!model) {
          CHECK(model.error().message.starts_with("config.json:"));
          continue;
        }
        ++accepted;
        CHECK(validate(*model).has_value());
        const ParameterCount count = count_parameters(*model);
        CHECK(count.active_without_embedding > 0);
        CHECK(count.active <= count.total);
      }
    }
  }
  CHECK(accepted > 100);  // both outcomes occur
}

}  // namespace narrows
