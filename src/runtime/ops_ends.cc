// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/ops.h"
#include "runtime/packing.h"

namespace narrows::ops {
namespace {

std::int64_t vocabulary_part(const OpSite& site) {
  const int tp = site.rank.strategy().tp;
  return (site.rank.model().vocab + tp - 1) / tp;
}

// Whether the head predicts the token after the next.
bool is_second(const OpSite& site) { return site.block.layer >= 0; }

kernels::LogitPart part_of(const OpSite& site, int index) {
  Storage& logits = site.value(op_at(site, index).inputs.front());
  const std::int64_t part = vocabulary_part(site);
  const std::int64_t first = part * site.rank.at.tp;
  return {.logits = logits.data(),
          .rows = logits.rows(),
          .columns = std::clamp<std::int64_t>(site.rank.model().vocab - first, 0, part),
          .stride = logits.columns(),
          .first = first,
          .targets = (is_second(site) ? site.batch.second_targets : site.batch.targets).data()};
}

// The parts of all tensor-parallel ranks joined.
Status join_parts(std::vector<kernels::PartialSoftmax>& rows, Communicator* tp) {
  if (tp == nullptr) return {};
  constexpr std::int64_t kFloats = sizeof(kernels::PartialSoftmax) / sizeof(float);
  std::vector<kernels::PartialSoftmax> all(rows.size() * static_cast<std::size_t>(tp->size()));
  TRY(tp->all_gather(View(rows.data(), std::ssize(rows) * kFloats, Element::F32),
                     Buffer(all.data(), std::ssize(all) * kFloats, Element::F32)));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    rows[r] = all[r];
    for (std::size_t i = r + rows.size(); i < all.size(); i += rows.size()) {
      rows[r] = join(rows[r], all[i]);
    }
  }
  return {};
}

}  // namespace

void embedding(const OpSite& site, int index) {
  const std::int64_t part = vocabulary_part(site);
  std::vector<std::int32_t>& rows = site.run.rows;
  rows.clear();
  const bool next = site.block.kind == BlockKind::MtpEntry;
  for (const std::int32_t token : next ? site.batch.targets : site.batch.tokens) {
    const std::int64_t row = token - part * site.rank.at.tp;
    rows.push_back(row >= 0 && row < part ? static_cast<std::int32_t>(row) : -1);
  }
  const BoundWeight* const table = site.weight_named("positions");
  const TensorId id = op_at(site, index).outputs.front();
  Storage& out =
      site.make_value(id, std::ssize(rows), table == nullptr ? site.made_form(id) : Form::F32);
  site.rank.backend.run(kernels::PickRows{.from = site.weight(index).value,
                                          .index = rows.data(),
                                          .to = floats_of(out),
                                          .rows = out.rows(),
                                          .columns = out.columns(),
                                          .to_bf16 = site.rounds(),
                                          .to_narrow = bf16_of(out)});
  if (table == nullptr || site.rank.at.tp > 0) return;
  Storage positions = site.rank.pool.matrix(out.rows(), out.columns());
  site.rank.backend.run(kernels::PickRows{.from = table->value,
                                          .index = site.batch.positions.data(),
                                          .to = positions.data(),
                                          .rows = out.rows(),
                                          .columns = out.columns()});
  site.rank.backend.run(
      kernels::Add{out.data(), positions.data(), out.data(), out.count(), site.rounds()});
}

void embedding_weight_grad(const OpSite& site, int index) {
  const Storage& dy = site.grad(op_at(site, index).outputs.front());
  site.rank.backend.run(kernels::ScatterRows{.from = dy.data(),
                                             .index = site.run.rows.data(),
                                             .to = site.weight(index).gradient,
                                             .rows = dy.rows(),
                                             .columns = dy.columns()});
  const BoundWeight* const table = site.weight_named("positions");
  if (table == nullptr) return;
  site.rank.backend.run(kernels::ScatterRows{.from = dy.data(),
                                             .index = site.batch.positions.data(),
                                             .to = table->gradient,
                                             .rows = dy.rows(),
                                             .columns = dy.columns()});
}

// The logits become their gradient, so that nothing else of the vocabulary's width is kept.
Status loss(const OpSite& site, int index) {
  const kernels::LogitPart part = part_of(site, index);
  std::vector<kernels::PartialSoftmax> rows;
  site.rank.backend.run(part, rows);
  TRY(join_parts(rows, site.rank.groups.tp.get()));
  const double weight = is_second(site) ? site.rank.loss_weights.mtp : 1.0;
  double total = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (part.targets[r] >= 0) total += cross_entropy(rows[r]);
  }
  (is_second(site) ? site.batch.mtp_loss : site.batch.loss) = total * site.batch.loss_share;
  site.rank.backend.run(part, rows, static_cast<float>(weight * site.batch.loss_share));
  for (std::int64_t r = 0; r < part.rows; ++r) {
    if (part.targets[r] < 0) std::fill_n(part.logits + r * part.stride, part.columns, 0.0f);
  }
  return {};
}

void loss_input_grad(const OpSite& site, int index) {
  const TensorId logits = op_at(site, index).inputs.front();
  site.grad(logits) = std::move(site.value(logits));
}

}  // namespace narrows::ops
