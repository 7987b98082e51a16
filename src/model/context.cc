// SPDX-License-Identifier: Apache-2.0
#include "model/context.h"

#include <algorithm>

namespace narrows {

std::string to_string(ContextExchange exchange) {
  switch (exchange) {
    case ContextExchange::AllGather:
      return "all-gather";
    case ContextExchange::Ring:
      return "ring";
    case ContextExchange::AllToAll:
      return "all-to-all";
  }
  return "";
}

std::optional<ContextExchange> context_exchange_of(std::string_view name) {
  for (const ContextExchange exchange :
       {ContextExchange::AllGather, ContextExchange::Ring, ContextExchange::AllToAll}) {
    if (to_string(exchange) == name) return exchange;
  }
  return std::nullopt;
}

bool spreads(ContextExchange exchange, const AttentionSpec& attention, int tp, int cp) {
  if (exchange != ContextExchange::AllToAll) return true;
  const bool latent = attention.kind == AttentionKind::Mla;
  const int heads = attention.heads / tp;
  const int kv_heads = latent ? heads : std::max(1, attention.kv_heads / tp);
  return heads % cp == 0 && kv_heads % cp == 0;
}

}  // namespace narrows
