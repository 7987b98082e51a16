// How files name and lay out tensors of families that differ from DeepSeek's and Llama's, whose
// names weights.h speaks:
//
//   Mixtral  experts are block_sparse_moe.experts.N.w1 (gate), w3 (up), w2 (down)
//   GPT-2    matrices are transposed, queries, keys and values are one tensor, and layers are h.N
//            (as its published files have it, without a "transformer." in front)
//
// A family is known by its shape: experts without shared ones beside plain grouped queries are
// Mixtral's; learned positions with LayerNorm, GELU and biases are GPT-2's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/weights.h"

namespace narrows {

// Fills `stored` of every piece whose place in files is not the one its name says.
void name_as_stored(const ModelSpec& model, std::vector<Weight>& weights);

}  // namespace narrows
