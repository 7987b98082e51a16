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
    case Dispatcher::PerRank:
      return "per-rank";
  }
  return "";
}

std::optional<Dispatcher> dispatcher_of(std::string_view name) {
  for (const Dispatcher d :
       {Dispatcher::DeepEp, Dispatcher::AllToAll, Dispatcher::AllGather, Dispatcher::PerRank}) {
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

Dtype stored_dtype(const SoftwareProfile& software, Recipe recipe) {
  return software.wide_storage ? Dtype::F32 : activation_dtype(recipe);
}

}  // namespace narrows
