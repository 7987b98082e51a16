// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <tuple>

#include "cost/kernel_time_matmul.h"
#include "cost/kernel_time_matmul_places.h"

namespace narrows {
namespace {

constexpr std::array<Recipe, 8> kRecipes{Recipe::F32,      Recipe::Fp16,      Recipe::Bf16,
                                         Recipe::Fp8Block, Recipe::Fp8Tensor, Recipe::Fp8Row,
                                         Recipe::Mxfp8,    Recipe::Nvfp4};
constexpr std::array<Direction, 3> kDirections{Direction::Forward, Direction::InputGrad,
                                               Direction::WeightGrad};

// Whose rows stand for a recipe: the tensor cores do the same work, only scales differ.
// Block-scaled fp8 on Blackwell is measured with hardware scales, as mxfp8 has them.
Recipe measured_as(Recipe recipe) {
  switch (recipe) {
    case Recipe::F32:
    case Recipe::Fp16:
      return Recipe::Bf16;
    case Recipe::Fp8Tensor:
      return Recipe::Fp8Row;
    case Recipe::Mxfp8:
      return Recipe::Fp8Block;
    default:
      return recipe;
  }
}

// The time of the matmul alone. The quantisation inside a row reads 2 bytes an element of the input
// and writes one operand; never less than half is left.
Seconds matmul_alone(const Measurement& row, const MeasuredChip& chip) {
  if (row.quantise <= 0) return row.time;
  const MatmulWork work = matmul_work(row.recipe, Direction::Forward, row.matmul);
  const Bytes traffic = work.m * work.k * (2 * byte + work.operand);
  return max(row.time - traffic / (row.quantise * chip.bandwidth), 0.5 * row.time);
}

// Rates of the chip of a row, with the multiprocessors that the row had.
ChipRates rates_of(const MeasuredChip& chip, Recipe recipe, int multiprocessors) {
  const double all = chip.multiprocessors;
  const double used = multiprocessors > 0 ? multiprocessors : all;
  return {used / all * matmul_peak(recipe, chip), chip.bandwidth, used};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double deviation(double a, double b) { return a < b ? b / a - 1 : a / b - 1; }

}  // namespace

MatmulTimes::MatmulTimes(const KernelTables& tables, const Chip& chip,
                         const std::string& generation)
    : generation_(generation) {
  for (Recipe recipe : kRecipes) {
    for (Direction direction : kDirections) {
      build(tables, chip, recipe, direction, false);
      build(tables, chip, recipe, direction, true);
    }
  }
}

void MatmulTimes::build(const KernelTables& tables, const Chip& chip, Recipe recipe,
                        Direction direction, bool grouped) {
  Model& model = models_[slot(recipe, direction, grouped)];
  const Site site = site_of(chip);
  const Recipe rows_recipe = measured_as(recipe);
  FlopRate peak = matmul_peak(recipe, chip);
  for (Recipe instead : {Recipe::Bf16, Recipe::Fp16, Recipe::F32}) {
    if (peak > FlopRate{}) break;
    peak = matmul_peak(instead, chip);
    model.emulated = true;
  }
  if (!(peak > FlopRate{})) peak = 1 * GFLOP / sec;
  model.rates = {peak, site.bandwidth, site.multiprocessors};
  model.emulated = model.emulated || recipe == Recipe::F32;
  model.forward = forward_of(tables, site, rows_recipe);
  if (direction != Direction::Forward || grouped) {
    model.correction = direction_correction(tables, site, rows_recipe, direction, grouped);
    model.related =
        direction == Direction::InputGrad ||
        (model.correction != kNone && corrections_[model.correction].relation <= Relation::Library);
  }
  if (model.emulated) return;
  for (const Measurement& row : tables.rows(KernelFamily::Matmul, site.name)) {
    const bool same = row.recipe == rows_recipe && row.direction == direction &&
                      row.multiprocessors == 0 && (row.matmul.groups > 1) == grouped &&
                      row.generation == generation_;
    // Where the chip's or its library's own rows correct the grid, the grid is another program.
    const bool corrected = forwards_[static_cast<std::size_t>(model.forward)].correction != kNone;
    if (same && !(row.grid && corrected))
      model.exact.push_back({row.matmul, matmul_alone(row, *tables.chip(row.chip))});
  }
  std::stable_sort(model.exact.begin(), model.exact.end(),
                   [](const Exact& a, const Exact& b) { return key(a.shape) < key(b.shape); });
}

int MatmulTimes::make_grid(const KernelTables& tables, const MeasuredChip& chip, Recipe recipe) {
  for (std::size_t i = 0; i < grids_.size(); ++i) {
    if (grids_[i].chip == chip.name && grids_[i].recipe == recipe) return static_cast<int>(i);
  }
  std::vector<const Measurement*> rows;
  for (const Measurement& row : tables.rows(KernelFamily::Matmul, chip.name)) {
    if (row.grid && row.recipe == recipe) rows.push_back(&row);
  }
  if (rows.empty()) return kNone;
  GridModel model{chip.name, recipe, {}, 0};
  const ChipRates rates = rates_of(chip, recipe, 0);
  for (const Measurement* row : rows) {
    const MatmulWork work = matmul_work(recipe, Direction::Forward, row->matmul);
    model.grid.add(log2_of(work.m), log2_of(work.n), log2_of(work.k),
                   matmul_floor(rates, work).time / matmul_alone(*row, chip));
  }
  model.grid.finish();
  measure_grid(model, rows);
  grids_.push_back(std::move(model));
  return static_cast<int>(grids_.size()) - 1;
}

// The median deviation of the grid from its rows of at least 256 tokens when their (n, k) is left
// out.
void MatmulTimes::measure_grid(GridModel& model,
                               const std::vector<const Measurement*>& rows) const {
  std::vector<double> deviations;
  for (const Measurement* row : rows) {
    const MatmulWork work = matmul_work(model.recipe, Direction::Forward, row->matmul);
    if (work.m < 256) continue;
    const double y = log2_of(work.n);
    const double z = log2_of(work.k);
    const double x = log2_of(work.m);
    const std::size_t curve = model.grid.curve_of(y, z);
    deviations.push_back(
        deviation(model.grid.at(x, y, z, curve).value, model.grid.at(x, y, z).value));
  }

  model.residual = median(std::move(deviations));
}

int MatmulTimes::grid_for(const KernelTables& tables, const Site& site, Recipe recipe,
                          Relation& relation) {
  std::vector<std::tuple<Relation, double, std::size_t>> chips;  // best first, then as in the table
  for (std::size_t i = 0; i < tables.chips().size(); ++i) {
    const MeasuredChip& chip = tables.chips()[i];
    chips.emplace_back(narrows::relation(site, chip, false), unlikeness(site, chip), i);
  }
  std::sort(chips.begin(), chips.end());
  for (const auto& [near, unlike, index] : chips) {
    const int grid = make_grid(tables, tables.chips()[index], recipe);
    relation = near;
    if (grid != kNone) return grid;
  }
  return kNone;
}

int MatmulTimes::forward_of(const KernelTables& tables, const Site& site, Recipe recipe) {
  for (std::size_t i = 0; i < forwards_.size(); ++i) {
    if (forwards_[i].site == site.name && forwards_[i].recipe == recipe) return static_cast<int>(i);
  }
  Forward forward{site.name, recipe, kNone, Relation::Any, kNone};
  forward.grid = grid_for(tables, site, recipe, forward.relation);
  if (forward.grid != kNone) {
    const std::string usual;
    for (const std::string& generation : {generation_, usual}) {
      for (Relation relation :
           {Relation::Own, Relation::Library, Relation::Like, Relation::LikeElsewhere}) {
        if (forward.correction != kNone) break;
        if (relation > Relation::Library && forward.relation == Relation::Own) break;
        const Wanted wanted{recipe, Direction::Forward, false, generation};
        forward.correction = pool(tables, site, wanted, relation, true, forward.grid);
      }
    }
  }
  forwards_.push_back(forward);
  return static_cast<int>(forwards_.size()) - 1;
}

// Ratios of all rows of a kind to what their chips' forward models (`on_grid`: the grid alone) say.
// kNone if there are no such rows.
int MatmulTimes::pool(const KernelTables& tables, const Site& site, const Wanted& wanted,
                      Relation relation, bool on_grid, int grid) {
  Correction correction;
  correction.relation = relation;
  std::vector<Scatter::Place> places;
  std::vector<double> ratios;
  for (const Measurement& row : tables.rows(KernelFamily::Matmul)) {
    if (row.grid || row.recipe != wanted.recipe || row.direction != wanted.direction) continue;
    if ((row.matmul.groups > 1) != wanted.grouped || row.generation != wanted.generation) continue;
    const MeasuredChip& chip = *tables.chip(row.chip);
    if (narrows::relation(site, chip, row.library) != relation) continue;
    Forward base{row.chip, row.recipe, grid, Relation::Own, kNone};
    if (!on_grid)
      base = forwards_[static_cast<std::size_t>(forward_of(tables, site_of(chip), row.recipe))];
    if (base.grid == kNone) continue;
    const MatmulWork work = matmul_work(row.recipe, row.direction, row.matmul);
    const bool outer = row.direction == Direction::WeightGrad;
    const MatmulFloor floor = matmul_floor(rates_of(chip, row.recipe, row.multiprocessors), work);
    const double share = floor.arithmetic_share;
    const double measured = floor.time / row.time;
    places.push_back(place_of(work, outer));
    ratios.push_back(measured / efficiency(base, share, work, outer).value);
    correction.ratios.add(places.back(), ratios.back());
    correction.least_share = std::min(correction.least_share, share);
  }
  if (ratios.empty()) return kNone;
  std::vector<double> deviations;
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    if (ratios.size() > 1)
      deviations.push_back(deviation(correction.ratios.at(places[i], i).value, ratios[i]));
  }
  correction.residual = deviations.empty() ? 0.15 : median(std::move(deviations));
  corrections_.push_back(std::move(correction));
  return static_cast<int>(corrections_.size()) - 1;
}

// The nearest rows of this direction and grouping: those of the generation before the usual ones,
// near chips before far ones, the recipe itself before bf16, the op itself before its likes.
int MatmulTimes::direction_correction(const KernelTables& tables, const Site& site, Recipe recipe,
                                      Direction direction, bool grouped) {
  std::vector<std::pair<Direction, bool>> likes{{direction, grouped}};
  if (grouped && direction == Direction::InputGrad) likes.emplace_back(Direction::Forward, true);
  if (grouped && direction == Direction::WeightGrad)
    likes.emplace_back(Direction::WeightGrad, false);
  const auto search = [&](const std::string& generation, Recipe rows,
                          std::initializer_list<Relation> relations) {
    for (const auto& [like, many] : likes) {
      for (Relation relation : relations) {
        const int found =
            pool(tables, site, {rows, like, many, generation}, relation, false, kNone);
        if (found != kNone) return found;
      }
    }
    return kNone;
  };
  const std::initializer_list<Relation> near{Relation::Own, Relation::Library, Relation::Like,
                                             Relation::Architecture, Relation::LikeElsewhere};
  int found = generation_.empty() ? kNone : search(generation_, recipe, near);
  if (found == kNone) found = search("", recipe, near);
  if (found == kNone && recipe != Recipe::Bf16) found = search("", Recipe::Bf16, near);
  // The matmul of an input gradient is a forward one: no need to look further.
  if (found != kNone || (direction == Direction::InputGrad && !grouped)) return found;
  found = search("", recipe, {Relation::Any});
  return found != kNone || recipe == Recipe::Bf16 ? found
                                                  : search("", Recipe::Bf16, {Relation::Any});
}

}  // namespace narrows
