// SPDX-License-Identifier: Apache-2.0
#include "cost/kernel_time_matmul.h"

#include <algorithm>

#include "cost/kernel_time_matmul_places.h"

namespace narrows {

// The efficiency of a product as the forward model has it. An outer product (a weight gradient) has
// no side that holds tokens: both ways round are averaged.
Interpolated MatmulTimes::efficiency(const Forward& forward, double share, const MatmulWork& work,
                                     bool outer) const {
  const Grid& grid = grids_[static_cast<std::size_t>(forward.grid)].grid;
  const double k = log2_of(work.k);
  Interpolated result = grid.at(log2_of(work.m * work.groups), log2_of(work.n), k);
  if (outer) {
    const Interpolated other = grid.at(log2_of(work.n * work.groups), log2_of(work.m), k);
    result = {0.5 * (result.value + other.value), result.inside || other.inside, false};
  }
  if (forward.correction != kNone) {
    const Interpolated by = ratio(forward.correction, share, work, outer);
    result = {result.value * by.value, result.inside && by.inside, false};
  }
  return result;
}

// A correction at a place. What was seen of products limited by arithmetic says little where memory
// limits: there it fades in proportion.
Interpolated MatmulTimes::ratio(int correction, double share, const MatmulWork& work,
                                bool outer) const {
  const Correction& by = corrections_[static_cast<std::size_t>(correction)];
  Interpolated result = by.ratios.at(place_of(work, outer));

  if (share < by.least_share) result.value = 1 + (result.value - 1) * share / by.least_share;
  return result;
}

Estimate MatmulTimes::time(Recipe recipe, Direction direction, const MatmulShape& shape) const {
  const Model& model = models_[slot(recipe, direction, shape.groups > 1)];
  const auto exact =
      std::lower_bound(model.exact.begin(), model.exact.end(), shape,
                       [](const Exact& a, const MatmulShape& b) { return key(a.shape) < key(b); });
  if (exact != model.exact.end() && key(exact->shape) == key(shape)) {
    return {exact->time, Basis::Measured, error_of(Basis::Measured, 0)};
  }
  const MatmulWork work = matmul_work(recipe, direction, shape);
  const auto [floor, share] = matmul_floor(model.rates, work);
  const Forward& forward = forwards_[static_cast<std::size_t>(model.forward)];
  if (forward.grid == kNone) return {floor / 0.5, Basis::Roofline, 0.5};
  const bool outer = direction == Direction::WeightGrad;
  Interpolated result = efficiency(forward, share, work, outer);
  Basis basis = basis_of(forward.relation);
  Relation far = forward.relation;
  double residual = grids_[static_cast<std::size_t>(forward.grid)].residual;
  if (result.on_curve) residual *= 0.5;
  if (forward.correction != kNone) {
    const Correction& correction = corrections_[static_cast<std::size_t>(forward.correction)];
    if (correction.relation <= Relation::Library) {
      basis = Basis::Interpolated;
      far = correction.relation;
    }
    residual = correction.residual;
  }
  if (model.correction != kNone) {
    const Correction& correction = corrections_[static_cast<std::size_t>(model.correction)];
    const Interpolated by = ratio(model.correction, share, work, outer);
    result = {result.value * by.value, result.inside && by.inside, false};
    residual = std::max(residual, correction.residual);
  }
  if (basis == Basis::Interpolated && !(model.related && result.inside)) basis = Basis::Transferred;
  if (model.emulated) basis = Basis::Roofline;
  return {floor / result.value, basis, error_of(basis, residual, far)};
}

}  // namespace narrows
