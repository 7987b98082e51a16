// How many parameters a model has, by item and by class. A class is what shares one way of sharding
// and one reduction group: dense, norm, expert, embedding, head. The formulas are those of the
// published totals (DeepSeek-V3 671.03 B, of which 36.63 B work on a token; deepseek2024,
// deepseekv2). Numbers are doubles: exact for every model under 2^53 parameters.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/spec.h"

namespace narrows {

// The weights of one item's matmuls: what its FLOPs follow from. No biases, no norms, no lookup
// tables.
struct MatmulWeights {
  double attention = 0;  // projections of q, k, v and of the output, latent ones included
  double ffn = 0;        // the FFN of a dense layer
  double shared = 0;     // all shared experts together
  double expert = 0;     // one routed expert
  double router = 0;     // expert scores, and the shared expert's gate
  double projection =
      0;            // an MTP block's joint projection of hidden state and next embedding (2h to h)
  double head = 0;  // hidden to vocabulary, also where the table is tied to the embedding

  friend bool operator==(const MatmulWeights&, const MatmulWeights&) = default;
};
MatmulWeights matmul_weights(const ModelSpec& model, ItemKind kind);

// The parameters that one item owns, biases included. Summed over items_of(model) each parameter is
// counted once.
struct ItemParameters {
  // Attention, dense FFN, shared experts, router, an MTP block's projection, and their biases.
  double dense = 0;
  // The part of `dense` that tensor parallelism does not divide: latent down-projections of MLA,
  // router and gate, biases of row-parallel matmuls.
  double replicated = 0;
  double norm = 0;
  double expert = 0;     // all routed experts of the layer
  double embedding = 0;  // token table and learned positions
  double head = 0;       // 0 where tied: the table is the embedding's
  // Tables that the item uses and another owns: a tied head's; an MTP block's embedding and head.
  // A rank that lacks the owner holds a copy of them.
  double borrowed = 0;

  friend bool operator==(const ItemParameters&, const ItemParameters&) = default;
};
ItemParameters item_parameters(const ModelSpec& model, ItemKind kind);
// All classes together, without what is borrowed.
double sum(const ItemParameters& parameters);

// The figures that models are named by. MTP blocks are in `mtp` only, as DeepSeek counts.
struct ParameterCount {
  double total = 0;
  double active = 0;  // top_k experts a layer instead of all
  // Active less one vocabulary table (a tied model's only one).
  double active_without_embedding = 0;
  double mtp = 0;  // what MTP blocks add of their own

  friend bool operator==(const ParameterCount&, const ParameterCount&) = default;
};
ParameterCount count_parameters(const ModelSpec& model);

// Of one layer's low-rank adapters (ModelSpec::lora_rank) on one of `tp` ranks; 0 without.
double adapter_parameters(const ModelSpec& model, int tp);

}  // namespace narrows
