// A plan: the decision how a training is laid out, with everything that it was decided on. The plan
// file is complete (model, cluster and software stand in it in full), has a version, its keys in a
// fixed order and no wall time, so that the same plan is the same bytes. `train` needs nothing else
// but data.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "hardware/cluster.h"
#include "model/spec.h"
#include "plan/forecast.h"
#include "plan/strategy.h"
#include "plan/training.h"
#include "software/profile.h"

namespace narrows {

inline constexpr int kPlanVersion = 1;

// A run of items (0 = embedding, 1 … layers, MTP blocks, head), both ends included.
struct Chunk {
  int first = 0;
  int last = 0;
  Recompute recompute = Recompute::None;
  friend bool operator==(const Chunk&, const Chunk&) = default;
};

// What one pipeline rank holds, in the order of its chunks: see stage_of.
struct Stage {
  std::vector<Chunk> chunks;
  Bytes memory_peak;  // 0 = not forecast
  friend bool operator==(const Stage&, const Stage&) = default;
};

struct Plan {
  int version = kPlanVersion;
  ModelSpec model;
  Cluster cluster;
  SoftwareProfile software;
  Training training;
  Strategy strategy;
  CommChoice comm;
  std::vector<Stage> stages;  // by pipeline rank
  std::optional<Forecast> forecast;
};

// The stages that hold `chunks` (by stage of a route, in order) under the strategy; DualPipe's
// ranks get two each.
std::vector<Stage> stages_from(const Strategy& strategy, const std::vector<Chunk>& chunks);
// The inverse: the chunks of the first route, in the order of its stages.
std::vector<Chunk> chunks_of_route(const Plan& plan, int route = 0);

// The rules of layout, and that on every route the chunks cover all items exactly once, in order.
// InvalidInput names what is broken.
Status validate(const Plan& plan);

Json to_json(const Plan& plan);
// The member "stages" as `plan --json` shows it.
Json stages_json(const Plan& plan);

// Validated. `file` is the name for messages. Unknown keys, another version, a broken rule:
// InvalidInput with the place.
Result<Plan> plan_from_json(const Json& root, const std::string& file);
Result<Plan> parse_plan(std::string_view text, const std::string& file);
Result<Plan> read_plan(const std::string& path);  // "-" is stdin
// The plan file's bytes.
std::string text_of(const Plan& plan);

}  // namespace narrows
