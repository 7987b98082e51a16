// A small system of symmetric linear equations, as least squares make them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

namespace narrows {

// matrix * x = right. Positive definite, or as good as.
struct NormalEquations {
  explicit NormalEquations(std::size_t n) : right(n), size(n), matrix(n * n) {}

  double& at(std::size_t row, std::size_t column) { return matrix[row * size + column]; }
  double at(std::size_t row, std::size_t column) const { return matrix[row * size + column]; }

  // x, with those that are `held` at 0. What the equations leave open is 0.
  std::vector<double> solve(const std::vector<bool>& held) const;
  // The diagonal of the inverse: variances of x in units of those of the rows.
  std::vector<double> inverse_diagonal() const;

  std::vector<double> right;
  std::size_t size;
  std::vector<double> matrix;  // row by row
};

}  // namespace narrows
