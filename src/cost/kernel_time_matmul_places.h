// What building and asking of matmul models share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>

#include "cost/kernel_time_matmul.h"

namespace narrows {

// The index of a model.
inline std::size_t slot(Recipe recipe, Direction direction, bool grouped) {
  return (static_cast<std::size_t>(recipe) * 3 + static_cast<std::size_t>(direction)) * 2 +
         (grouped ? 1 : 0);
}

// Where corrections are compared: the executed product; of a weight gradient, the larger extent
// first.
inline Scatter::Place place_of(const MatmulWork& work, bool outer) {
  const bool swap = outer && work.n > work.m;
  return {log2_of(swap ? work.n : work.m), log2_of(swap ? work.m : work.n), log2_of(work.k),
          0.5 * log2_of(work.groups)};
}

// The order of measured shapes.
inline auto key(const MatmulShape& shape) {
  return std::tie(shape.groups, shape.n, shape.k, shape.m.expected);
}

}  // namespace narrows
