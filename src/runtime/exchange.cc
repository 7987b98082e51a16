// SPDX-License-Identifier: Apache-2.0
#include "runtime/exchange.h"

#include <algorithm>
#include <numeric>

namespace narrows {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

std::int64_t sum(const std::vector<std::int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

std::vector<std::int64_t> times(const std::vector<std::int64_t>& counts, std::int64_t factor) {
  std::vector<std::int64_t> scaled = counts;
  for (std::int64_t& n : scaled) n *= factor;
  return scaled;
}

// Experts and weights as they travel beside a row.
struct Slips {
  std::vector<std::int32_t> expert;
  std::vector<float> weight;
};

// Lists the rows to each rank, with their slips.
Slips address(Exchange& x, const TokenRouting& routing, int held, int ranks) {
  Slips slips;
  const std::int64_t tokens = routing.tokens;
  x.sent.assign(at(ranks), 0);
  for (int to = 0; to < ranks; ++to) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      const float* index = routing.chosen + t * 3 * x.top_k;
      const auto here = [&](int k) { return static_cast<int>(index[k]) / held == to; };
      bool any = x.gathers;
      for (int k = 0; k < x.top_k; ++k) any = any || here(k);
      if (!any) continue;
      x.sent_token.push_back(static_cast<std::int32_t>(t));
      ++x.sent[at(to)];
      for (int k = 0; k < x.top_k; ++k) {
        slips.expert.push_back(here(k) ? static_cast<std::int32_t>(index[k]) % held : -1);
        slips.weight.push_back(here(k) ? index[x.top_k + k] : 0);
      }
    }
  }
  x.sent_of_token = positions_of(x.sent_token, static_cast<int>(tokens));
  return slips;
}

// Hands the slips over.
Status deliver(Exchange& x, Slips slips, Communicator* group) {
  if (group == nullptr) {
    x.received = x.sent;
    x.expert = std::move(slips.expert);
    x.weight = std::move(slips.weight);
    return {};
  }
  const std::vector<std::int32_t> sent(x.sent.begin(), x.sent.end());
  std::vector<std::int32_t> received(sent.size());
  TRY(group->all_to_all(sent, received));
  x.received.assign(received.begin(), received.end());
  const std::vector<std::int64_t> out = times(x.sent, x.top_k);
  const std::vector<std::int64_t> in = times(x.received, x.top_k);
  x.expert.resize(at(sum(in)));
  x.weight.resize(at(sum(in)));
  TRY(group->all_to_all(slips.expert, out, x.expert, in));
  return group->all_to_all(slips.weight, out, x.weight, in);
}

// One copy an expert and row, sorted by expert, then by row.
void lay_out_copies(Exchange& x, int held) {
  const Lists slots = positions_of(x.expert, held);
  x.first_of_expert.assign(slots.begin.begin(), slots.begin.end());
  for (const std::int32_t slot : slots.items) {
    x.copy_row.push_back(slot / x.top_k);
    x.copy_slot.push_back(slot % x.top_k);
    x.copy_weight.push_back(x.weight[at(slot)]);
  }
  x.copies_of_row = positions_of(x.copy_row, static_cast<int>(x.expert.size()) / x.top_k);
}

}  // namespace

Lists positions_of(const std::vector<std::int32_t>& keys, int count) {
  Lists lists;
  lists.begin.assign(at(count + 1), 0);
  for (const std::int32_t key : keys) {
    if (key >= 0) ++lists.begin[at(key + 1)];
  }
  for (int i = 0; i < count; ++i) lists.begin[at(i + 1)] += lists.begin[at(i)];
  lists.items.resize(at(lists.begin.back()));
  std::vector<std::int32_t> next = lists.begin;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] >= 0) lists.items[at(next[at(keys[i])]++)] = static_cast<std::int32_t>(i);
  }
  return lists;
}

Result<Exchange> plan_exchange(const TokenRouting& routing, Communicator* group) {
  const int ranks = group == nullptr ? 1 : group->size();
  const int held = routing.experts / ranks;
  Exchange x;
  x.top_k = routing.top_k;
  x.gathers = routing.gathers && group != nullptr;
  TRY(deliver(x, address(x, routing, held, ranks), group));
  lay_out_copies(x, held);
  return x;
}

Request send_rows(const Exchange& exchange, View sent, Buffer received, std::int64_t columns,
                  Communicator* group) {
  const std::vector<std::int64_t> in = times(exchange.received, columns);
  if (exchange.gathers) return group->start_all_gather(sent, received, in);
  return group->start_all_to_all(sent, times(exchange.sent, columns), received, in);
}

Request return_rows(const Exchange& exchange, View received, Buffer sent, std::int64_t columns,
                    Communicator* group) {
  return group->start_all_to_all(received, times(exchange.received, columns), sent,
                                 times(exchange.sent, columns));
}

Request scatter_sums(const Exchange& exchange, Buffer received, Buffer own, Communicator* group) {
  const std::vector<std::int64_t> rows(exchange.received.size(), own.count);
  return group->start_reduce_scatter(received, own, rows);
}

}  // namespace narrows
