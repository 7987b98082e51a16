// SPDX-License-Identifier: Apache-2.0
#include "model/import.h"

#include <catch2/catch.hpp>

#include "model/builtin.h"
#include "model/parameters.h"

namespace narrows {
namespace {

// The model in a config.json's text; the file's folder names it.
ModelSpec imported(const std::string& text, const std::string& name = "m") {
  const Result<Json> node = parse_json(text, name + "/config.json");
  INFO((node ? "" : node.error().message));
  REQUIRE(node.has_value());
  const Result<ModelSpec> model = import_config(*node, name + "/config.json");
  INFO((model ? "" : model.error().message));
  REQUIRE(model.has_value());
  return *model;
}

ModelSpec builtin(const std::string& name) {
  const Result<BuiltinModel> model = builtin_model(name);
  REQUIRE(model.has_value());
  return model->spec;
}

}  // namespace

TEST_CASE("import: deepseek_v3 gives the built-in V3") {
  CHECK(imported(R"({
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "torch_dtype": "bfloat16",
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}, "attention_bias": false,
    "num_hidden_layers": 61, "hidden_size": 7168, "intermediate_size": 18432, "vocab_size": 129280,
    "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "hidden_act": "silu", "ep_size": 1,
    "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "n_shared_experts": 1,
    "n_group": 8, "topk_group": 4, "first_k_dense_replace": 3, "moe_layer_freq": 1, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "norm_topk_prob": true, "routed_scaling_factor": 2.5,
    "num_nextn_predict_layers": 1, "max_position_embeddings": 163840, "rope_theta": 10000,
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "mscale": 1.0},
    "quantization_config": {"fmt": "e4m3", "weight_block_size": [128, 128]}, "tie_word_embeddings": false
  })",
                 "deepseek-v3") == builtin("deepseek-v3"));
}

TEST_CASE("import: kimi_k2 is a deepseek_v3 with one group; scores and bias are the family's") {
  CHECK(imported(R"({"model_type": "kimi_k2", "num_hidden_layers": 61, "hidden_size": 7168,
    "intermediate_size": 18432, "vocab_size": 163840, "num_attention_heads": 64, "num_key_value_heads": 64,
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_routed_experts": 384, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "n_shared_experts": 1,
    "first_k_dense_replace": 1, "max_position_embeddings": 131072})",
                 "kimi-k2") == builtin("kimi-k2"));
}

TEST_CASE("import: deepseek_v2 without a query latent gives the built-in V2-Lite") {
  CHECK(imported(R"({"model_type": "deepseek_v2", "num_hidden_layers": 27, "hidden_size": 2048,
    "intermediate_size": 10944, "vocab_size": 102400, "num_attention_heads": 16, "num_key_value_heads": 16,
    "q_lora_rank": null, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_routed_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size": 1408, "n_shared_experts": 2,
    "n_group": 1, "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax", "first_k_dense_replace": 1,
    "max_position_embeddings": 163840})",
                 "deepseek-v2-lite") == builtin("deepseek-v2-lite"));
}

TEST_CASE("import: greedy selection does not see groups, group-limited selection does") {
  const auto v2 = [](const std::string& method) {
    return imported(R"({"model_type": "deepseek_v2", "num_hidden_layers": 60, "hidden_size": 5120,
    "intermediate_size": 12288, "vocab_size": 102400, "num_attention_heads": 128, "q_lora_rank": 1536,
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 160,
    "num_experts_per_tok": 6, "moe_intermediate_size": 1536, "n_shared_experts": 2, "n_group": 8, "topk_group": 3,
    "first_k_dense_replace": 1, "max_position_embeddings": 163840, "topk_method": ")" +
                        method + "\"}",
                    "deepseek-v2");
  };
  CHECK(v2("group_limited_greedy") == builtin("deepseek-v2"));
  CHECK(v2("greedy").moe->groups == 1);
}

TEST_CASE("import: deepseek gives DeepSeekMoE-16B") {
  CHECK(imported(R"({"model_type": "deepseek", "num_hidden_layers": 28, "hidden_size": 2048,
    "intermediate_size": 10944, "vocab_size": 102400, "num_attention_heads": 16, "num_key_value_heads": 16,
    "n_routed_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size": 1408, "n_shared_experts": 2,
    "first_k_dense_replace": 1, "moe_layer_freq": 1, "scoring_func": "softmax", "max_position_embeddings": 4096})",
                 "deepseek-moe-16b") == builtin("deepseek-moe-16b"));
}

TEST_CASE("import: llama with grouped queries and scaled rotation") {
  CHECK(
      imported(
          R"({"model_type": "llama", "attention_bias": false, "mlp_bias": false, "hidden_act": "silu",
    "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta": 500000.0,
    "rope_scaling": {"factor": 8.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}})",
          "llama-3.3-70b") == builtin("llama-3.3-70b"));
}

TEST_CASE("import: llama without num_key_value_heads has as many as heads") {
  CHECK(
      imported(
          R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 30,
    "num_attention_heads": 32, "vocab_size": 102400, "max_position_embeddings": 4096})",
          "deepseek-llm-7b") == builtin("deepseek-llm-7b"));
}

