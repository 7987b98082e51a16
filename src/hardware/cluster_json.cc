// SPDX-License-Identifier: Apache-2.0
#include "hardware/cluster_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "hardware/chip_json.h"
#include "hardware/figure_json.h"

namespace narrows {
namespace {

constexpr int kMostGpus = 1 << 24;

Result<Level> read_level(JsonObject& object) {
  Level level;
  level.name = TRY(read_name(object, "name"));
  level.group = static_cast<int>(TRY(object.integer_or("group", 1, kMostGpus, 0)));
  level.nominal = TRY(read_figure<Bandwidth>(object, "nominal"));
  level.usable = TRY(read_figure<Bandwidth>(object, "usable"));
  level.latency = TRY(read_figure<Seconds>(object, "latency", true));
  level.in_network_reduction = TRY(object.boolean_or("in_network_reduction", false));
  level.oversubscription = TRY(object.number_or("oversubscription", 1, 1000, 1));
  level.forwarded = level.usable;
  if (object.has("forwarded")) level.forwarded = TRY(read_figure<Bandwidth>(object, "forwarded"));
  TRY(object.finish());
  for (const char* key : {"usable", "forwarded"}) {
    const Bandwidth rate =
        key == std::string_view("usable") ? level.usable.value : level.forwarded.value;
    if (rate > level.nominal.value) {
      return invalid(fmt::format("{}: expected at most the nominal {}, found {}", object.place(key),
                                 exact_text(level.nominal.value), exact_text(rate)));
    }
  }
  return level;
}

Result<std::vector<Level>> read_levels(JsonObject& object) {
  const Json* array = TRY(object.array("levels"));
  std::vector<Level> levels;
  for (const Json& item : array->items()) {
    JsonObject entry =
        TRY(JsonObject::of(item, object.file(), fmt::format("levels[{}]", levels.size())));
    levels.push_back(TRY(read_level(entry)));
    const bool outermost = levels.size() == array->items().size();
    const int inner = levels.size() > 1 ? levels[levels.size() - 2].group : 0;
    if (levels.back().group > inner || (outermost && levels.back().group == 0)) continue;
    return invalid(
        fmt::format("{}: expected a group of more than {} GPUs, found {}", entry.place("group"),
                    inner, levels.back().group == 0 ? "none" : with_commas(levels.back().group)));
  }
  if (!levels.empty()) return levels;
  return invalid(
      fmt::format("{}: expected at least one level, found none", object.place("levels")));
}

Result<std::vector<double>> read_numbers(JsonObject& object, const char* key) {
  const Json* array = TRY(object.array(key));
  std::vector<double> numbers;
  for (const Json& item : array->items()) {
    const bool rises =
        item.is_number() && item.number() > 0 &&
        (numbers.empty() || key != std::string_view("bytes") || item.number() > numbers.back());
    if (!rises) return invalid(object.place(key) + ": expected numbers above 0, bytes ascending");
    numbers.push_back(item.number());
  }
  if (!numbers.empty()) return numbers;
  return invalid(object.place(key) + ": expected at least one number");
}

Result<MeasuredCollective> read_collective(JsonObject& object) {
  MeasuredCollective curve;
  curve.what = TRY(object.string("what"));
  curve.ranks = static_cast<int>(TRY(object.integer("ranks", 2, kMostGpus)));
  const std::vector<double> bytes = TRY(read_numbers(object, "bytes"));
  const std::vector<double> seconds = TRY(read_numbers(object, "seconds"));
  if (bytes.size() != seconds.size()) {
    return invalid(fmt::format("{}: expected {} numbers, as many as bytes, found {}",
                               object.place("seconds"), bytes.size(), seconds.size()));
  }
  TRY(object.finish());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    curve.points.push_back({bytes[i] * byte, seconds[i] * sec});
  return curve;
}

Status read_collectives(JsonObject& object, Cluster& cluster) {
  if (!object.has("collectives")) return {};
  cluster.collectives.clear();
  const Json* array = TRY(object.array("collectives"));
  for (const Json& item : array->items()) {
    JsonObject entry = TRY(JsonObject::of(
        item, object.file(), fmt::format("collectives[{}]", cluster.collectives.size())));
    cluster.collectives.push_back(TRY(read_collective(entry)));
  }
  return {};
}

// What a node type and a cluster share; fields that are absent keep what `cluster` has already.
Status read_common(JsonObject& object, const ProfileNames& names, Cluster& cluster) {
  cluster.name = TRY(read_name(object, "name", true));
  cluster.title = TRY(object.string_or("title", cluster.name));
  const Json* chip = object.node().find("chip");
  if (chip != nullptr && chip->is_string() && names.chip) {
    const Result<Chip> found = names.chip(TRY(object.string("chip")));
    if (!found) return tl::unexpected(found.error().within(object.place("chip")));
    cluster.chip = *found;
  } else if (chip != nullptr || cluster.chip.name.empty()) {
    JsonObject whole = TRY(object.object("chip"));
    cluster.chip = TRY(chip_from_json(whole));
  }
  const int node = cluster.levels.empty() ? 0 : cluster.gpus_per_node;
  cluster.gpus_per_node =
      static_cast<int>(node > 0 ? TRY(object.integer_or("gpus_per_node", 1, 4096, node))
                                : TRY(object.integer("gpus_per_node", 1, 4096)));
  if (object.has("levels") || cluster.levels.empty()) cluster.levels = TRY(read_levels(object));
  if (object.has("price")) cluster.price = TRY(read_figure<PricePerTime>(object, "price"));
  cluster.price_date = TRY(object.string_or("price_date", cluster.price_date));
  if (!cluster.price_date.empty() && !is_date(cluster.price_date)) {
    return invalid(fmt::format("{}: expected a date such as \"2024-12\", found \"{}\"",
                               object.place("price_date"), cluster.price_date));
  }
  if (object.has("node_power")) cluster.node_power = TRY(read_figure<Watts>(object, "node_power"));
  cluster.software = TRY(object.string_or("software", cluster.software));
  TRY(read_collectives(object, cluster));
  cluster.notes = TRY(object.string_or("notes", cluster.notes));
  return {};
}

Json collective_json(const MeasuredCollective& curve) {
  Json bytes = Json::array(), seconds = Json::array();
  for (const MeasuredCollective::Point& point : curve.points) {
    bytes.push(point.bytes / byte);
    seconds.push(point.time / sec);
  }
  Json object = Json::object();
  object.set("what", curve.what).set("ranks", curve.ranks);
  object.set("bytes", std::move(bytes)).set("seconds", std::move(seconds));
  return object;
}

Json level_json(const Level& level) {
  Json object = Json::object();
  object.set("name", level.name).set("group", level.group);
  object.set("nominal", to_json(level.nominal)).set("usable", to_json(level.usable));
  object.set("latency", to_json(level.latency)).set("forwarded", to_json(level.forwarded));
  object.set("in_network_reduction", level.in_network_reduction)
      .set("oversubscription", level.oversubscription);
  return object;
}

}  // namespace

Result<Cluster> node_from_profile(JsonObject& object, const ProfileNames& names) {
  Cluster node;
  TRY(read_common(object, names, node));
  TRY(object.finish());
  node.node = node.name;
  node.levels.back().group = 0;
  return node;
}

Result<Cluster> cluster_from_profile(JsonObject& object, const ProfileNames& names) {
  Cluster cluster;
  const std::string node = TRY(object.string_or("node", ""));
  if (!node.empty() && names.node) {
    const Result<Cluster> type = names.node(node);
    if (!type) return tl::unexpected(type.error().within(object.place("node")));
    cluster = *type;
    cluster.notes.clear();
  }
  cluster.node = node;
  TRY(read_common(object, names, cluster));
  cluster.gpus = static_cast<int>(TRY(object.integer("gpus", 1, kMostGpus)));
  TRY(object.finish());
  const int joined = cluster.levels.back().group;
  if (joined != 0 && joined < cluster.gpus) {
    return invalid(fmt::format("{}: expected an outermost level that joins all {} GPUs, found {}",
                               object.place("levels"), with_commas(cluster.gpus),
                               with_commas(joined)));
  }
  return first_gpus(cluster, cluster.gpus, cluster.name);
}

Result<Cluster> cluster_from_json(JsonObject& object) { return cluster_from_profile(object, {}); }

Json to_json(const Cluster& cluster) {
  Json object = Json::object();
  object.set("name", cluster.name).set("title", cluster.title);
  if (!cluster.node.empty()) object.set("node", cluster.node);
  object.set("gpus", cluster.gpus).set("gpus_per_node", cluster.gpus_per_node);
  object.set("chip", to_json(cluster.chip));
  Json levels = Json::array();
  for (const Level& level : cluster.levels) levels.push(level_json(level));
  object.set("levels", std::move(levels));
  if (cluster.price.value > PricePerTime()) {
    object.set("price", to_json(cluster.price));
    if (!cluster.price_date.empty()) object.set("price_date", cluster.price_date);
  }
  if (cluster.node_power.value > Watts()) object.set("node_power", to_json(cluster.node_power));
  if (!cluster.software.empty()) object.set("software", cluster.software);
  if (!cluster.collectives.empty()) {
    Json curves = Json::array();
    for (const MeasuredCollective& curve : cluster.collectives) curves.push(collective_json(curve));
    object.set("collectives", std::move(curves));
  }
  if (!cluster.notes.empty()) object.set("notes", cluster.notes);
  return object;
}

Result<Cluster> first_gpus(Cluster cluster, int gpus, const std::string& spec) {
  const int most = cluster.gpus > 0 ? cluster.gpus : kMostGpus;
  const int node = cluster.gpus_per_node;
  if (gpus < 1 || gpus > most) {
    return invalid(fmt::format("{}: expected 1 to {} GPUs, found {}", spec, with_commas(most),
                               with_commas(gpus)));
  }
  if (gpus > node && gpus % node != 0) {
    const int below = gpus / node * node;
    const std::string nearest = below + node <= most
                                    ? fmt::format("the nearest are {} and {}", with_commas(below),
                                                  with_commas(below + node))
                                    : fmt::format("the nearest is {}", with_commas(below));
    return invalid(
        fmt::format("{}: expected at most one node of {} GPUs or a multiple of it, found {}; {}",
                    spec, node, with_commas(gpus), nearest));
  }
  std::size_t used = 1;
  while (used < cluster.levels.size() && cluster.levels[used - 1].group < gpus) ++used;
  cluster.levels.resize(used);
  cluster.levels.back().group = gpus;
  cluster.gpus = gpus;
  return cluster;
}

}  // namespace narrows
