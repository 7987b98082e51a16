// Keys and values pass from rank to rank, cp - 1 times; while the next ones arrive, a rank attends
// to those it holds. Backward the gradients of what a rank holds follow one step behind, each rank
// adding its part, and arrive where they belong after cp steps.
// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <utility>

#include "runtime/context_rows.h"

namespace narrows {
namespace {

using namespace context_rows;

constexpr int kValues = 0;  // tags
constexpr int kGrads = 1;

Buffer all_of(Storage& s) { return {s.data(), s.count(), Element::F32}; }
View view_of(const Storage& s) { return {s.data(), s.count(), Element::F32}; }

// One hop: `held` goes on to the next rank while `coming` arrives.
class Hop {
 public:
  Hop(Communicator& group, const Storage& held, Storage& coming, int tag)
      : sent_(group.start_send(view_of(held), (group.rank() + 1) % group.size(), tag)),
        arrived_(group.start_receive(all_of(coming),
                                     (group.rank() + group.size() - 1) % group.size(), tag)) {}
  Status wait() {
    TRY(arrived_.wait());
    return sent_.wait();
  }

 private:
  Request sent_, arrived_;
};

KeysAndValues shape_of(const kernels::Attention& own) {
  return {own.kv_heads, own.qk_dim, own.v_dim, own.k, own.v};
}

// Attention over the keys and values of rank `source`, which `held` has.
kernels::Attention over(const kernels::Attention& own, const Storage& held,
                        const std::vector<std::int32_t>& positions) {
  kernels::Attention part = own;
  part.k = {held.data(), held.columns(), own.qk_dim};
  part.v = {held.data() + own.kv_heads * own.qk_dim, held.columns(), own.v_dim};
  part.keys = std::ssize(positions);
  part.key_positions = positions.data();
  return part;
}

// Merges what a part of the keys gives into `own`.
void attend_and_merge(RankContext& rank, const kernels::Attention& own, kernels::Attention part) {
  const std::int64_t rows = own.batch * own.queries;
  Storage out = rank.pool.matrix(rows, own.heads * own.v_dim);
  Storage log_sum_exp = rank.pool.matrix(rows, own.heads);
  part.out = {out.data(), out.columns(), own.v_dim};
  part.log_sum_exp = log_sum_exp.data();
  rank.backend.run(part);
  rank.backend.run(kernels::AttentionMerge{.out = own.out,
                                           .log_sum_exp = own.log_sum_exp,
                                           .other = {out.data(), out.columns(), own.v_dim},
                                           .other_log_sum_exp = log_sum_exp.data(),
                                           .rows = rows,
                                           .heads = own.heads,
                                           .v_dim = own.v_dim,
                                           .to_bf16 = own.narrow});
}

std::vector<std::int32_t> positions_after(const RankContext& rank, int steps) {
  const int cp = rank.strategy().cp;
  const int source = (rank.at.cp + cp - steps) % cp;
  return context_positions(rank.plan.training.sequence, cp, source);
}

// Gradients of the keys and values in `held`, packed; those of the queries are added to.
Storage part_grad(RankContext& rank, const kernels::AttentionGrad& own, const Storage& held,
                  const std::vector<std::int32_t>& positions, bool is_first) {
  const kernels::Attention& f = own.forward;
  Storage grads = rank.pool.matrix(held.rows(), held.columns());
  Storage dq = rank.pool.matrix(f.batch * f.queries, f.heads * f.qk_dim);
  kernels::AttentionGrad part = own;
  part.forward = over(f, held, positions);
  part.dk = {grads.data(), grads.columns(), f.qk_dim};
  part.dv = {grads.data() + f.kv_heads * f.qk_dim, grads.columns(), f.v_dim};
  if (!is_first) part.dq = {dq.data(), dq.columns(), f.qk_dim};
  rank.backend.run(part);
  if (is_first) return grads;
  for (std::int64_t r = 0; r < dq.rows(); ++r) {
    for (std::int64_t h = 0; h < f.heads; ++h) {
      float* to = own.dq.data + r * own.dq.row_stride + h * own.dq.head_stride;
      const float* from = dq.data() + r * dq.columns() + h * f.qk_dim;
      for (std::int64_t c = 0; c < f.qk_dim; ++c) to[c] += from[c];
    }
  }
  return grads;
}

}  // namespace

Status ring_attention(RankContext& rank, const kernels::Attention& own) {
  Storage held = packed_keys(rank, shape_of(own), own.batch * own.queries);
  Storage coming = rank.pool.matrix(held.rows(), held.columns());
  for (int step = 0; step < rank.strategy().cp; ++step) {
    const bool last = step + 1 == rank.strategy().cp;
    std::optional<Hop> hop;
    if (!last) hop.emplace(*rank.groups.cp, held, coming, kValues);
    const std::vector<std::int32_t> positions = positions_after(rank, step);
    const kernels::Attention part = over(own, held, positions);
    if (step == 0) {
      rank.backend.run(part);
    } else {
      attend_and_merge(rank, own, part);
    }
    if (hop) TRY(hop->wait());
    std::swap(held, coming);
  }
  return {};
}

Status ring_attention_grad(RankContext& rank, const kernels::AttentionGrad& own) {
  const kernels::Attention& f = own.forward;
  Communicator& group = *rank.groups.cp;
  Storage held = packed_keys(rank, shape_of(f), f.batch * f.queries);
  Storage coming = rank.pool.matrix(held.rows(), held.columns());
  Storage sum = rank.pool.matrix(held.rows(), held.columns());
  for (int step = 0; step < rank.strategy().cp; ++step) {
    const bool last = step + 1 == rank.strategy().cp;
    std::optional<Hop> hop;
    if (!last) hop.emplace(group, held, coming, kValues);
    Storage grads = part_grad(rank, own, held, positions_after(rank, step), step == 0);
    if (step > 0) {
      rank.backend.run(kernels::Add{sum.data(), grads.data(), grads.data(), grads.count()});
    }
    if (hop) TRY(hop->wait());
    TRY(Hop(group, grads, sum, kGrads).wait());
    std::swap(held, coming);
  }
  unpack_keys(sum, shape_of(f), {own.dk, own.dv});
  return {};
}

}  // namespace narrows
