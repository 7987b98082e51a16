// From a published run to the job that narrows simulates: model, cluster, training stack, training
// and strategy, in the planner's own terms. What the run does not say follows the documented
// default of its stack, and every such default is named in `assumed`.
//
// * Model: the printed numbers. What they cannot say (node-limited routing, QK norm, windows) comes
//   from the built-in model of the same shape, if there is one.
// * Cluster: the node type that carries the chip, its network at the printed rate of one GPU.
// * Switches that the record leaves out but its stack's published recipe names (recipes.h).
// * Software: by the run's family name; an unknown one falls back to `fsdp` where the layout is
//   plain FSDP, else to `megatron-core`; Megatron's wrappers before fused attention are
//   `megatron-2022`. A stack that ran a schedule or a recipe can run it: the
//   profile is widened by what the run proves.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "accuracy/recipes.h"
#include "accuracy/run.h"
#include "hardware/profile_library.h"
#include "model/builtin.h"
#include "plan/strategy.h"
#include "plan/training.h"
#include "sim/step.h"
#include "software/profile.h"

namespace narrows {

struct RunJob {
  ModelSpec model;
  Cluster cluster;
  SoftwareProfile software;
  Training training;
  Strategy strategy;
  std::vector<std::string> assumed;  // "recompute=none"
  bool software_known = true;        // false: a family by layout
  bool recompute_stated = false;     // by the record or a published recipe
  StageRuns stages;  // the stack's own split of the layers; empty: as even as can be
};

// The name of the software profile that a run's stack is closest to; `known` is false where the
// layout decided.
struct SoftwareFamily {
  std::string profile;
  bool known = true;
};
SoftwareFamily software_family(const Run& run);

// The same number of layers in each of `stages`, the embedding before the first and MTP blocks and
// the head behind the last; where only layers, embedding and head together divide, both ends count
// as a layer. Empty where neither does.
StageRuns even_stages(const ModelSpec& model, int stages);

// Makes jobs; remembers the profiles it has read. Borrows the library. Not thread-safe.
class RunJobs {
 public:
  explicit RunJobs(const ProfileLibrary& library, std::vector<EmbeddedFile> overrides = {});

  // Unsupported, with the reason, for what no profile decides: no model shape, GPU count, batch or
  // known chip, or a layout that breaks a rule of plan/validate.h.
  Result<RunJob> job_of(const Run& run);

  // "hopper"; nothing for a chip that is not known.
  std::optional<std::string> architecture_of(const std::string& chip);

 private:
  Result<Cluster> cluster_of(const RunHardware& hardware, std::vector<std::string>& assumed);
  Result<Cluster> node_of(const std::string& chip) const;
  Result<SoftwareProfile> software_of(const std::string& name);
  // Fills in what the numbers leave open.
  void complete(ModelSpec& model) const;

  const ProfileLibrary& library_;
  std::vector<EmbeddedFile> overrides_;
  std::vector<ModelSpec> models_;
  std::vector<RecipeRule> recipes_;
  std::map<std::string, Cluster> nodes_;
  std::map<std::string, std::optional<std::string>> architectures_;
  std::map<std::string, SoftwareProfile> software_;
};

}  // namespace narrows
