// The router, and the two ways to keep its experts' loads even: a bias in the choice (balance.h),
// and a loss of each sequence (deepseek2024 §2.1.2, the same formula as deepseekv2's of experts),
//
//   alpha sum over experts f_e P_e,  f_e = E / (K T) (slots that chose e),
//                                    P_e = 1 / T (sum over tokens of e's share of the scores),
//
// over the T tokens of the sequence, of which ranks may hold parts: the slots are summed over them.
// f is a count and has no gradient.
// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include "runtime/ops.h"

namespace narrows::ops {
namespace {

kernels::Router router_of(const OpSite& site, const Op& op) {
  const MoeSpec& moe = *site.rank.model().moe;
  const Storage& logits = site.value(op.inputs.front());
  const Balance::Layer* balance = site.rank.balance.of(site.block.layer);
  return {.logits = logits.data(),
          .bias = balance == nullptr ? nullptr : balance->bias.data(),
          .chosen = site.value(op.outputs.front()).data(),
          .rows = logits.rows(),
          .experts = moe.experts,
          .top_k = moe.top_k,
          .groups = moe.groups,
          .top_groups = moe.top_groups,
          .sigmoid = moe.score == RouterScore::Sigmoid,
          .normalise = site.rank.numerics.normalise_top_k,
          .scale = static_cast<float>(site.rank.numerics.routed_scale)};
}

void count_loads(const kernels::Router& router, std::vector<double>& load) {
  for (std::int64_t r = 0; r < router.rows; ++r) {
    const float* chosen = router.chosen + r * 3 * router.top_k;
    for (std::int64_t k = 0; k < router.top_k; ++k) load[static_cast<std::size_t>(chosen[k])] += 1;
  }
}

// Of each row that this rank routes, which sequence of the micro-batch it belongs to.
std::vector<std::int32_t> sequence_of_rows(const OpSite& site, std::int64_t rows) {
  const Strategy& s = site.rank.strategy();
  const std::int64_t run = site.rank.plan.training.sequence / s.cp;
  const std::int64_t first = s.sequence_parallel ? rows * site.rank.at.tp : 0;
  std::vector<std::int32_t> found;
  for (std::int64_t r = 0; r < rows; ++r) {
    found.push_back(static_cast<std::int32_t>((first + r) / run));
  }
  return found;
}

// The balancing loss of the micro-batch: how it pulls at each expert's share of the scores.
struct Pull {
  std::vector<float> by_expert;  // (sequences, experts)
  std::vector<std::int32_t> of_row;
  std::vector<float> pulled;
};

// Slots by sequence and expert, those of the sequence's other ranks too.
Status sum_slots(const OpSite& site, const kernels::Router& router, Pull& pull) {
  for (std::int64_t r = 0; r < router.rows; ++r) {
    const float* chosen = router.chosen + r * 3 * router.top_k;
    const std::int64_t first = pull.of_row[static_cast<std::size_t>(r)] * router.experts;
    for (std::int64_t k = 0; k < router.top_k; ++k) {
      pull.by_expert[static_cast<std::size_t>(first + static_cast<std::int64_t>(chosen[k]))] += 1;
    }
  }
  const Groups& groups = site.rank.groups;
  if (groups.tp != nullptr && site.rank.strategy().sequence_parallel) {
    TRY(groups.tp->all_reduce(pull.by_expert));
  }
  if (groups.cp != nullptr) TRY(groups.cp->all_reduce(pull.by_expert));
  return {};
}

Result<Pull> pull_of(const OpSite& site, const kernels::Router& router) {
  const Strategy& s = site.rank.strategy();
  Pull pull;
  pull.of_row = sequence_of_rows(site, router.rows);
  pull.by_expert.resize(static_cast<std::size_t>(s.micro_batch * router.experts));
  pull.pulled.resize(static_cast<std::size_t>(router.rows));
  TRY(sum_slots(site, router, pull));
  const double tokens = static_cast<double>(site.rank.plan.training.sequence);
  const double even = static_cast<double>(router.experts) / static_cast<double>(router.top_k);
  const double sequences = static_cast<double>(site.rank.plan.training.global_batch);
  const double factor = site.rank.loss_weights.aux * even / (tokens * tokens * sequences) *
                        static_cast<double>(share_of_gradient(site));
  for (float& slots : pull.by_expert)
    slots = static_cast<float>(factor * static_cast<double>(slots));
  return pull;
}

}  // namespace

float share_of_gradient(const OpSite& site) {
  const Strategy& s = site.rank.strategy();
  return s.sequence_parallel ? 1.0f : 1.0f / static_cast<float>(s.tp);
}

void router(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  site.make_value(op.outputs.front(), site.value(op.inputs.front()).rows());
  site.rank.backend.run(router_of(site, op));
}

// Loads are counted here, as forward may run twice.
Status router_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Storage& dweights = site.grad(op.outputs.front());
  const OpSite::Target dlogits = site.grad_target(op.inputs.front(), dweights.rows());
  kernels::RouterGrad grad{.forward = router_of(site, op),
                           .dweights = dweights.data(),
                           .dlogits = dlogits.storage.data()};
  if (Balance::Layer* balance = site.rank.balance.of(site.block.layer)) {
    count_loads(grad.forward, balance->load);
  }
  Pull pull;
  if (site.rank.loss_weights.aux > 0) {
    pull = TRY(pull_of(site, grad.forward));
    grad.pull = pull.by_expert.data();
    grad.pull_row = pull.of_row.data();
    grad.pulled = pull.pulled.data();
  }
  site.rank.backend.run(grad);
  site.batch.aux_loss += std::accumulate(pull.pulled.begin(), pull.pulled.end(), 0.0);
  return {};
}

}  // namespace narrows::ops
