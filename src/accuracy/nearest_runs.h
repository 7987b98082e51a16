// The published runs that are most like a plan, with our own error on each: how far the forecast is
// to be trusted, by evidence. Likeness is a sum of penalties over what moves a step time most: the
// kind of model, the chip, the recipe, the training stack, then sizes by their ratio.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "accuracy/predict_run.h"
#include "base/json.h"

namespace narrows {

// What is compared.
struct RunLikeness {
  std::string chip;
  std::string architecture;
  std::string software;  // a profile's name
  Recipe recipe = Recipe::Bf16;
  bool moe = false;
  bool mla = false;
  double gpus = 1;
  double parameters = 1;
  double sequence = 1;
  double model_parallel = 1;  // tp * pp * cp
};
RunLikeness likeness_of(const ModelSpec& model, const Cluster& cluster, const Training& training,
                        const Strategy& strategy, const std::string& software);
RunLikeness likeness_of(const RunJob& job);

// At least 0; 0 for the same.
double distance(const RunLikeness& a, const RunLikeness& b);

struct NearestRun {
  std::string id;
  std::string source;
  double distance = 0;
  Seconds predicted;
  Seconds measured;
  double error = 0;  // predicted / measured - 1
};

// Ascending by distance, ties by the newer stack, then by id; only scored and supported runs, and
// the same training (model, chip, GPUs, sequence, recipe) once. Fewer than `count` if there are not
// so many.
std::vector<NearestRun> nearest_runs(const RunLikeness& plan, const std::vector<Run>& runs,
                                     RunPredictor& predictor, int count = 3);

// The array "nearest_runs" of `plan --json`.
Json to_json(const std::vector<NearestRun>& nearest);

}  // namespace narrows
