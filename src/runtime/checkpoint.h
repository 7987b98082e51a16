// Checkpoints: FOLDER/step-0000000120/ with
//
//   model.safetensors      the weights by their Hugging Face names (or model-00001-of-00004… with
//                          model.safetensors.index.json, above a limit of bytes a file)
//   optimizer.safetensors  the optimiser's state: names with a suffix
//   state.json             step, data position, and a checksum of every block of the files
//
// The format has a version. 2: the rotated rows of latent attention lie in neighbouring pairs, as
// in Hugging Face's files; in version 1, otherwise the same, they lay in halves.
//
// All ranks write at once, each its own rectangles (tensor_part.h); a checkpoint is read back on
// any layout. It is written aside in FOLDER/.writing-step-…, synced, and renamed when it is
// complete: a reader, and a job that was killed at any moment, sees whole checkpoints only. What
// was left over by a killed job is removed by the next save.
//
// Every function that takes a `comm` is a collective of it. An error on one rank is that rank's; it
// ends the world (communicator.h) and with it the others.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "comm/communicator.h"
#include "runtime/tensor_part.h"

namespace narrows {

constexpr int kCheckpointVersion = 2;
constexpr int kRotatedPairsSince = 2;

struct TrainingState {
  std::int64_t step = 0;  // steps done: the number of the next
  std::string model;      // what must agree with the job that resumes
  std::string data;       // TokenSource::fingerprint
  int version = 1;        // of what was found; of what is expected: the oldest that will do
  friend bool operator==(const TrainingState&, const TrainingState&) = default;
};

// What this rank contributes or wants. For saving, the parts of all ranks cover each tensor once:
// of replicas, one gives its part. For loading, everyone asks for what it needs.
struct CheckpointParts {
  std::vector<TensorPart> weights;
  std::vector<TensorPart> optimizer;
};

struct CheckpointOptions {
  std::string folder;
  int keep = 2;                             // older ones are removed after a save
  std::int64_t file_limit = 5'000'000'000;  // bytes of tensors a file; one tensor may exceed it
};

// Before training: InvalidInput if the folder holds checkpoints (a new job would shadow them), Io
// if it cannot be made or written. `is_resumed`: those that are there are this job's.
Status prepare_checkpoints(const CheckpointOptions& options, bool is_resumed, Communicator& comm);

// Io with the reason (disk full, no permission); older checkpoints stay as they are.
Status save_checkpoint(const CheckpointOptions& options, const TrainingState& state,
                       const CheckpointParts& parts, Communicator& comm);

// The newest checkpoint of the folder (or the checkpoint that `path` itself is) into the parts.
// NotFound if there is none; InvalidInput names the file that was truncated, changed or does not
// have a tensor, or what its state says that should be otherwise. `expected` holds what must agree;
// its step is not looked at.
Result<TrainingState> load_checkpoint(const std::string& path, const TrainingState& expected,
                                      const CheckpointParts& parts, Communicator& comm);

// What load_checkpoint would find, without reading tensors. No collective.
Result<TrainingState> newest_state(const std::string& path);

// Weights of another program's: a .safetensors file, or a folder with model.safetensors or its
// index. Each rank reads for itself.
Status load_weights(const std::string& path, std::span<const TensorPart> parts);

}  // namespace narrows
