// One table of names: what Hugging Face's DeepSeek and Llama families call a tensor, and what the
// portable random initialisation (portable.h) calls it.
//
//   model.layers.3.self_attn.q_a_proj.weight       l3.wqd
//   model.layers.3.mlp.experts.5.gate_proj.weight  l3.e5.wg
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace narrows {

// The portable name of a tensor; "" for one that the table does not know. `dense`: an FFN's
// matrices are those of a dense layer.
std::string portable_name(const std::string& hugging_face_name);

}  // namespace narrows
