// The op graph against an independent count of the kernels of two models.
// SPDX-License-Identifier: Apache-2.0
#include "model/graph_kernels.h"

#include "model/graph_fixture.h"

namespace narrows {
namespace {

// The small model of the counted kernels.
ModelSpec small_model() {
  ModelSpec model;
  model.name = "small";
  model.layers = 4;
  model.hidden = 512;
  model.ffn = 1408;
  model.vocab = 8192;
  model.attention = {.kind = AttentionKind::Mla,
                     .heads = 8,
                     .kv_heads = 8,
                     .q_lora = 192,
                     .kv_lora = 128,
                     .qk_nope = 32,
                     .qk_rope = 16,
                     .v_dim = 32};
  model.moe =
      MoeSpec{.experts = 16, .top_k = 4, .expert_ffn = 256, .shared_ffn = 256, .dense_layers = 1};
  return model;
}

struct Case {
  ModelSpec model;
  int ep;
  std::int64_t tokens;
  double received;
  const std::vector<CountedKernel>& kernels;
};

// All blocks of the model in one graph, so that an op is found by its name.
Graph whole_model(const Case& c) {
  Graph all;
  for (const BlockKind kind : {BlockKind::Attention, BlockKind::DenseFfn, BlockKind::Moe,
                               BlockKind::Embedding, BlockKind::Head}) {
    const BlockKey key{
        kind, {.ep = c.ep, .sequence = c.tokens}, Recipe::Fp8Block, narrow_fusions()};
    const Graph graph =
        differentiated(key, c.model, Recompute::V3, balanced(c.model.moe->top_k, c.received));
    all.forward.insert(all.forward.end(), graph.forward.begin(), graph.forward.end());
    all.recompute.insert(all.recompute.end(), graph.recompute.begin(), graph.recompute.end());
    all.input_grad.insert(all.input_grad.end(), graph.input_grad.begin(), graph.input_grad.end());
    all.weight_grad.insert(all.weight_grad.end(), graph.weight_grad.begin(),
                           graph.weight_grad.end());
  }
  return all;
}

const std::vector<Op>& pass_of(const Graph& graph, char pass) {
  switch (pass) {
    case 'I':
      return graph.input_grad;
    case 'W':
      return graph.weight_grad;
    case 'R':
      return graph.recompute;
    default:
      return graph.forward;
  }
}

void check_kernels(const Case& c) {
  const Graph graph = whole_model(c);
  std::size_t multiplied = 0;
  for (const CountedKernel& kernel : c.kernels) {
    CAPTURE(kernel.op, kernel.pass);
    const Op& op = op_named(pass_of(graph, kernel.pass), kernel.op);
    CHECK(executed_flops(op) / flop == Approx(kernel.flops).epsilon(1e-12));
    ++multiplied;
    if (op.kind != OpKind::Matmul) continue;
    const double m = op.matmul.m.expected, n = static_cast<double>(op.matmul.n),
                 k = static_cast<double>(op.matmul.k);
    if (kernel.pass == 'W') {
      CHECK(n == kernel.m);
      CHECK(k == kernel.n);
      CHECK(m / op.matmul.groups == kernel.k);
    } else {
      CHECK(m == kernel.m);
      CHECK((kernel.pass == 'I' ? k : n) == kernel.n);
      CHECK((kernel.pass == 'I' ? n : k) == kernel.k);
    }
  }
  // … and the graph multiplies nothing else.
  std::size_t counted = 0;
  for (const char pass : {'F', 'I', 'W', 'R'}) {
    for (const Op& op : pass_of(graph, pass))
      counted += op.kind == OpKind::Matmul || op.kind == OpKind::Attention;
  }
  CHECK(counted == multiplied);
}

// One kernel that moves data: what the table counts at least and what the graph counts.
struct Moved {
  const char* op;
  char pass;
  double megabytes;
};

// The table's bytes are a minimal model of each kernel of the trace; the graph's are within this
// factor of it.
constexpr double kBand = 1.30;

}  // namespace

TEST_CASE("op graph: every matmul of DeepSeek-V3 on EP64 has its counted shape and FLOPs") {
  check_kernels({model_named("deepseek-v3"), 64, 4096, 7.39, v3_kernels()});
}

TEST_CASE("op graph: every matmul of a small latent-attention model has its counted shape") {
  check_kernels({small_model(), 4, 1024, 2.7, small_kernels()});
}

TEST_CASE("op graph: memory-bound kernels of DeepSeek-V3 move what the table counts") {
  const Graph graph = whole_model({model_named("deepseek-v3"), 64, 4096, 7.39, v3_kernels()});
  for (const Moved& row : std::vector<Moved>{{"input norm", 'F', 234.881024},
                                             {"input norm", 'I', 234.881024},
                                             {"quantise input norm", 'F', 88.080384},
                                             {"q latent norm", 'F', 25.165824},
                                             {"q latent norm", 'I', 50.331648},
                                             {"kv latent norm", 'F', 8.388608},
                                             {"kv latent norm", 'I', 16.777216},
                                             {"rope and k assembly", 'F', 469.762048},
                                             {"rope and k assembly", 'I', 671.08864},
                                             {"post-attention norm", 'F', 234.881024},
                                             {"post-attention norm", 'I', 234.881024},
                                             {"select experts", 'F', 16.777216},
                                             {"select experts", 'I', 25.165824},
                                             {"permute", 'F', 451.852369},
                                             {"unpermute", 'I', 451.852369},
                                             {"unpermute", 'F', 903.704739},
                                             {"permute", 'I', 903.704739},
                                             {"expert activation", 'F', 335.54432},
                                             {"quantise expert gate_up to keep", 'F', 402.653184},
                                             {"expert activation", 'I', 805.306368},
                                             {"shared activation", 'F', 41.94304},
                                             {"shared activation", 'I', 83.88608},
                                             {"embedding", 'F', 117.440512},
                                             {"embedding", 'W', 176.160768}}) {
    const double found = op_named(pass_of(graph, row.pass), row.op).traffic / MB;
    CAPTURE(row.op, row.pass, row.megabytes, found);
    CHECK(found < row.megabytes * kBand);
    CHECK(found > row.megabytes / kBand);
  }
}

}  // namespace narrows
