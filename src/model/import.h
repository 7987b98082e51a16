// Reads a Hugging Face `config.json` into a ModelSpec. Such files hold much that does not change
// the work (token ids, initialisers, dropout): keys that are not needed are ignored. What is needed
// is checked for type and range, and for keys that contradict each other; what would change the
// work and cannot be expressed is refused, never dropped. Families by `model_type`: deepseek,
// deepseek_v2, deepseek_v3, kimi_k2, llama, mistral, mixtral, qwen2, qwen3, qwen2_moe, qwen3_moe,
// gpt2. Where a key is absent, the family's documented default holds.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/spec.h"

namespace narrows {

// `file` is the file's path: messages begin with it, and the model is named by it (for a
// "config.json" by its folder). InvalidInput with the key's place; Unsupported for a family or a
// feature that the model of the work does not know.
Result<ModelSpec> import_config(const Json& node, const std::string& file);

// The values of model_type that import_config reads, in alphabetical order.
std::vector<std::string> importable_model_types();

}  // namespace narrows
