// Models that are small enough to be trained or timed within a test.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/spec.h"

namespace narrows::testing {

// Three MLA layers, the first dense, four experts of which two: the softmax router's.
inline ModelSpec small_mla() {
  ModelSpec m;
  m.name = "small-mla";
  m.layers = 3;
  m.hidden = 32;
  m.ffn = 48;
  m.vocab = 64;
  m.attention = {.kind = AttentionKind::Mla,
                 .heads = 4,
                 .kv_heads = 4,
                 .q_lora = 24,
                 .kv_lora = 16,
                 .qk_nope = 8,
                 .qk_rope = 4,
                 .v_dim = 8};
  m.moe = MoeSpec{.experts = 4, .top_k = 2, .expert_ffn = 16, .shared_ffn = 16, .dense_layers = 1};
  return m;
}

inline ModelSpec small_gqa() {
  ModelSpec m;
  m.name = "small-gqa";
  m.layers = 3;
  m.hidden = 32;
  m.ffn = 48;
  m.vocab = 64;
  m.attention = {.kind = AttentionKind::Gqa, .heads = 4, .kv_heads = 2, .head_dim = 8};
  return m;
}

}  // namespace narrows::testing
