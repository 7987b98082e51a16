// Tokens of own runs with all heads become all tokens with a part of the heads, by one all-to-all,
// and back by another.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/context_rows.h"

namespace narrows {
namespace {

using namespace context_rows;

Status exchange(RankContext& rank, const Storage& from, Storage& to) {
  return rank.groups.cp->all_to_all(View(from.data(), from.count(), Element::F32),
                                    Buffer(to.data(), to.count(), Element::F32));
}

// The share of the heads of rank `part`, of queries and of keys and values.
struct Share {
  HeadRange q, k, v;
  std::int64_t floats() const { return q.floats() + k.floats() + v.floats(); }
};
Share share_of(const kernels::Attention& own, int part) {
  return {{part * own.heads, own.heads, own.qk_dim},
          {part * own.kv_heads, own.kv_heads, own.qk_dim},
          {part * own.kv_heads, own.kv_heads, own.v_dim}};
}

// q, k and v of this rank's heads for all tokens, side by side in the order of positions.
Result<Storage> spread(RankContext& rank, const kernels::Attention& own) {
  const int cp = rank.strategy().cp;
  const std::int64_t rows = own.batch * own.queries / cp;
  const std::int64_t columns = share_of(own, 0).floats();
  Storage sent = rank.pool.matrix(rows * cp, columns);
  for (int part = 0; part < cp; ++part) {
    const Share share = share_of(own, part);
    for (std::int64_t r = 0; r < rows; ++r) {
      float* to = sent.data() + (part * rows + r) * columns;
      pack(own.q, r, share.q, to);
      pack(own.k, r, share.k, to + share.q.floats());
      pack(own.v, r, share.v, to + share.q.floats() + share.k.floats());
    }
  }
  Storage received = rank.pool.matrix(rows * cp, columns);
  TRY(exchange(rank, sent, received));
  return picked(rank, received, inverse(places(rank, own.batch)));
}

// The inverse, of gradients.
Status gather_grads(RankContext& rank, const kernels::AttentionGrad& own, const Storage& spread) {
  const kernels::Attention& f = own.forward;
  const int cp = rank.strategy().cp;
  const std::int64_t rows = spread.rows() / cp;
  const Storage sent = picked(rank, spread, places(rank, f.batch));
  Storage received = rank.pool.matrix(spread.rows(), spread.columns());
  TRY(exchange(rank, sent, received));
  for (int part = 0; part < cp; ++part) {
    const Share share = share_of(f, part);
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* from = received.data() + (part * rows + r) * received.columns();
      unpack(from, r, share.q, own.dq);
      unpack(from + share.q.floats(), r, share.k, own.dk);
      unpack(from + share.q.floats() + share.k.floats(), r, share.v, own.dv);
    }
  }
  return {};
}

template <typename Float>
struct Views {
  kernels::Heads<Float> q, k, v;
};
template <typename Float>
Views<Float> views_of(const kernels::Attention& own, Float* data) {
  const Share share = share_of(own, 0);
  const std::int64_t row = share.floats();
  return {{data, row, own.qk_dim},
          {data + share.q.floats(), row, own.qk_dim},
          {data + share.q.floats() + share.k.floats(), row, own.v_dim}};
}

// Over spread operands, whose positions are all there.
kernels::Attention whole(const kernels::Attention& own, const Storage& operands,
                         const std::vector<std::int32_t>& positions) {
  kernels::Attention op = own;
  const Views<const float> views = views_of<const float>(own, operands.data());
  op.q = views.q;
  op.k = views.k;
  op.v = views.v;
  op.positions = positions.data();
  return op;
}

}  // namespace

Status spread_attention(RankContext& rank, const kernels::Attention& own) {
  const Storage operands = TRY(spread(rank, own));
  const std::vector<std::int32_t> positions = context_positions(rank.plan.training.sequence, 1, 0);
  rank.backend.run(whole(own, operands, positions));
  return {};
}

Status spread_attention_grad(RankContext& rank, const kernels::AttentionGrad& own) {
  const Storage operands = TRY(spread(rank, own.forward));
  const std::vector<std::int32_t> positions = context_positions(rank.plan.training.sequence, 1, 0);
  Storage grads = rank.pool.matrix(operands.rows(), operands.columns());
  const Views<float> views = views_of<float>(own.forward, grads.data());
  kernels::AttentionGrad op = own;
  op.forward = whole(own.forward, operands, positions);
  op.dq = views.q;
  op.dk = views.k;
  op.dv = views.v;
  rank.backend.run(op);
  return gather_grads(rank, own, grads);
}

Status heads_to_tokens(RankContext& rank, std::int64_t batch, const Storage& heads,
                       Storage& tokens) {
  const int cp = rank.strategy().cp;
  const Storage sent = picked(rank, heads, places(rank, batch));
  Storage received = rank.pool.matrix(heads.rows(), heads.columns());
  TRY(exchange(rank, sent, received));
  for (int part = 0; part < cp; ++part) {
    for (std::int64_t r = 0; r < tokens.rows(); ++r) {
      std::copy_n(received.data() + (part * tokens.rows() + r) * heads.columns(), heads.columns(),
                  tokens.data() + r * tokens.columns() + part * heads.columns());
    }
  }
  return {};
}

Status tokens_to_heads(RankContext& rank, std::int64_t batch, const Storage& tokens,
                       Storage& heads) {
  const int cp = rank.strategy().cp;
  Storage sent = rank.pool.matrix(heads.rows(), heads.columns());
  for (int part = 0; part < cp; ++part) {
    for (std::int64_t r = 0; r < tokens.rows(); ++r) {
      std::copy_n(tokens.data() + r * tokens.columns() + part * heads.columns(), heads.columns(),
                  sent.data() + (part * tokens.rows() + r) * heads.columns());
    }
  }
  Storage received = rank.pool.matrix(heads.rows(), heads.columns());
  TRY(exchange(rank, sent, received));
  const Storage ordered = picked(rank, received, inverse(places(rank, batch)));
  std::copy_n(ordered.data(), ordered.count(), heads.data());
  return {};
}

}  // namespace narrows
