// What a model shape must satisfy before anything is computed from it: every size within its range,
// and the rules between fields (heads in groups, experts in groups, even rotary dimensions). All
// readers of models end here.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "model/spec.h"

namespace narrows {

// The largest sizes that are believed; a larger one is a slip of the pen.
namespace limits {
inline constexpr std::int64_t kLayers = 4096;
inline constexpr std::int64_t kHidden = 1'000'000;
inline constexpr std::int64_t kFfn = 10'000'000;
inline constexpr std::int64_t kVocab = 100'000'000;
inline constexpr std::int64_t kPositions = 1'000'000'000;
inline constexpr std::int64_t kHeads = 65'536;
inline constexpr std::int64_t kHeadDim = 65'536;
inline constexpr std::int64_t kExperts = 65'536;
inline constexpr std::int64_t kMtpLayers = 64;
inline constexpr std::int64_t kLoraRank = 4096;
}  // namespace limits

// A field that breaks a rule: its path as in spec.h and in JSON ("attention.kv_heads"), and what
// was expected and found.
struct Flaw {
  std::string field;
  std::string text;
};
std::optional<Flaw> find_flaw(const ModelSpec& model);

// InvalidInput with the first flaw, as "attention.kv_heads: expected ..., found ...".
Status validate(const ModelSpec& model);

}  // namespace narrows
