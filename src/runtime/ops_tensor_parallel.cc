// Under sequence parallelism tokens are gathered at the entrance of a region where weights are
// split, and partial sums are scattered at its exit; gradients go the opposite way
// (korthikanti2022). Without, sums are reduced on every rank at the exit, and their gradients at
// the entrance: the norm's (ops_norm.cc).
// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops.h"
#include "runtime/packing.h"

namespace narrows::ops {
namespace {

// The whole of `from` reduced over the group, this rank's part added to the gradient of `id`.
Status scatter_into(const OpSite& site, Storage& from, TensorId id, Communicator& group) {
  const std::int64_t rows = from.rows() / group.size();
  const OpSite::Target to = site.grad_target(id, rows);
  if (to.fresh) return group.reduce_scatter(buffer_of(from), buffer_of(to.storage));
  Storage part = site.rank.pool.matrix(rows, from.columns());
  TRY(group.reduce_scatter(buffer_of(from), buffer_of(part)));
  site.rank.backend.run(
      kernels::Add{part.data(), to.storage.data(), to.storage.data(), part.count()});
  return {};
}

// The gradient's parts of all ranks, of which this one's is `part`.
Status gather_gradient(const OpSite& site, const Storage& part, TensorId id, Communicator& group) {
  const Form form = site.travelling_form_of_grad(id);
  Storage& whole = site.make_grad(id, part.rows() * group.size(), form);
  if (form == Form::F32) return group.all_gather(view_of(part), buffer_of(whole));
  std::uint16_t* const own = bf16_of(whole) + group.rank() * part.count();
  site.rank.backend.run(kernels::PackRows{.wide = const_cast<float*>(part.data()),
                                          .halves = own,
                                          .rows = part.rows(),
                                          .columns = part.columns()});
  return group.all_gather(View(own, part.count(), Element::Bf16), buffer_of(whole));
}

}  // namespace

Status tensor_collective(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  Communicator& group = *site.rank.groups.tp;
  Storage& in = site.travelling(op.inputs.front());
  const TensorId out = op.outputs.front();
  switch (op.collective.what) {
    case CollectiveKind::AllGather: {
      Storage& whole = site.make_value(out, in.rows() * group.size(), in.form());
      return group.all_gather(view_of(in), buffer_of(whole));
    }
    case CollectiveKind::ReduceScatter: {
      Storage& part = site.make_value(out, in.rows() / group.size(), in.form());
      return group.reduce_scatter(buffer_of(in), buffer_of(part));
    }
    default:
      TRY(group.all_reduce(buffer_of(in)));
      site.waiting_value(out) = std::move(in);
      return {};
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
    case CollectiveKind::ReduceScatter:
      return gather_gradient(site, dout, in, group);
    default:
      return {};  // every rank's part has the gradient of the sum (an alias)
  }
}

}  // namespace narrows::ops
