// The ways of context parallelism: how attention sees the whole sequence when its tokens are spread
// over ranks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/spec.h"

namespace narrows {

// AllGather: all keys and values are gathered before one kernel. Ring: keys and values pass round
// the ranks, and each attends to what it holds meanwhile (liu2023). AllToAll: heads are spread over
// the ranks in place of tokens, and back (DeepSpeed Ulysses, jacobs2023).
enum class ContextExchange { AllGather, Ring, AllToAll };
std::string to_string(ContextExchange exchange);  // "all-gather"
std::optional<ContextExchange> context_exchange_of(std::string_view name);
// Whether attention's heads can be spread so: all but the all-to-all always can; that one needs
// heads and key-value heads of a tensor-parallel rank divisible by cp.
bool spreads(ContextExchange exchange, const AttentionSpec& attention, int tp, int cp);

}  // namespace narrows
