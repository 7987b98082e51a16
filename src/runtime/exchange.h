// Tokens on their way to experts and back. A token travels once to every rank that holds one or
// more of its experts, with the weights that belong there; the rank makes one copy an expert,
// sorted by expert, and sends back the sum. No token is dropped. Every sum runs in a fixed order:
// by sender, then by token.
//
// By all-gather instead every token goes to every rank, which picks those of its experts, and sums
// are scattered back.
//
//   tokens --dispatch--> received rows --permute--> copies --experts--> copies --sum--> rows
//   --combine--> tokens
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "comm/communicator.h"

namespace narrows {

// Lists in one array: those of i are [begin[i], begin[i + 1]) of `items`.
struct Lists {
  std::vector<std::int32_t> begin;
  std::vector<std::int32_t> items;
};
// The positions in `keys` of each value in [0, count), ascending; keys below 0 are left out.
Lists positions_of(const std::vector<std::int32_t>& keys, int count);

// What one MoE block knows of one micro-batch's routing.
struct Exchange {
  int top_k = 0;
  bool gathers = false;  // every token is sent to every rank, by one collective
  // At the tokens' rank: which token each sent row is, by destination.
  std::vector<std::int32_t> sent_token;
  std::vector<std::int64_t> sent;  // rows to each rank of the group
  Lists sent_of_token;
  // At the experts' rank.
  std::vector<std::int64_t> received;   // rows from each rank of the group
  std::vector<std::int32_t> expert;     // (received rows, top_k): the local expert, -1 = not here
  std::vector<float> weight;            // (received rows, top_k)
  std::vector<std::int32_t> copy_row;   // copy -> received row
  std::vector<std::int32_t> copy_slot;  // copy -> place in the row's top_k
  std::vector<float> copy_weight;
  std::vector<float> copy_dweight;  // filled by the experts' backward
  Lists copies_of_row;
  std::vector<std::int64_t> first_of_expert;  // local experts + 1: copies by expert
  // With split experts: the copies of all ranks of the expert's group (expert_group.h).
  std::vector<std::int64_t> gathered;          // copies of each rank
  std::vector<std::int32_t> gathered_order;    // sorted place -> place as gathered
  std::vector<std::int32_t> gathered_inverse;  // and back

  std::int64_t rows_sent() const { return std::ssize(sent_token); }
  std::int64_t rows_received() const { return std::ssize(copies_of_row.begin) - 1; }
  std::int64_t copies() const { return std::ssize(copy_row); }
};

// What the router chose.
struct TokenRouting {
  const float* chosen = nullptr;  // the router's (tokens, 3 top_k)
  std::int64_t tokens = 0;
  int top_k = 0;
  int experts = 0;
  bool gathers = false;  // then all ranks have as many tokens
};

// Tells every rank of the group (null: this rank alone) what it will receive.
Result<Exchange> plan_exchange(const TokenRouting& routing, Communicator* group);

// Rows of `columns` elements begin to travel along the exchange: out to the experts' ranks, and
// back. Where it gathers, `sent` has each token once.
Request send_rows(const Exchange& exchange, View sent, Buffer received, std::int64_t columns,
                  Communicator* group);
Request return_rows(const Exchange& exchange, View received, Buffer sent, std::int64_t columns,
                    Communicator* group);
// The way back where it gathers: `own` becomes each token's sum; `received` is used up.
Request scatter_sums(const Exchange& exchange, Buffer received, Buffer own, Communicator* group);

}  // namespace narrows
