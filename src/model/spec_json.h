// A model shape as JSON: what plan files and the built-in models hold. Every field of spec.h has
// its key; those that say nothing for the kind of attention are absent. Reading is strict: an
// unknown key, a wrong type, a size out of range or two fields that contradict each other are
// refused with their place.
//
//   {"name": "deepseek-v3", "layers": 61, "hidden": 7168, "ffn": 18432, "vocab": 129280, ...,
//    "attention": {"kind": "mla", "heads": 128, "q_lora": 1536, ...}, "moe": {"experts": 256, ...}
//    or null}
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "model/spec.h"
#include "model/validate.h"

namespace narrows {

// All fields, in the order of spec.h.
Json to_json(const ModelSpec& model);

// The model that `object` describes. Optional keys, with their defaults: tied_embeddings false,
// activation "swiglu", norm "rms", linear_bias false, learned_positions 0, max_positions 0,
// mtp_layers 0, lora_rank 0, packed_samples 0, ffn 0, moe null; of attention: kv_heads = heads,
// q_lora 0, qkv_bias false, qk_norm "none", window 0, window_every 1; of moe: all but experts,
// top_k, expert_ffn.
Result<ModelSpec> model_from_json(JsonObject& object);

}  // namespace narrows
