// SPDX-License-Identifier: Apache-2.0
#include "software/profile.h"

namespace narrows {

std::string to_string(Dispatcher dispatcher) {
  switch (dispatcher) {
    case Dispatcher::DeepEp:
      return "deepep";
    case Dispatcher::AllToAll:
      return "all-to-all";
    case Dispatcher::AllGather:
      return "all-gather";
  }
  return "";
}

std::optional<Dispatcher> dispatcher_of(std::string_view name) {
  for (const Dispatcher d : {Dispatcher::DeepEp, Dispatcher::AllToAll, Dispatcher::AllGather}) {
    if (to_string(d) == name) return d;
  }
  return std::nullopt;
}

std::string to_string(GraphScope scope) {
  switch (scope) {
    case GraphScope::None:
      return "none";
    case GraphScope::Router:
      return "router";
    case GraphScope::Attention:
      return "attention";
    case GraphScope::Pass:
      return "pass";
  }
  return "";
}

std::optional<GraphScope> graph_scope_of(std::string_view name) {
  for (const GraphScope s :
       {GraphScope::None, GraphScope::Router, GraphScope::Attention, GraphScope::Pass}) {
    if (to_string(s) == name) return s;
  }
  return std::nullopt;
}

}  // namespace narrows
