// Which chip is asked about, in the terms of the kernel tables: itself, the relative named by its
// profile, chips of its architecture, all others. Nearer relations are used first.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>

#include "cost/estimate.h"
#include "cost/kernel_time_floor.h"

namespace narrows {

struct Site {
  std::string name;
  std::string like;
  std::string architecture;
  Bandwidth bandwidth;
  double multiprocessors = 0;
  FlopRate bf16;
  double exponentials = 1;  // over those of its architecture's first chips
};

// LikeElsewhere: the relative named is of another architecture.
enum class Relation { Own, Library, Like, Architecture, LikeElsewhere, Any };

// "blackwell-ultra" is a blackwell.
inline std::string family_of(const std::string& architecture) {
  return architecture.substr(0, architecture.find('-'));
}

inline Site site_of(const Chip& chip) {
  const double multiprocessors = chip.multiprocessors ? chip.multiprocessors->value : 0;
  return {chip.name,
          chip.kernels_like,
          family_of(chip.architecture),
          chip.memory_bandwidth.value,
          multiprocessors,
          matmul_peak(Recipe::Bf16, chip),
          chip.exponentials ? chip.exponentials->value : 1};
}

inline Site site_of(const MeasuredChip& chip) {
  return {chip.name, "", chip.architecture, chip.bandwidth, chip.multiprocessors, chip.bf16};
}

// The nearest relation that the site has to the chip of a row.
inline Relation relation(const Site& site, const MeasuredChip& chip, bool library) {
  if (chip.name == site.name) return Relation::Own;
  const bool same = chip.architecture == site.architecture;
  if (library && same) return Relation::Library;
  if (chip.name == site.like) return same ? Relation::Like : Relation::LikeElsewhere;
  return same ? Relation::Architecture : Relation::Any;
}

// How unlike two chips are: the product of the ratios of peak and bandwidth, at least 1.
inline double unlikeness(const Site& site, const MeasuredChip& chip) {
  if (!(site.bf16 > FlopRate{}) || !(site.bandwidth > Bandwidth{})) return 1;
  const double peak = chip.bf16 / site.bf16;
  const double bandwidth = chip.bandwidth / site.bandwidth;
  return std::max(peak, 1 / peak) * std::max(bandwidth, 1 / bandwidth);
}

// What a time rests on that comes from a chip of this relation.
inline Basis basis_of(Relation relation) {
  switch (relation) {
    case Relation::Own:
      return Basis::Interpolated;
    case Relation::Library:
    case Relation::Like:
    case Relation::Architecture:
    case Relation::LikeElsewhere:
      return Basis::Transferred;
    case Relation::Any:
      return Basis::Roofline;
  }
  return Basis::Roofline;
}

// The weaker of two.
inline Basis weaker(Basis a, Basis b) { return a < b ? b : a; }

// Expected relative error from the residual of the rows used, and what carrying them over adds: 8 %
// between chips of one architecture (median between the H100's and H200's grids,
// kernel_time_residual_test.cc), 25 % across architectures.
inline double error_of(Basis basis, double residual, Relation relation = Relation::Own) {
  switch (basis) {
    case Basis::Measured:
      return 0.03;  // two stacks differ by 4 to 5 % with the same library
    case Basis::Interpolated:
      return std::max(residual, 0.03);
    case Basis::Transferred:
      return residual + (relation >= Relation::LikeElsewhere ? 0.25 : 0.05);
    case Basis::Roofline:
      return residual + 0.25;
  }
  return 1;
}

}  // namespace narrows
