// An estimated time with what it rests on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/units.h"

namespace narrows {

// Measured: this very shape was measured. Interpolated: between measured shapes of the same op,
// chip and format. Transferred: from a relative's measurements, scaled by the limiting peak.
// Roofline: peak rates only.
enum class Basis { Measured, Interpolated, Transferred, Roofline };
inline constexpr int kBases = 4;

struct Estimate {
  Seconds time;
  Basis basis = Basis::Roofline;
  double error =
      0;  // expected relative error of the time, from the basis's own leave-one-out residuals
};

}  // namespace narrows
