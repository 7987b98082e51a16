// SPDX-License-Identifier: Apache-2.0
#include "accuracy/linear.h"

#include <cmath>

namespace narrows {
namespace {

// Gauss's elimination without exchange of rows: the matrix is positive definite.
std::vector<double> eliminated(std::vector<double> a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t k = 0; k < n; ++k) {
    const double pivot = a[k * n + k];
    for (std::size_t i = k + 1; i < n; ++i) {
      const double share = pivot > 0 ? a[i * n + k] / pivot : 0;
      for (std::size_t j = k; j < n; ++j) a[i * n + j] -= share * a[k * n + j];
      b[i] -= share * b[k];
    }
  }
  for (std::size_t k = n; k-- > 0;) {
    for (std::size_t j = k + 1; j < n; ++j) b[k] -= a[k * n + j] * b[j];
    b[k] = a[k * n + k] > 0 ? b[k] / a[k * n + k] : 0;
  }
  return b;
}

}  // namespace

std::vector<double> NormalEquations::solve(const std::vector<bool>& held) const {
  std::vector<double> a = matrix, b = right;
  for (std::size_t k = 0; k < size; ++k) {
    if (!held[k]) continue;
    for (std::size_t j = 0; j < size; ++j) a[k * size + j] = a[j * size + k] = 0;
    a[k * size + k] = 1;
    b[k] = 0;
  }
  return eliminated(std::move(a), std::move(b));
}

std::vector<double> NormalEquations::inverse_diagonal() const {
  std::vector<double> diagonal;
  for (std::size_t k = 0; k < size; ++k) {
    std::vector<double> unit(size);
    unit[k] = 1;
    diagonal.push_back(eliminated(matrix, unit)[k]);
  }
  return diagonal;
}

}  // namespace narrows
