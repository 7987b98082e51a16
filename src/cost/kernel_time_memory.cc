// SPDX-License-Identifier: Apache-2.0
#include "cost/kernel_time_memory.h"

#include <vector>

#include "base/result.h"

namespace narrows {
namespace {

// The class of measured kernels that stands for a kind; exact = it is that kind.
struct Class {
  const char* name;
  bool exact;
};

Class class_of(OpKind kind) {
  switch (kind) {
    case OpKind::Norm:
      return {"norm", true};
    case OpKind::Rope:
      return {"rope", true};
    case OpKind::ActivationFn:
      return {"activation", true};
    case OpKind::Elementwise:
      return {"elementwise", true};
    case OpKind::Quantise:
      return {"quantise", true};
    case OpKind::Router:
      return {"router", true};
    case OpKind::Permute:
      return {"permute", true};
    case OpKind::Embedding:
      return {"permute", false};  // gathers and scatters rows likewise
    case OpKind::Loss:
      return {"norm", false};  // reductions over rows likewise
    case OpKind::Optimizer:
      return {"stream", false};  // long streams of several arrays
    case OpKind::Matmul:
    case OpKind::Attention:
    case OpKind::Collective:
      break;
  }
  return {"", false};
}

Scatter::Place place_of(Bytes traffic) { return {log2_of(std::max(traffic / byte, 1.0)), 0, 0, 0}; }

double deviation(double a, double b) { return a < b ? b / a - 1 : a / b - 1; }

}  // namespace

MemoryTimes::MemoryTimes(const KernelTables& tables, const Chip& chip) {
  const Site site = site_of(chip);
  rates_ = {FlopRate{}, site.bandwidth, site.multiprocessors};
  for (int kind = 0; kind < kKinds; ++kind) build(tables, site, static_cast<OpKind>(kind));
}

void MemoryTimes::build(const KernelTables& tables, const Site& site, OpKind kind) {
  const Class wanted = class_of(kind);
  Model& model = models_[static_cast<std::size_t>(kind)];
  for (Relation relation : {Relation::Own, Relation::Like, Relation::Architecture,
                            Relation::LikeElsewhere, Relation::Any}) {
    if (!model.efficiencies.empty()) break;
    pool(tables, site, wanted.name, relation, model);
    // A share of bandwidth carries over better than a shape's efficiency does: other chips are
    // transfers.
    if (!model.efficiencies.empty()) {
      model.basis =
          relation == Relation::Own && wanted.exact ? Basis::Interpolated : Basis::Transferred;
    }
  }
}

void MemoryTimes::pool(const KernelTables& tables, const Site& site, const std::string& name,
                       Relation relation, Model& model) {
  std::vector<Scatter::Place> places;
  std::vector<double> values;
  for (const Measurement& row : tables.rows(KernelFamily::Memory)) {
    const MeasuredChip& chip = *tables.chip(row.chip);
    if (row.memory_class != name || narrows::relation(site, chip, false) != relation) continue;
    const ChipRates rates{FlopRate{}, chip.bandwidth, chip.multiprocessors};
    places.push_back(place_of(row.traffic));
    values.push_back(memory_floor(rates, row.traffic) / row.time);
    model.efficiencies.add(places.back(), values.back());
  }
  std::vector<double> deviations;
  for (std::size_t i = 0; i < places.size() && places.size() > 1; ++i) {
    deviations.push_back(deviation(model.efficiencies.at(places[i], i).value, values[i]));
  }
  std::sort(deviations.begin(), deviations.end());
  model.residual = deviations.empty() ? 0.1 : deviations[deviations.size() / 2];
}

Estimate MemoryTimes::time(OpKind kind, Bytes traffic) const {
  ASSERT(kind != OpKind::Matmul);
  ASSERT(kind != OpKind::Attention);
  ASSERT(kind != OpKind::Collective);
  const Model& model = models_[static_cast<std::size_t>(kind)];
  const Seconds floor = memory_floor(rates_, traffic);
  if (model.efficiencies.empty()) return {floor / 0.7, Basis::Roofline, 0.3};
  return {floor / model.efficiencies.at(place_of(traffic)).value, model.basis,
          error_of(model.basis, model.residual)};
}

}  // namespace narrows
