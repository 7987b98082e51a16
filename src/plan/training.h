// What is trained on: the part of a job that neither model nor cluster decides.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace narrows {

// Balanced: every expert gets its expected share. Natural: the load of a trained router, with its
// imbalance.
enum class Routing { Balanced, Natural };
std::string to_string(Routing routing);
std::optional<Routing> routing_of(std::string_view name);

struct Training {
  std::int64_t sequence = 4096;   // tokens of one sequence
  std::int64_t global_batch = 1;  // sequences a step, over all replicas
  std::int64_t tokens = 0;        // whole training; 0 = unknown
  Routing routing = Routing::Balanced;

  friend bool operator==(const Training&, const Training&) = default;
};

Json to_json(const Training& training);
// Refuses what it does not know.
Result<Training> training_from_json(JsonObject& object);

}  // namespace narrows
