// SPDX-License-Identifier: Apache-2.0
#include "cost/collective_time_constants.h"

#include <map>

#include "base/json.h"

namespace narrows {

namespace embedded {
std::vector<EmbeddedFile> collectives_network();
}  // namespace embedded

namespace {

Result<AlgorithmConstants> read_algorithm(JsonObject object) {
  AlgorithmConstants how;
  how.base = TRY(object.quantity<Seconds>("base"));
  how.inner_hop = TRY(object.quantity<Seconds>("inner_hop"));
  how.outer_hop = TRY(object.quantity<Seconds>("outer_hop"));
  how.efficiency = TRY(object.number("efficiency", 1e-6, 1));
  TRY(object.string("source"));
  TRY(object.finish());
  return how;
}

Status read_algorithms(JsonObject& root, NetworkConstants& constants) {
  std::map<std::string, AlgorithmConstants*> missing = {
      {"ring", &constants.ring},
      {"ring_low_latency", &constants.ring_low_latency},
      {"tree", &constants.tree},
      {"tree_low_latency", &constants.tree_low_latency},
      {"in_network", &constants.in_network},
      {"doubling", &constants.doubling}};
  const Json* list = TRY(root.array("algorithms"));
  for (const Json& item : list->items()) {
    JsonObject object = TRY(JsonObject::of(item, root.file(), "algorithms"));
    const std::string name = TRY(object.string("name"));
    const auto found = missing.find(name);
    if (found == missing.end()) {
      return invalid(object.place("name") + ": \"" + name + "\" is unknown or stands twice");
    }
    *found->second = TRY(read_algorithm(object));
    missing.erase(found);
  }
  if (!missing.empty()) {
    return invalid(root.place("algorithms") + ": \"" + missing.begin()->first + "\" is missing");
  }
  return {};
}

Status read_all_to_all(JsonObject object, NetworkConstants& constants) {
  constants.all_to_all_share = TRY(object.number("of_plateau", 1e-6, 1));
  constants.all_to_all_base = TRY(object.quantity<Seconds>("base"));
  constants.all_to_all_peer = TRY(object.quantity<Seconds>("peer"));
  constants.all_to_all_start = TRY(object.quantity<Seconds>("start"));
  constants.all_to_all_full = TRY(object.quantity<Bytes>("full"));
  TRY(object.string("source"));
  return object.finish();
}

}  // namespace

Result<NetworkConstants> parse_network_constants(const EmbeddedFile& file) {
  const Json root = TRY(parse_json(file.content, file.path));
  JsonObject object = TRY(JsonObject::of(root, file.path));
  NetworkConstants constants;
  TRY(read_algorithms(object, constants));
  JsonObject plateau = TRY(object.object("plateau"));
  constants.plateau_of_nominal = TRY(plateau.number("of_nominal", 1e-6, 1));
  constants.plateau_of_usable = TRY(plateau.number("of_usable", 1, 10));
  TRY(plateau.string("source"));
  TRY(plateau.finish());
  const JsonObject all_to_all = TRY(object.object("all_to_all"));
  TRY(read_all_to_all(all_to_all, constants));
  constants.error = TRY(object.number("error", 0, 1));
  TRY(object.finish());
  return constants;
}

const NetworkConstants& network_constants() {
  // A constant, parsed once: the file is part of the program.
  static const NetworkConstants constants = [] {
    Result<NetworkConstants> parsed =
        parse_network_constants(embedded::collectives_network().front());
    ASSERT(parsed.has_value());
    return *parsed;
  }();
  return constants;
}

}  // namespace narrows
