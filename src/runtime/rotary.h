// How fast each pair of a rotated vector turns: theta^(-2j / dim), stretched for longer sequences
// as the model's config says:
//
//   linear   all by 1 / factor
//   yarn     (peng2023) between those that turn more than beta_fast times within the positions of
//            before, which stay, and those below beta_slow, by 1 / factor; vectors are longer by
//            0.1 ln(factor) + 1. DeepSeek's models state mscale for the vectors and mscale_all_dim,
//            by which scores are multiplied, squared
//   llama3   by wavelength: short ones stay, long ones by 1 / factor, smoothly between
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "kernels/rope.h"
#include "model/spec.h"

namespace narrows {

struct Rotary {
  kernels::RotaryTable table;
  double sharpness = 1;  // of the scores
};

// Whether latent attention rotates neighbouring rows as pairs; else, as all other models, halves.
bool rotates_neighbours(const ModelSpec& model);

// For positions below `positions`. Unsupported for another kind of scaling.
Result<Rotary> rotary_of(const ModelSpec& model, std::int64_t positions);

}  // namespace narrows
