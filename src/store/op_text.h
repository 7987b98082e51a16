// An op or message as a few words: what the store keeps, what its text form shows, and what a plain
// table of timings gives. `m=4096;n=2112;k=7168` of a `matmul`, `forward`, `bf16`. The shape lists
// what differs from the usual in a fixed order, so that equal ops have equal words.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "measurement/observation.h"

namespace narrows {

struct OpText {
  std::string op;         // "matmul", "attention", "norm", …, "all-reduce", "send", …
  std::string direction;  // "forward", "input-grad", "weight-grad"; "" of messages
  std::string recipe;     // "bf16"; the dtype of a message
  std::string shape;      // "m=4096;n=2112;k=7168"

  friend auto operator<=>(const OpText&, const OpText&) = default;
};

OpText op_text(const Measurement& measurement);
OpText op_text(const LinkMeasurement& link);

// One of the two, without time, chip and source. InvalidInput says what is missing or wrong,
// without the place, which the caller knows.
using AnyOp = std::variant<Measurement, LinkMeasurement>;
Result<AnyOp> read_op(std::string_view op, std::string_view direction, std::string_view recipe,
                      std::string_view shape);

}  // namespace narrows
