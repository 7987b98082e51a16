// All-to-all in two hops (deepseek2024: dispatch): what a rank sends to the ranks of another node
// goes as one message to the rank of its own local index there, which passes it on within the node.
// So each pair of nodes exchanges few large messages on the slow links. The relay learns from a
// first round how much it will get.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "comm/operation.h"

namespace narrows {

// Gives the operation, whose buffers and element are set, its program. `site` as is_two_hop wants.
void install_two_hop(Operation& operation, const Site& site, std::span<const std::int64_t> sent,
                     std::span<const std::int64_t> received);

}  // namespace narrows
