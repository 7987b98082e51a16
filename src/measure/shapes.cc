// SPDX-License-Identifier: Apache-2.0
#include "measure/shapes.h"

#include <algorithm>
#include <set>

namespace narrows {
namespace {

constexpr std::int64_t kMostTokens = 1 << 15;  // of a micro-batch that is timed

std::vector<int> divisors(int n) {
  std::vector<int> found;
  for (int d = 1; d <= n; ++d) {
    if (n % d == 0) found.push_back(d);
  }
  return found;
}

// The cases, each once.
class Collector {
 public:
  // `all`: also passes that cannot be run by the runtime's own backend.
  explicit Collector(bool all = false) : all_(all) {}

  void add(OpCase c) {
    if (c.name.empty() || (!all_ && !c.run) || !known_.insert(key_of(c.what)).second) return;
    cases_.push_back(std::move(c));
  }
  void add(const GraphSite& site, const std::vector<Op>& ops) {
    for (const Op& op : ops) {
      const bool is_move = op.kind != OpKind::Matmul && op.kind != OpKind::Attention;
      if (is_move && op.traffic <= Bytes()) continue;
      add(op_case(site, op));
    }
  }
  std::vector<OpCase> take() { return std::move(cases_); }

 private:
  bool all_;
  std::set<std::string> known_;
  std::vector<OpCase> cases_;
};

bool divides_heads(const ModelSpec& model, int tp) {
  const AttentionSpec& a = model.attention;
  const bool kv = a.kind == AttentionKind::Mla || a.kv_heads % tp == 0;
  return a.heads % tp == 0 && kv;
}

// Tokens that a rank receives for each one it sends, if experts were drawn evenly.
double reach(const MoeSpec& moe, int ep) {
  double missed = 1;  // that none of a token's experts lies on a given rank
  const double here = static_cast<double>(moe.experts) / ep;
  for (int k = 0; k < moe.top_k; ++k) missed *= std::max(0.0, 1 - here / (moe.experts - k));
  return ep * (1 - missed);
}

// An even router, and one whose fullest rank gets half as much again.
std::vector<RoutedLoad> loads(const ModelSpec& model, int ep) {
  std::vector<RoutedLoad> loads;
  for (const double over : ep > 1 ? std::vector<double>{1, 1.5} : std::vector<double>{1}) {
    loads.push_back({exactly(over * reach(*model.moe, ep)), exactly(over * model.moe->top_k)});
  }
  return loads;
}

void add_block(Collector& to, const ModelSpec& model, const BlockKey& key, const RoutedLoad& load,
               bool makes_bf16) {
  Graph graph = build_block(key, model, load);
  differentiate(graph, Recompute::None, key.fusions);
  const GraphSite site{graph, model, key.sharding, key.recipe, makes_bf16};
  to.add(site, graph.forward);
  to.add(site, graph.input_grad);
  to.add(site, graph.weight_grad);
}

std::vector<BlockKind> kinds_of(const ModelSpec& model) {
  std::vector<BlockKind> kinds = {BlockKind::Attention, BlockKind::Embedding, BlockKind::Head};
  const std::vector<ItemKind> items = items_of(model);
  if (std::count(items.begin(), items.end(), ItemKind::DenseLayer) > 0)
    kinds.push_back(BlockKind::DenseFfn);
  if (model.moe) kinds.push_back(BlockKind::Moe);
  return kinds;
}

void add_rates(Collector& to, const std::vector<Recipe>& recipes) {
  const MatmulShape square{exactly(1024), 1024, 1024, 1};
  for (const Recipe recipe : recipes) to.add(matmul_case(recipe, square));
  // What rounding in software costs is a rate too.
  to.add(matmul_case(Recipe::Fp8Block, square));
  for (const double size : {1.0, 4.0, 16.0}) to.add(copy_case(size * MiB));
}

void add_optimizer(Collector& to, std::int64_t most = 1 << 22) {
  for (std::int64_t parameters = 1 << 12; parameters <= most; parameters *= 4)
    to.add(optimizer_case(parameters));
}

}  // namespace

std::vector<Sharding> shardings_of(const ModelSpec& model, const ShapeSpace& space) {
  std::vector<Sharding> found;
  for (const int tp : divisors(space.ranks)) {
    if (!divides_heads(model, tp)) continue;
    for (const int cp : divisors(space.ranks / tp)) {
      if (cp > 1 && space.sequence % (2 * cp) != 0) continue;
      for (int batch = 1; batch <= space.most_micro_batch; batch *= 2) {
        if (batch > space.global_batch || batch * space.sequence > kMostTokens) break;
        Sharding s{.tp = tp, .cp = cp, .micro_batch = batch, .sequence = space.sequence};
        found.push_back(s);
        if (tp == 1) continue;
        s.sequence_parallel = true;
        found.push_back(s);
      }
    }
  }
  return found;
}

std::vector<OpCase> cases_of(const ModelSpec& model, const ShapeSpace& space) {
  Collector cases(space.on_gpu);
  add_rates(cases, space.recipes);
  for (const Sharding& sharding : shardings_of(model, space)) {
    for (const BlockKind kind : kinds_of(model)) {
      for (const Recipe recipe : space.recipes) {
        Fusions fusions = space.fusions;
        BlockKey key{kind, sharding, recipe, fusions, model.attention.window > 0};
        if (kind != BlockKind::Moe) {
          add_block(cases, model, key, {}, space.makes_bf16);
          continue;
        }
        for (const int ep : divisors(space.ranks)) {
          if (model.moe->experts % ep != 0) continue;
          for (const int etp : divisors(space.ranks / ep)) {
            key.sharding.ep = ep;
            key.sharding.etp = etp;
            for (const RoutedLoad& load : loads(model, ep))
              add_block(cases, model, key, load, space.makes_bf16);
          }
        }
      }
    }
  }
  add_optimizer(cases, space.on_gpu ? 1 << 28 : 1 << 22);
  for (std::int64_t floats = 1 << 14; floats <= 1 << 22; floats *= 4) {
    cases.add(packing_case(floats, Direction::Forward));
    cases.add(packing_case(floats, Direction::InputGrad));
  }
  return cases.take();
}

std::vector<OpCase> rate_cases(const std::vector<Recipe>& recipes) {
  Collector cases;
  add_rates(cases, recipes);
  return cases.take();
}

std::vector<OpCase> general_cases(const std::vector<Recipe>& recipes) {
  Collector cases;
  add_rates(cases, recipes);
  for (const Recipe recipe : recipes) {
    for (const std::int64_t n : {256, 1024, 4096}) {
      for (const std::int64_t k : {256, 1024, 4096}) {
        for (const double m : {64.0, 256.0, 1024.0})
          cases.add(matmul_case(recipe, {exactly(m), n, k, 1}));
      }
    }
  }
  add_optimizer(cases);
  return cases.take();
}

}  // namespace narrows
