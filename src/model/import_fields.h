// Pieces of reading a Hugging Face configuration that several families share; import.cc puts them
// together. Private to the module. Every refusal begins with "file:line: key".
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "model/spec.h"

namespace narrows::import_fields {

// A size from 1 to `most`; `size_or` falls back where the key is absent or null.
Result<int> size(JsonObject& config, std::string_view key, std::int64_t most);
Result<int> size_or(JsonObject& config, std::string_view key, std::int64_t most, int fallback);

// Refuse, as unsupported, what would change the work: another word, true, or a number other than
// one.
Status expect_word(JsonObject& config, std::string_view key, std::string_view word);
Status expect_false(JsonObject& config, std::string_view key);
Status expect_one(JsonObject& config, std::string_view key);

// head_dim, or hidden / heads where it is absent.
Result<int> head_size(JsonObject& config, int hidden, int heads);
// num_experts_per_tok, at most `experts`.
Result<int> top_k(JsonObject& config, int experts);
Result<RouterScore> router_score(JsonObject& config, RouterScore fallback);
// topk_method: "greedy" takes the best experts, "group_limited_greedy" and "noaux_tc" those of the
// best groups.
Result<std::string> selection_method(JsonObject& config, std::string_view fallback);
// n_group and topk_group.
Status add_groups(JsonObject& config, MoeSpec& moe);
// The keys of multi-head latent attention.
Status add_mla(JsonObject& config, ModelSpec& model);
// mlp_only_layers as a number of leading layers; another list is unsupported.
Result<int> leading_dense_layers(JsonObject& config, int layers);
// Qwen's sliding window: use_sliding_window, sliding_window, max_window_layers, layer_types.
Status add_window(JsonObject& config, ModelSpec& model);
// rope_scaling: its way, "" = none, and by how much. It costs no work, but nonsense in it is a sign
// of a broken file.
Status read_rope_scaling(JsonObject& config, int max_positions, Numerics& numerics);
// rms_norm_eps, rope_theta and rope_scaling; nothing where a key is left to its family's default.
Status add_numerics(JsonObject& config, ModelSpec& model);
// norm_topk_prob and routed_scaling_factor.
Status add_routed_weights(JsonObject& config, bool normalised_by_default, ModelSpec& model);

}  // namespace narrows::import_fields
