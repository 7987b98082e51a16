// A trainer's weights and optimiser state as parts of the model's tensors: what a checkpoint saves
// and loads. Moments are called NAME.exp_avg and NAME.exp_avg_sq.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/checkpoint.h"
#include "runtime/trainer.h"

namespace narrows {

// To save: over all ranks each element once.
CheckpointParts parts_to_save(Trainer& trainer);
// To load: all that this rank holds.
CheckpointParts parts_to_load(Trainer& trainer);

// What a checkpoint of this plan must agree with: the model's name and a checksum of its shape.
std::string fingerprint_of(const ModelSpec& model);
// The oldest version of the format (checkpoint.h) whose tensors mean what this model takes them
// for.
int oldest_checkpoint_of(const ModelSpec& model);

}  // namespace narrows
