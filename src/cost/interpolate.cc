// SPDX-License-Identifier: Apache-2.0
#include "cost/interpolate.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/result.h"

namespace narrows {
namespace {

// Curves that a plane is fitted to. 8 gave the least leave-one-out residuals of 4, 6, 8 and 12 on
// the published tables.
constexpr std::size_t kCurves = 8;
constexpr double kSame = 1e-9;    // squared distance below which two places are one
constexpr double kSoften = 0.25;  // squared distance (octaves) at which a curve's weight has halved
constexpr double kRidge = 1.0;    // weight of the wish for no slope
constexpr double kBeyond = 0.1;   // a plane may leave the neighbours' range by this share
constexpr double kScatterSoften = 0.2;

// A plane a + b dy + c dz by weighted least squares; returns a.
class Plane {
 public:
  void add(double weight, double dy, double dz, double value) {
    const std::array<double, 3> x{1, dy, dz};
    for (std::size_t i = 0; i < 3; ++i) {
      right_[i] += weight * x[i] * value;
      for (std::size_t j = 0; j < 3; ++j) left_[i][j] += weight * x[i] * x[j];
    }
  }

  double at_origin() {
    left_[1][1] += kRidge;
    left_[2][2] += kRidge;
    // Eliminate c, then b; the ridge keeps both pivots positive.
    eliminate(2, 1);
    eliminate(2, 0);
    eliminate(1, 0);
    return right_[0] / left_[0][0];
  }

 private:
  void eliminate(std::size_t pivot, std::size_t row) {
    const double factor = left_[row][pivot] / left_[pivot][pivot];
    for (std::size_t j = 0; j < 3; ++j) left_[row][j] -= factor * left_[pivot][j];
    right_[row] -= factor * right_[pivot];
  }

  std::array<std::array<double, 3>, 3> left_{};
  std::array<double, 3> right_{};
};

}  // namespace

double log2_of(double x) {
  ASSERT(x > 0);
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);  // [1/2, 1)
  if (mantissa < 0.70710678118654752) {
    mantissa *= 2;
    --exponent;
  }
  // ln m = 2 artanh(s) with s = (m - 1) / (m + 1), |s| < 0.172: eight terms leave less than 1e-13.
  const double s = (mantissa - 1) / (mantissa + 1);
  const double s2 = s * s;
  double sum = 0;
  for (int term = 15; term >= 1; term -= 2) sum = sum * s2 + 1.0 / term;
  constexpr double kTwoOverLn2 = 2.8853900817779268;
  return exponent + kTwoOverLn2 * s * sum;
}

void Grid::add(double x, double y, double z, double value) { points_.push_back({x, y, z, value}); }

void Grid::finish() {
  std::sort(points_.begin(), points_.end(), [](const Point& a, const Point& b) {
    return std::tie(a.y, a.z, a.x) < std::tie(b.y, b.z, b.x);
  });
  curves_.clear();
  for (std::size_t i = 0; i < points_.size(); ++i) {
    const Point& p = points_[i];
    if (curves_.empty() || curves_.back().y != p.y || curves_.back().z != p.z) {
      curves_.push_back({p.y, p.z, i, i});
    }
    curves_.back().last = i + 1;
    const std::array<double, 3> place{p.x, p.y, p.z};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      least_[axis] = i == 0 ? place[axis] : std::min(least_[axis], place[axis]);
      most_[axis] = i == 0 ? place[axis] : std::max(most_[axis], place[axis]);
    }
  }
}

double Grid::along(const Curve& curve, double x) const {
  const Point* first = points_.data() + curve.first;
  const Point* last = points_.data() + curve.last - 1;
  if (x <= first->x) return first->value;
  if (x >= last->x) return last->value;
  while (first[1].x < x) ++first;
  const double share = (x - first->x) / (first[1].x - first->x);
  return first->value + share * (first[1].value - first->value);
}

double Grid::outside(const Curve& curve, double x) const {
  return std::max({0.0, points_[curve.first].x - x, x - points_[curve.last - 1].x});
}

std::size_t Grid::curve_of(double y, double z) const {
  for (std::size_t i = 0; i < curves_.size(); ++i) {
    const double dy = curves_[i].y - y;
    const double dz = curves_[i].z - z;
    if (dy * dy + dz * dz < kSame) return i;
  }
  return no_curve;
}

Interpolated Grid::at(double x, double y, double z, std::size_t without) const {
  std::array<Neighbour, kCurves> nearest;
  std::size_t count = 0;
  for (std::size_t i = 0; i < curves_.size(); ++i) {
    if (i == without) continue;
    const Curve& curve = curves_[i];
    const double dx = outside(curve, x);
    const double dy = curve.y - y;
    const double dz = curve.z - z;
    const double distance2 = dx * dx + dy * dy + dz * dz;
    if (dy * dy + dz * dz < kSame && dx <= 1) return {along(curve, x), dx == 0, dx == 0};
    if (count == kCurves && distance2 >= nearest[count - 1].distance2) continue;
    std::size_t slot = count < kCurves ? count++ : count - 1;
    for (; slot > 0 && nearest[slot - 1].distance2 > distance2; --slot)
      nearest[slot] = nearest[slot - 1];
    nearest[slot] = {distance2, i};
  }
  if (count == 0) return {};
  Plane plane;
  double low = along(curves_[nearest[0].curve], x);
  double high = low;
  for (std::size_t i = 0; i < count; ++i) {
    const Curve& curve = curves_[nearest[i].curve];
    const double value = along(curve, x);
    low = std::min(low, value);
    high = std::max(high, value);
    plane.add(1 / (nearest[i].distance2 + kSoften), curve.y - y, curve.z - z, value);
  }
  const bool inside = x >= least_[0] && x <= most_[0] && y >= least_[1] && y <= most_[1] &&
                      z >= least_[2] && z <= most_[2];
  return {std::clamp(plane.at_origin(), low * (1 - kBeyond), high * (1 + kBeyond)), inside, false};
}

void Scatter::add(const Place& place, double value) {
  for (std::size_t axis = 0; axis < place.size(); ++axis) {
    least_[axis] = points_.empty() ? place[axis] : std::min(least_[axis], place[axis]);
    most_[axis] = points_.empty() ? place[axis] : std::max(most_[axis], place[axis]);
  }
  points_.push_back({place, value});
}

Interpolated Scatter::at(const Place& place, std::size_t without) const {
  double weights = 0;
  double sum = 0;
  for (std::size_t i = 0; i < points_.size(); ++i) {
    if (i == without) continue;
    const Point& point = points_[i];
    double distance2 = 0;
    for (std::size_t axis = 0; axis < place.size(); ++axis) {
      const double d = point.place[axis] - place[axis];
      distance2 += d * d;
    }
    if (distance2 < kSame) return {point.value, true, true};
    const double closeness = 1 / (distance2 + kScatterSoften);
    weights += closeness * closeness;
    sum += closeness * closeness * point.value;
  }
  if (weights <= 0) return {};
  bool inside = true;
  for (std::size_t axis = 0; axis < place.size(); ++axis) {
    inside = inside && place[axis] >= least_[axis] && place[axis] <= most_[axis];
  }
  return {sum / weights, inside, false};
}

}  // namespace narrows
