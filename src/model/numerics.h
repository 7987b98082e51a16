// The constants of a model's arithmetic that its shape does not tell and no price depends on: only
// what trains looks at them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace narrows {

// The members of a config's rope_scaling, as its type reads them (YaRN: peng2023; llama3: the
// report's long-context phase).
struct RopeScaling {
  double factor = 1;
  std::int64_t positions = 0;  // that the model was trained for before; 0 = not stated
  double beta_fast = 32;  // YaRN: turns within `positions` above which nothing is stretched …
  double beta_slow = 1;   // … and below which all is
  double mscale = 0;      // YaRN, DeepSeek's: 0 = not stated
  double mscale_all_dim = 0;
  double low_frequency = 1;  // llama3's factors
  double high_frequency = 4;
  friend bool operator==(const RopeScaling&, const RopeScaling&) = default;
};

struct Numerics {
  double norm_epsilon = 1e-6;
  double rope_theta = 10000;
  std::string rope_scaling;      // how the rotation is stretched, "yarn"; "" = it is not
  RopeScaling scaling;           // by how much, where it is
  bool rope_interleaved = true;  // MLA only: neighbours are rotated as pairs, not halves
  bool normalise_top_k = true;   // routed weights sum to routed_scale
  double routed_scale = 1;
  friend bool operator==(const Numerics&, const Numerics&) = default;
};

}  // namespace narrows
