// What a PyTorch operator did, from its name and the sizes, types and values of its inputs, as a
// profiler records them: an op of the model of work, or why it is none. Only what the record says
// is used: a matmul in a backward pass is told input or weight gradient by its forward operator's
// sizes, causal attention by the recorded argument.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "measurement/measurement.h"

namespace narrows {

// Longer extents are taken for none: products of three still fit.
inline constexpr std::int64_t kLongestExtent = 1'000'000'000;

struct TorchOp {
  std::string name;                              // "aten::mm"
  std::vector<std::vector<std::int64_t>> sizes;  // one an input; empty of what is no tensor
  std::vector<std::string> types;                // "c10::BFloat16"; empty if not recorded
  std::vector<std::string> values;               // "True", "0.", ""; empty if not recorded
};

// A dense matmul (m, k) by (k, n) as recorded.
struct TorchMatmul {
  std::int64_t m = 0, n = 0, k = 0;
};
std::optional<TorchMatmul> torch_matmul(const TorchOp& op);

// Where an operator ran.
struct TorchPlace {
  bool backward = false;
  std::optional<TorchMatmul> forward;  // in the backward pass: of the operator it belongs to
  std::string kernel;                  // the kernel that ran, for number formats nobody recorded
};

// The op without chip and time, or why it is not understood.
std::variant<Measurement, std::string> understand(const TorchOp& op, const TorchPlace& place);

}  // namespace narrows