TEST_CASE("import: mistral's window reaches every layer, mixtral's null none") {
  const ModelSpec mistral =
      imported(R"({"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000,
    "max_position_embeddings": 32768, "sliding_window": 4096})");
  CHECK(mistral.attention.window == 4096);
  CHECK(has_window(mistral, 0));
  CHECK(has_window(mistral, 31));
  CHECK(count_parameters(mistral).total == 7241732096);  // Mistral 7B, as published
  CHECK(imported(R"({"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000,
    "num_local_experts": 8, "num_experts_per_tok": 2, "max_position_embeddings": 32768, "sliding_window": null})",
                 "mixtral-8x7b") == builtin("mixtral-8x7b"));
}

TEST_CASE("import: qwen2 has biases on q, k, v and ignores a window that is not used") {
  CHECK(
      imported(
          R"({"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768,
    "max_window_layers": 24, "sliding_window": 32768, "use_sliding_window": false, "tie_word_embeddings": true})",
          "qwen2.5-0.5b") == builtin("qwen2.5-0.5b"));
}

TEST_CASE("import: qwen3 normalises q and k by head, dense and with experts") {
  CHECK(
      imported(
          R"({"model_type": "qwen3", "head_dim": 128, "hidden_size": 1024, "intermediate_size": 3072,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 151936,
    "max_position_embeddings": 40960, "tie_word_embeddings": true, "attention_bias": false, "rope_scaling": null})",
          "qwen3-0.6b") == builtin("qwen3-0.6b"));
  CHECK(
      imported(
          R"({"model_type": "qwen3_moe", "head_dim": 128, "hidden_size": 2048, "intermediate_size": 6144,
    "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 151936,
    "max_position_embeddings": 40960, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": true})",
          "qwen3-30b-a3b") == builtin("qwen3-30b-a3b"));
}

TEST_CASE("import: qwen2_moe has a gated shared expert") {
  CHECK(imported(R"({"model_type": "qwen2_moe", "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 151936,
    "max_position_embeddings": 131072, "num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 2560,
    "shared_expert_intermediate_size": 20480, "decoder_sparse_step": 1})",
                 "qwen2-57b-a14b") == builtin("qwen2-57b-a14b"));
}

TEST_CASE("import: Qwen's step and list say which layers are dense") {
  const auto qwen = [](const std::string& more) {
    const ModelSpec model =
        imported(R"({"model_type": "qwen3_moe", "head_dim": 64, "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 4, "vocab_size": 1000,
    "max_position_embeddings": 4096, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, )" +
                 more + "}");
    std::string picture;
    for (int layer = 0; layer < model.layers; ++layer)
      picture += is_moe_layer(model, layer) ? 'E' : 'd';
    return picture;
  };
  CHECK(qwen(R"("decoder_sparse_step": 1)") == "EEEEEE");
  CHECK(qwen(R"("decoder_sparse_step": 2)") == "dEdEdE");
  CHECK(qwen(R"("decoder_sparse_step": 3)") == "ddEddE");
  CHECK(qwen(R"("mlp_only_layers": [0, 1])") == "ddEEEE");
}

TEST_CASE("import: layer types say which layers have the window") {
  const auto windows = [](const std::string& more) {
    const ModelSpec model =
        imported(R"({"model_type": "qwen2", "hidden_size": 256, "intermediate_size": 512,
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
    "max_position_embeddings": 4096, "use_sliding_window": true, "sliding_window": 512, )" +
                 more + "}");
    std::string picture;
    for (int layer = 0; layer < model.layers; ++layer)
      picture += has_window(model, layer) ? 'w' : '.';
    return picture;
  };
  const std::string w = "\"sliding_attention\"";
  const std::string f = "\"full_attention\"";
  CHECK(windows("\"layer_types\": [" + w + "," + w + "," + w + "," + w + "]") == "wwww");
  CHECK(windows("\"layer_types\": [" + w + "," + f + "," + w + "," + f + "]") == "w.w.");
  CHECK(windows("\"layer_types\": [" + w + "," + w + "," + w + "," + f + "]") == "www.");
  CHECK(windows("\"layer_types\": [" + f + "," + f + "," + f + "," + f + "]") == "....");
  CHECK(windows("\"max_window_layers\": 0") == "wwww");
  CHECK(windows("\"max_window_layers\": 4") == "....");
}

TEST_CASE("import: gpt2 has learned positions, biases everywhere and one table") {
  const ModelSpec gpt = imported(
      R"({"model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "n_inner": null,
    "n_ctx": 1024, "n_positions": 1024, "vocab_size": 50257, "activation_function": "gelu_new"})");
  CHECK(gpt.ffn == 3072);
  CHECK(gpt.attention.head_dim == 64);
  CHECK(count_parameters(gpt).total == 124439808);  // GPT-2 small, as published
}

TEST_CASE("import: a model is named by its folder, or by its file") {
  const Json node = *parse_json(
      R"({"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 16,
    "vocab_size": 10})",
      "x");
  CHECK(import_config(node, "models/tiny/config.json")->name == "tiny");
  CHECK(import_config(node, "config.json")->name == "config");
  CHECK(import_config(node, "models/mine.json")->name == "mine");
}

}  // namespace narrows
