// The options of `narrows train`, as words and read.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/training.h"

namespace CLI {
class App;
}

namespace narrows {

struct TrainOptions {
  std::string plan;
  TrainingOptions training;
  std::optional<std::string> metrics;
  std::optional<std::string> trace;
  bool compare = false;           // the plan's forecast beside what was measured
  std::optional<std::string> db;  // that prices a plan on this machine's own ranks
};

// Options as words; "" = not given.
struct RawTrain {
  std::string plan, data, steps, init, lr, warmup, schedule, beta, eps, weight_decay, clip, aux,
      bias_rate, mtp_weight, seed, metrics, trace, checkpoint, every, resume, db;
  std::vector<std::string> links;
  bool compare = false;
};

void add_train(CLI::App& app, RawTrain& raw);
Result<TrainOptions> train_of(const RawTrain& raw);

}  // namespace narrows
