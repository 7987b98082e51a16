// Under sequence parallelism tokens are gathered at the entrance of a region where weights are
// split, and partial sums are scattered at its exit; gradients go the opposite way
// (korthikanti2022). Without, sums are reduced on every rank at the exit, and their gradients at
// the entrance: the norm's (ops_norm.cc).
// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops.h"
#include "runtime/packing.h"

namespace narrows::ops {
namespace {

Element element_of(const Storage& s) {
  return s.form() == Form::Bf16 ? Element::Bf16 : Element::F32;
}
Buffer all_of(Storage& s) { return {s.memory(), s.count(), element_of(s)}; }
View all_of(const Storage& s) { return {s.memory(), s.count(), element_of(s)}; }

// Activations of a recipe that rounds them are numbers of bf16, and travel as such; but not once
// they have been E4M3.
Storage& to_travel(const OpSite& site, TensorId id) {
  Storage& value = site.waiting_value(id);
  const bool narrow = site.rounds() && value.form() != Form::Fp8;
  pack(value, narrow ? Form::Bf16 : Form::F32, site.rank.backend, site.rank.pool);
  return value;
}

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

// The parts of all ranks, of which this one's is `part`: rounded first where only matmuls in bf16
// will read them, which would do it anyway.
Status gather_gradient(const OpSite& site, const Storage& part, TensorId id, Communicator& group) {
  const bool narrow = site.rank.format == Multiply::Bf16 && site.only_multiplied(id);
  const Form form = narrow ? Form::Bf16 : Form::F32;
  Storage& whole = site.make_grad(id, part.rows() * group.size(), form);
  if (!narrow) return group.all_gather(all_of(part), all_of(whole));
  std::uint16_t* const own = bf16_of(whole) + group.rank() * part.count();
  site.rank.backend.run(kernels::PackRows{.wide = const_cast<float*>(part.data()),
                                          .halves = own,
                                          .rows = part.rows(),
                                          .columns = part.columns()});
  return group.all_gather(View(own, part.count(), Element::Bf16), all_of(whole));
}

}  // namespace

Status tensor_collective(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  Communicator& group = *site.rank.groups.tp;
  Storage& in = to_travel(site, op.inputs.front());
  const TensorId out = op.outputs.front();
  switch (op.collective.what) {
    case CollectiveKind::AllGather: {
      Storage& whole = site.make_value(out, in.rows() * group.size(), in.form());
      return group.all_gather(all_of(std::as_const(in)), all_of(whole));
    }
    case CollectiveKind::ReduceScatter: {
      Storage& part = site.make_value(out, in.rows() / group.size(), in.form());
      return group.reduce_scatter(all_of(in), all_of(part));
    }
    default:
      TRY(group.all_reduce(all_of(in)));
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
