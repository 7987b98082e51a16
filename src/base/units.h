// Physical quantities that the compiler keeps apart: multiply to go in (`3.35 * TB / sec`), divide
// to come out
// (`load / ms`). Values are doubles in base units (second, byte, FLOP, US dollar, joule, square
// millimetre), so whole bytes are exact up to 2^53. Simulated time is `Tick`, integer nanoseconds.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

namespace narrows {

// Exponents of the base units. A structural type, so that it can be a template argument.
struct Dimension {
  int time = 0;
  int bytes = 0;
  int flops = 0;
  int dollars = 0;
  int energy = 0;
  int area = 0;

  friend constexpr bool operator==(const Dimension&, const Dimension&) = default;
  friend constexpr Dimension operator+(Dimension a, Dimension b) {
    return {a.time + b.time,       a.bytes + b.bytes,   a.flops + b.flops,
            a.dollars + b.dollars, a.energy + b.energy, a.area + b.area};
  }
  friend constexpr Dimension operator-(Dimension a, Dimension b) {
    return {a.time - b.time,       a.bytes - b.bytes,   a.flops - b.flops,
            a.dollars - b.dollars, a.energy - b.energy, a.area - b.area};
  }
};

template <Dimension D>
class Quantity {
 public:
  constexpr Quantity() = default;
  static constexpr Quantity in_base_units(double value) {
    Quantity q;
    q.value_ = value;
    return q;
  }

  friend constexpr auto operator<=>(Quantity a, Quantity b) = default;

  constexpr Quantity& operator+=(Quantity b) {
    value_ += b.value_;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity b) {
    value_ -= b.value_;
    return *this;
  }
  constexpr Quantity& operator*=(double b) {
    value_ *= b;
    return *this;
  }
  constexpr Quantity& operator/=(double b) {
    value_ /= b;
    return *this;
  }

  friend constexpr Quantity operator+(Quantity a, Quantity b) { return a += b; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return a -= b; }
  friend constexpr Quantity operator-(Quantity a) { return in_base_units(-a.value_); }
  friend constexpr Quantity operator*(double a, Quantity b) { return b *= a; }
  friend constexpr Quantity operator*(Quantity a, double b) { return a *= b; }
  friend constexpr Quantity operator/(Quantity a, double b) { return a /= b; }

 private:
  template <Dimension E>
  friend class Quantity;
  template <Dimension A, Dimension B>
  friend constexpr auto operator*(Quantity<A> a, Quantity<B> b);
  template <Dimension A, Dimension B>
  friend constexpr auto operator/(Quantity<A> a, Quantity<B> b);
  template <Dimension A>
  friend constexpr auto operator/(double a, Quantity<A> b);

  double value_ = 0;
};

// A product or quotient without dimension is a plain number again.
template <Dimension A, Dimension B>
constexpr auto operator*(Quantity<A> a, Quantity<B> b) {
  if constexpr (A + B == Dimension{}) {
    return a.value_ * b.value_;
  } else {
    return Quantity<A + B>::in_base_units(a.value_ * b.value_);
  }
}
template <Dimension A, Dimension B>
constexpr auto operator/(Quantity<A> a, Quantity<B> b) {
  if constexpr (A == B) {
    return a.value_ / b.value_;
  } else {
    return Quantity<A - B>::in_base_units(a.value_ / b.value_);
  }
}
template <Dimension A>
constexpr auto operator/(double a, Quantity<A> b) {
  return Quantity<Dimension{} - A>::in_base_units(a / b.value_);
}

using Seconds = Quantity<Dimension{.time = 1}>;
using Bytes = Quantity<Dimension{.bytes = 1}>;
using Flops = Quantity<Dimension{.flops = 1}>;
using Dollars = Quantity<Dimension{.dollars = 1}>;
using Joules = Quantity<Dimension{.energy = 1}>;
using Area = Quantity<Dimension{.area = 1}>;
using Bandwidth = Quantity<Dimension{.time = -1, .bytes = 1}>;
using FlopRate = Quantity<Dimension{.time = -1, .flops = 1}>;
using Frequency = Quantity<Dimension{.time = -1}>;
using Watts = Quantity<Dimension{.time = -1, .energy = 1}>;
using PricePerTime = Quantity<Dimension{.time = -1, .dollars = 1}>;

inline constexpr Seconds sec = Seconds::in_base_units(1);
inline constexpr Seconds ms = 1e-3 * sec;
inline constexpr Seconds us = 1e-6 * sec;
inline constexpr Seconds ns = 1e-9 * sec;
inline constexpr Seconds hour = 3600 * sec;
inline constexpr Seconds day = 86400 * sec;

inline constexpr Bytes byte = Bytes::in_base_units(1);
inline constexpr Bytes KB = 1e3 * byte;
inline constexpr Bytes MB = 1e6 * byte;
inline constexpr Bytes GB = 1e9 * byte;
inline constexpr Bytes TB = 1e12 * byte;
inline constexpr Bytes KiB = 1024 * byte;
inline constexpr Bytes MiB = 1024 * KiB;
inline constexpr Bytes GiB = 1024 * MiB;

inline constexpr Flops flop = Flops::in_base_units(1);
inline constexpr Flops GFLOP = 1e9 * flop;
inline constexpr Flops TFLOP = 1e12 * flop;
inline constexpr Frequency MHz = 1e6 / sec;
inline constexpr Dollars usd = Dollars::in_base_units(1);
inline constexpr Joules joule = Joules::in_base_units(1);
inline constexpr Watts watt = joule / sec;
inline constexpr Joules kWh = 3.6e6 * joule;
inline constexpr Area mm2 = Area::in_base_units(1);

template <Dimension D>
constexpr Quantity<D> max(Quantity<D> a, Quantity<D> b) {
  return a < b ? b : a;
}
template <Dimension D>
constexpr Quantity<D> min(Quantity<D> a, Quantity<D> b) {
  return b < a ? b : a;
}

// Simulated time in whole nanoseconds: sums are exact and the same on every machine.
struct Tick {
  std::int64_t ns = 0;

  friend constexpr auto operator<=>(Tick, Tick) = default;
  constexpr Tick& operator+=(Tick b) {
    ns += b.ns;
    return *this;
  }
  constexpr Tick& operator-=(Tick b) {
    ns -= b.ns;
    return *this;
  }
  friend constexpr Tick operator+(Tick a, Tick b) { return {a.ns + b.ns}; }
  friend constexpr Tick operator-(Tick a, Tick b) { return {a.ns - b.ns}; }
  friend constexpr Tick operator*(std::int64_t a, Tick b) { return {a * b.ns}; }
};

// The first whole tick that is not before `t`: durations round up, so that a bound stays a bound.
constexpr Tick round_up(Seconds t) {
  const double exact = t / (1e-9 * sec);
  const std::int64_t floor = static_cast<std::int64_t>(exact);
  return {static_cast<double>(floor) < exact ? floor + 1 : floor};
}
constexpr Seconds to_seconds(Tick t) { return 1e-9 * static_cast<double>(t.ns) * sec; }

}  // namespace narrows
