// The constants of a model's arithmetic that its shape does not tell and no price depends on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace narrows {

struct Numerics {
  double norm_epsilon = 1e-6;
  double rope_theta = 10000;
  bool normalise_top_k = true;  // routed weights sum to routed_scale
  double routed_scale = 1;
};

}  // namespace narrows
