// The constants of a model's arithmetic that its shape does not tell and no price depends on: only
// what trains looks at them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace narrows {

struct Numerics {
  double norm_epsilon = 1e-6;
  double rope_theta = 10000;
  std::string rope_scaling;     // how the rotation is stretched, "yarn"; "" = it is not
  bool normalise_top_k = true;  // routed weights sum to routed_scale
  double routed_scale = 1;
  friend bool operator==(const Numerics&, const Numerics&) = default;
};

}  // namespace narrows
