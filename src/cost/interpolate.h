// Interpolation between measured points on logarithmic axes, the same on every machine: the
// logarithm is computed here from frexp and a series, and the rest is + - * /.
//
// A `Grid` is for many m at each of a few dozen pairs (n, k): along m the neighbours on each pair's
// curve are joined by straight lines, across pairs a plane is fitted to the nearest curves
// (weighted least squares with a ridge, so that few or collinear neighbours degrade to their
// weighted mean) and kept within what they show. A `Scatter` is for few points in up to four
// dimensions: all points weighted by inverse squared distance, twice. Both clamp: beyond the last
// point the edge holds.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace narrows {

// The binary logarithm of a positive number, to 1e-12.
double log2_of(double x);

// A value between points, and whether they surround the place.
struct Interpolated {
  double value = 1;
  bool inside = false;    // within the extent of the points on every axis
  bool on_curve = false;  // Grid: on one measured curve, between two of its points
};

class Grid {
 public:
  // One point; coordinates are logarithms. Points of one (y, z) make a curve.
  void add(double x, double y, double z, double value);
  // To be called once after the last `add`: sorts.
  void finish();

  bool empty() const { return points_.empty(); }
  std::size_t curves() const { return curves_.size(); }
  // The value at a place. `without` leaves out one curve by its index (for residuals); no_curve =
  // none.
  static constexpr std::size_t no_curve = static_cast<std::size_t>(-1);
  Interpolated at(double x, double y, double z, std::size_t without = no_curve) const;
  // The curve of exactly these coordinates, or no_curve.
  std::size_t curve_of(double y, double z) const;

 private:
  struct Point {
    double x, y, z, value;
  };
  struct Curve {
    double y, z;
    std::size_t first, last;  // points_[first, last)
  };
  struct Neighbour {
    double distance2;
    std::size_t curve;
  };
  double along(const Curve& curve, double x) const;
  double outside(const Curve& curve, double x) const;

  std::vector<Point> points_;
  std::vector<Curve> curves_;
  std::array<double, 3> least_{}, most_{};
};

class Scatter {
 public:
  using Place = std::array<double, 4>;

  void add(const Place& place, double value);
  bool empty() const { return points_.empty(); }
  std::size_t size() const { return points_.size(); }
  // The value at a place; 1 without points. `without` leaves out one point by its index in the
  // order of `add`.
  static constexpr std::size_t no_point = static_cast<std::size_t>(-1);
  Interpolated at(const Place& place, std::size_t without = no_point) const;

 private:
  struct Point {
    Place place;
    double value;
  };
  std::vector<Point> points_;
  Place least_{}, most_{};
};

}  // namespace narrows
