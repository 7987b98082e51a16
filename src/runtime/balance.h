// Balancing experts by biases instead of a loss (deepseek2024 §2.1.2, wang2024): a bias of each
// routed expert is added to its score where experts are chosen, and nowhere else. After a step the
// bias of an expert that got more than the mean of the step's token slots falls by the rate, that
// of one that got fewer rises. Loads are those of the whole global batch, so that every rank keeps
// the same biases.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "runtime/groups.h"
#include "runtime/tensor_part.h"

namespace narrows {

class Balance {
 public:
  struct Layer {
    int layer = 0;
    std::vector<float> bias;   // by expert
    std::vector<double> load;  // token slots of this step that chose it
  };

  // Biases of the layer's experts, zero at first; again the same if they are there. A pointer stays
  // valid until the next layer is added.
  void add(int layer, int experts);
  // Null where the layer has none.
  Layer* of(int layer);

  // After a step: sums the loads over all ranks that hold the layers, moves the biases, and begins
  // to count anew. A collective of the stage.
  Status update(const Groups& groups, double rate);

  // The biases by their Hugging Face names.
  std::vector<TensorPart> parts();
  bool empty() const { return layers_.empty(); }

 private:
  std::vector<Layer> layers_;  // ascending
};

// By name.
std::string name_of_bias(int layer);

}  // namespace narrows
