// Times of kernels that only move data: launch and traffic over bandwidth, times what kernels of
// that class achieve of it, by how much they move.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>

#include "cost/interpolate.h"
#include "cost/kernel_time_site.h"

namespace narrows {

class MemoryTimes {
 public:
  MemoryTimes(const KernelTables& tables, const Chip& chip);
  // Matmul, Attention and Collective are not for here (ASSERT).
  Estimate time(OpKind kind, Bytes traffic) const;

 private:
  static constexpr int kKinds = 13;
  struct Model {
    Scatter efficiencies;
    Basis basis = Basis::Roofline;
    double residual = 0;
  };
  void build(const KernelTables& tables, const Site& site, OpKind kind);
  void pool(const KernelTables& tables, const Site& site, const std::string& name,
            Relation relation, Model& model);

  ChipRates rates_;
  std::array<Model, kKinds> models_;
};

}  // namespace narrows
