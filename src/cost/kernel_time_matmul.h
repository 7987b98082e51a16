// Matmul times (kernel_time.h gives the method). A model of one recipe, direction and grouping is a
// grid of efficiencies, a correction of the grid for dense forward matmuls (own rows of a chip that
// borrows its grid, or a library's), and a correction for the direction and grouping; each may be
// absent.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <vector>

#include "cost/interpolate.h"
#include "cost/kernel_time_site.h"

namespace narrows {

class MatmulTimes {
 public:
  MatmulTimes(const KernelTables& tables, const Chip& chip, const std::string& generation);
  Estimate time(Recipe recipe, Direction direction, const MatmulShape& shape) const;

 private:
  static constexpr int kNone = -1;

  struct GridModel {
    std::string chip;
    Recipe recipe = Recipe::Bf16;
    Grid grid;
    double residual = 0;
  };
  struct Correction {
    Scatter ratios;
    Relation relation = Relation::Any;
    double residual = 0;
    double least_share = 1;  // the least arithmetic share of its rows
  };
  // What a dense forward matmul of a site is made from.
  struct Forward {
    std::string site;
    Recipe recipe = Recipe::Bf16;
    int grid = kNone;
    Relation relation = Relation::Any;  // of the grid's chip
    int correction = kNone;
  };
  struct Exact {
    MatmulShape shape;
    Seconds time;
  };
  struct Model {
    ChipRates rates;
    bool emulated = false;  // the chip cannot multiply in this format
    int forward = kNone;
    int correction = kNone;
    bool related =
        true;  // the direction is as the forward op, or its correction is of this chip's kind
    std::vector<Exact> exact;  // sorted by shape
  };
  // Rows that a correction is sought among.
  struct Wanted {
    Recipe recipe;
    Direction direction;
    bool grouped;
    const std::string& generation;
  };

  void build(const KernelTables& tables, const Chip& chip, Recipe recipe, Direction direction,
             bool grouped);
  int grid_for(const KernelTables& tables, const Site& site, Recipe recipe, Relation& relation);
  int make_grid(const KernelTables& tables, const MeasuredChip& chip, Recipe recipe);
  int forward_of(const KernelTables& tables, const Site& site, Recipe recipe);
  int direction_correction(const KernelTables& tables, const Site& site, Recipe recipe,
                           Direction direction, bool grouped);
  int pool(const KernelTables& tables, const Site& site, const Wanted& wanted, Relation relation,
           bool on_grid, int grid);
  void measure_grid(GridModel& model, const std::vector<const Measurement*>& rows) const;
  Interpolated efficiency(const Forward& forward, double share, const MatmulWork& work,
                          bool outer) const;
  Interpolated ratio(int correction, double share, const MatmulWork& work, bool outer) const;

  std::string generation_;
  std::vector<GridModel> grids_;
  std::vector<Correction> corrections_;
  std::vector<Forward> forwards_;
  std::array<Model, 8 * 3 * 2> models_;
};

}  // namespace narrows
