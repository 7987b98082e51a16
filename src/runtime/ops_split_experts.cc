// Experts split over ranks (etp): the ranks of a group hold slices of the same experts. Each gives
// its copies to the others, works on all of them with its slice, and gets back the sum for its own.
// SPDX-License-Identifier: Apache-2.0
#include <numeric>
#include <utility>

#include "runtime/ops.h"

namespace narrows::ops {
namespace {

std::vector<std::int64_t> elements(const std::vector<std::int64_t>& rows, std::int64_t columns) {
  std::vector<std::int64_t> counts = rows;
  for (std::int64_t& n : counts) n *= columns;
  return counts;
}

Storage picked(const OpSite& site, const Storage& from, const std::vector<std::int32_t>& index) {
  Storage to = site.rank.pool.matrix(std::ssize(index), from.columns());
  site.rank.backend.run(
      kernels::PickRows{from.data(), index.data(), to.data(), to.rows(), to.columns()});
  return to;
}

// All ranks' copies, sorted by expert.
Result<Storage> gather(const OpSite& site, const Storage& mine) {
  const Exchange& x = site.run.exchange;
  Storage all = site.rank.pool.matrix(std::ssize(x.gathered_order), mine.columns());
  TRY(site.rank.groups.etp->all_gather(View(mine.data(), mine.count(), Element::F32),
                                       Buffer(all.data(), all.count(), Element::F32),
                                       elements(x.gathered, mine.columns())));
  return picked(site, all, x.gathered_order);
}

// The sum over ranks of this rank's copies.
Status scatter(const OpSite& site, const Storage& sorted, Storage& mine) {
  const Exchange& x = site.run.exchange;
  Storage all = picked(site, sorted, x.gathered_inverse);
  return site.rank.groups.etp->reduce_scatter(Buffer(all.data(), all.count(), Element::F32),
                                              Buffer(mine.data(), mine.count(), Element::F32),
                                              elements(x.gathered, mine.columns()));
}

// Every rank's experts, weights and counts; from here on the exchange speaks of all copies.
Status plan_gather(Exchange& x, Communicator& group) {
  const std::vector<std::int32_t> count = {static_cast<std::int32_t>(x.copies())};
  std::vector<std::int32_t> counts(static_cast<std::size_t>(group.size()));
  TRY(group.all_gather(count, counts));
  x.gathered.assign(counts.begin(), counts.end());
  const std::int64_t total = std::accumulate(x.gathered.begin(), x.gathered.end(), std::int64_t{0});
  std::vector<std::int32_t> mine, expert(static_cast<std::size_t>(total));
  for (std::size_t e = 0; e + 1 < x.first_of_expert.size(); ++e) {
    mine.insert(mine.end(),
                static_cast<std::size_t>(x.first_of_expert[e + 1] - x.first_of_expert[e]),
                static_cast<std::int32_t>(e));
  }
  TRY(group.all_gather(mine, expert, x.gathered));
  std::vector<float> weight(expert.size());
  TRY(group.all_gather(x.copy_weight, weight, x.gathered));
  const Lists by_expert = positions_of(expert, static_cast<int>(x.first_of_expert.size()) - 1);
  x.first_of_expert.assign(by_expert.begin.begin(), by_expert.begin.end());
  x.gathered_order = by_expert.items;
  x.gathered_inverse.resize(expert.size());
  x.copy_weight.clear();
  for (std::size_t i = 0; i < expert.size(); ++i) {
    x.gathered_inverse[static_cast<std::size_t>(x.gathered_order[i])] =
        static_cast<std::int32_t>(i);
    x.copy_weight.push_back(weight[static_cast<std::size_t>(x.gathered_order[i])]);
  }
  return {};
}

}  // namespace

Status gather_copies(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  if (site.run.exchange.gathered.empty()) {
    TRY(plan_gather(site.run.exchange, *site.rank.groups.etp));
  }
  site.value(op.outputs.front()) = TRY(gather(site, site.value(op.inputs.front())));
  return {};
}

// The weights' gradients come along: every rank has seen a slice of each expert's activation.
Status gather_copies_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  Exchange& x = site.run.exchange;
  Storage& sorted = site.grad(op.outputs.front());
  const OpSite::Target mine = site.grad_target(op.inputs.front(), x.copies());
  ASSERT(mine.fresh);
  TRY(scatter(site, sorted, mine.storage));
  Storage dweight = site.rank.pool.matrix(std::ssize(x.copy_dweight), 1);
  std::copy(x.copy_dweight.begin(), x.copy_dweight.end(), dweight.data());
  Storage summed = site.rank.pool.matrix(x.copies(), 1);
  TRY(scatter(site, dweight, summed));
  x.copy_dweight.assign(summed.data(), summed.data() + summed.count());
  return {};
}

Status scatter_copies(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  return scatter(site, site.value(op.inputs.front()),
                 site.make_value(op.outputs.front(), site.run.exchange.copies()));
}

Status scatter_copies_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  site.grad(op.inputs.front()) = TRY(gather(site, site.grad(op.outputs.front())));
  return {};
}

}  // namespace narrows::ops
