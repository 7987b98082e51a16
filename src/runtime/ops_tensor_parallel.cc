// Under sequence parallelism tokens are gathered at the entrance of a region where weights are
// split, and partial sums are scattered at its exit; gradients go the opposite way
// (korthikanti2022). Without, sums are reduced on every rank at the exit, and their gradients at
// the entrance: the norm's (ops_norm.cc).
// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops.h"

namespace narrows::ops {
namespace {

Buffer all_of(Storage& s) { return {s.data(), s.count(), Element::F32}; }
View all_of(const Storage& s) { return {s.data(), s.count(), Element::F32}; }

// The whole of `from` reduced over the group, this rank's part added to the gradient of `id`.
Status scatter_into(const OpSite& site, Storage& from, TensorId id, Communicator& group) {
  const std::int64_t rows = from.rows() / group.size();
  const OpSite::Target to = site.grad_target(id, rows);
  if (to.fresh) return group.reduce_scatter(all_of(from), all_of(to.storage));
  Storage part = site.rank.pool.matrix(rows, from.columns());
  TRY(group.reduce_scatter(all_of(from), all_of(part)));
  site.rank.backend.run(
      kernels::Add{part.data(), to.storage.data(), to.storage.data(), part.count()});
  return {};
}

// A sum of numbers of bf16 is not one itself.
void round_sum(const OpSite& site, Storage& sum) {
  if (site.rounds()) site.rank.backend.round_to_bf16(sum.data(), sum.count());
}

}  // namespace

Status tensor_collective(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  Communicator& group = *site.rank.groups.tp;
  Storage& in = site.value(op.inputs.front());
  const TensorId out = op.outputs.front();
  switch (op.collective.what) {
    case CollectiveKind::AllGather: {
      Storage& whole = site.make_value(out, in.rows() * group.size());
      return group.all_gather(all_of(std::as_const(in)), all_of(whole));
    }
    case CollectiveKind::ReduceScatter: {
      Storage& part = site.make_value(out, in.rows() / group.size());
      TRY(group.reduce_scatter(all_of(in), all_of(part)));
      round_sum(site, part);
      return {};
    }
    default: {
      TRY(group.all_reduce(all_of(in)));
      round_sum(site, in);
      site.value(out) = std::move(in);
      return {};
    }
  }
}

Status tensor_collective_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  Communicator& group = *site.rank.groups.tp;
  Storage& dout = site.grad(op.outputs.front());
  const TensorId in = op.inputs.front();
  switch (op.collective.what) {
    case CollectiveKind::AllGather:
      return scatter_into(site, dout, in, group);
    case CollectiveKind::ReduceScatter: {
      const OpSite::Target whole = site.grad_target(in, dout.rows() * group.size());
      ASSERT(whole.fresh);
      return group.all_gather(all_of(std::as_const(dout)), all_of(whole.storage));
    }
    default:
      return {};  // every rank's part has the gradient of the sum (an alias)
  }
}

}  // namespace narrows::ops
