// SPDX-License-Identifier: Apache-2.0
#include "hardware/profile_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>

#include "base/embedded.h"
#include "base/file.h"
#include "base/text.h"
#include "hardware/chip_json.h"
#include "hardware/cluster_json.h"
#include "hardware/figure_json.h"

namespace narrows {

namespace embedded {
std::vector<EmbeddedFile> hwprofiles();
}

namespace {

constexpr const char* kFolders[] = {"chips", "nodes", "clusters", "rules", "prices"};

// Paths of the JSON files of a folder, in order; none if there is no such folder.
Result<std::vector<std::string>> json_files(const std::filesystem::path& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) return paths;
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->path().extension() == ".json") paths.push_back(entry->path().string());
  }
  if (error) return io_error(fmt::format("{}: cannot list: {}", folder.string(), error.message()));
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string stem(const std::string& path) { return std::filesystem::path(path).stem().string(); }

// "; did you mean x?" with the variants of that name, else the nearest by spelling; "" if none is
// near.
std::string suggestion(const std::string& word, const std::vector<std::string>& known) {
  std::vector<std::string> near;
  for (const std::string& name : known) {
    if (near.size() < 3 && name.starts_with(word + "-")) near.push_back(name);
  }
  if (near.empty()) near.push_back(closest(word, known));
  return near.front().empty() ? "" : fmt::format("; did you mean {}?", fmt::join(near, " or "));
}

// A profile is found by its file's name, so the name inside must be the same.
Status same_name(JsonObject& object, const std::string& inside, const std::string& expected,
                 std::string_view key) {
  if (inside == expected) return {};
  return invalid(fmt::format("{}: expected \"{}\" as the file is called, found \"{}\"",
                             object.place(key), expected, inside));
}

// "h100" and 64 of "h100:64"; no count if there is no colon.
struct Spec {
  std::string name;
  std::optional<int> gpus;
};

Result<Spec> parse_spec(const std::string& spec) {
  const std::size_t colon = spec.find(':');
  if (colon == std::string::npos) return Spec{spec, {}};
  const Result<std::int64_t> count = parse_count(spec.substr(colon + 1));
  if (count && *count <= std::numeric_limits<int>::max())
    return Spec{spec.substr(0, colon), static_cast<int>(*count)};
  return invalid(fmt::format("{}: expected a number of GPUs after the colon, found \"{}\"", spec,
                             spec.substr(colon + 1)));
}

}  // namespace

Result<ProfileLibrary> ProfileLibrary::open(const std::optional<std::string>& directory) {
  ProfileLibrary library;
  constexpr std::string_view kPrefix = "hwprofiles/";
  for (EmbeddedFile& file : embedded::hwprofiles()) {
    library.files_[file.path.substr(kPrefix.size())] = {file.path, std::move(file.content)};
  }
  if (!directory) return library;
  std::error_code error;
  if (!std::filesystem::is_directory(*directory, error)) {
    return not_found(fmt::format("{}: expected a folder of profiles, found none", *directory));
  }
  std::vector<std::string> own;
  for (const char* folder : kFolders) {
    const std::vector<std::string> found =
        TRY(json_files(std::filesystem::path(*directory) / folder));
    for (const std::string& path : found) {
      own.push_back(fmt::format("{}/{}.json", folder, stem(path)));
      library.files_[own.back()] = {path, TRY(read_file(path))};
    }
  }
  const std::string sources = (std::filesystem::path(*directory) / "sources.json").string();
  if (std::filesystem::exists(sources, error)) {
    own.push_back("sources.json");
    library.files_[own.back()] = {sources, TRY(read_file(sources))};
  }
  for (const std::string& path : own) TRY(library.check(path));
  return library;
}

Status ProfileLibrary::check(const std::string& path) const {
  const std::string name = stem(path);
  if (path.starts_with("chips/")) TRY(chip(name));
  if (path.starts_with("nodes/")) TRY(node(name));
  if (path.starts_with("clusters/")) TRY(named_cluster(name));
  if (path.starts_with("rules/")) TRY(rules());
  if (path.starts_with("prices/")) {
    TRY(prices());
    TRY(ownership());
  }
  if (path == "sources.json") TRY(newest_date());
  return {};
}

std::vector<std::string> ProfileLibrary::names(const std::string& folder) const {
  std::vector<std::string> names;
  for (const auto& [path, file] : files_) {
    if (path.starts_with(folder + "/")) names.push_back(stem(path));
  }
  return names;
}

Result<Json> ProfileLibrary::document(const std::string& folder, const std::string& name,
                                      const std::string& what) const {
  const auto found = files_.find(folder + "/" + name + ".json");
  if (found != files_.end()) return parse_json(found->second.text, found->second.name);
  return not_found(
      fmt::format("{}: expected the name of a {}{}", name, what, suggestion(name, names(folder))));
}

Result<Chip> ProfileLibrary::chip(const std::string& name) const {
  const Json root = TRY(document("chips", name, "chip"));
  JsonObject object = TRY(JsonObject::of(root, files_.at("chips/" + name + ".json").name));
  const Chip chip = TRY(chip_from_json(object));
  TRY(same_name(object, chip.name, name, "name"));
  return chip;
}

Result<Cluster> ProfileLibrary::node(const std::string& name) const {
  const Json root = TRY(document("nodes", name, "node type"));
  JsonObject object = TRY(JsonObject::of(root, files_.at("nodes/" + name + ".json").name));
  const Cluster node = TRY(node_from_profile(
      object, {[this](const std::string& chip_name) { return chip(chip_name); }, {}}));
  TRY(same_name(object, node.name, name, "name"));
  return node;
}

Result<Cluster> ProfileLibrary::node_of(const std::string& chip_name) const {
  const Chip wanted = TRY(chip(chip_name));
  std::optional<Cluster> relative;
  for (const std::string& name : nodes()) {
    const Cluster found = TRY(node(name));
    if (found.chip.name == chip_name) return found;
    const bool alike = found.chip.name == wanted.kernels_like && found.chip.link && wanted.link &&
                       found.chip.link->value == wanted.link->value && wanted.link_bridge.empty();
    if (alike && !relative) relative = found;
  }
  if (!relative)
    return not_found(fmt::format("{}: expected a chip that a node type carries", chip_name));
  relative->chip = wanted;
  return *relative;
}

Result<Cluster> ProfileLibrary::named_cluster(const std::string& name) const {
  const Json root = TRY(document("clusters", name, "cluster"));
  JsonObject object = TRY(JsonObject::of(root, files_.at("clusters/" + name + ".json").name));
  const ProfileNames resolve{[this](const std::string& chip_name) { return chip(chip_name); },
                             [this](const std::string& node_name) { return node(node_name); }};
  const Cluster cluster = TRY(cluster_from_profile(object, resolve));
  TRY(same_name(object, cluster.name, name, "name"));
  return cluster;
}

Result<Cluster> ProfileLibrary::cluster_file(const std::string& path) const {
  const Json root = TRY(read_json(path));
  JsonObject object = TRY(JsonObject::of(root, path));
  return cluster_from_profile(object, {[this](const std::string& name) { return chip(name); },
                                       [this](const std::string& name) { return node(name); }});
}

Result<Cluster> ProfileLibrary::cluster(const std::string& spec, std::optional<int> gpus) const {
  if (spec.find('/') != std::string::npos || spec.ends_with(".json")) {
    const Cluster whole = TRY(cluster_file(spec));
    return gpus ? first_gpus(whole, *gpus, whole.name) : Result<Cluster>(whole);
  }
  const Spec parts = TRY(parse_spec(spec));
  if (parts.name == "local")
    return unsupported("local: a cluster of this machine's ranks is not built yet");
  if (!parts.gpus && files_.contains("clusters/" + spec + ".json")) {
    const Cluster whole = TRY(named_cluster(spec));
    return gpus ? first_gpus(whole, *gpus, spec) : Result<Cluster>(whole);
  }
  if (parts.gpus && files_.contains("clusters/" + parts.name + ".json")) {
    return invalid(fmt::format("{}: {} is a whole cluster; take its first GPUs with --gpus {}",
                               spec, parts.name, *parts.gpus));
  }
  if (!files_.contains("nodes/" + parts.name + ".json")) {
    std::vector<std::string> known = clusters();
    for (const std::string& name : nodes()) known.push_back(name);
    const std::string near = closest(parts.name, known);
    const bool counted = files_.contains("nodes/" + near + ".json");
    const std::string count = !counted ? "" : parts.gpus ? fmt::format(":{}", *parts.gpus) : ":N";
    return not_found(fmt::format(
        "{}: expected a cluster, a node type with a number of GPUs such as h100:64, or a file{}",
        spec, near.empty() ? "" : "; did you mean " + near + count + "?"));
  }
  const std::optional<int> count = parts.gpus ? parts.gpus : gpus;
  if (!count)
    return invalid(
        fmt::format("{}: expected a number of GPUs after the node type, as in {}:8", spec, spec));
  const Cluster type = TRY(node(parts.name));
  Cluster made = TRY(first_gpus(type, *count, spec));
  made.name = fmt::format("{}:{}", parts.name, *count);
  if (gpus && parts.gpus) made = TRY(first_gpus(made, *gpus, spec));
  return made;
}

Result<std::vector<ExportRule>> ProfileLibrary::rules() const {
  std::vector<ExportRule> rules;
  for (const std::string& name : names("rules")) {
    const File& file = files_.at("rules/" + name + ".json");
    const Json root = TRY(parse_json(file.text, file.name));
    JsonObject object = TRY(JsonObject::of(root, file.name));
    rules.push_back(TRY(export_rule_from_json(object)));
    TRY(same_name(object, rules.back().id, name, "id"));
  }
  std::stable_sort(rules.begin(), rules.end(),
                   [](const ExportRule& a, const ExportRule& b) { return a.date < b.date; });
  return rules;
}

Result<std::vector<Price>> ProfileLibrary::prices() const {
  std::vector<Price> prices;
  for (const std::string& name : names("prices")) {
    if (name == "ownership") continue;
    const File& file = files_.at("prices/" + name + ".json");
    const Json root = TRY(parse_json(file.text, file.name));
    JsonObject object = TRY(JsonObject::of(root, file.name));
    const std::vector<Price> more = TRY(prices_from_json(object));
    prices.insert(prices.end(), more.begin(), more.end());
  }
  return prices;
}

Result<OwnershipFigures> ProfileLibrary::ownership() const {
  const File& file = files_.at("prices/ownership.json");
  const Json root = TRY(parse_json(file.text, file.name));
  JsonObject object = TRY(JsonObject::of(root, file.name));
  return ownership_from_json(object);
}

Result<Source> ProfileLibrary::source(const std::string& id) const {
  const File& file = files_.at("sources.json");
  const Json root = TRY(parse_json(file.text, file.name));
  JsonObject object = TRY(JsonObject::of(root, file.name));
  JsonObject sources = TRY(object.object("sources"));
  if (!sources.has(id)) return not_found(fmt::format("{}: expected an id of {}", id, file.name));
  JsonObject entry = TRY(sources.object(id));
  Source source;
  source.title = TRY(entry.string("title"));
  source.url = TRY(entry.string_or("url", ""));
  source.reliability = TRY(entry.string_or("reliability", ""));
  TRY(entry.finish());
  return source;
}

Result<std::string> ProfileLibrary::newest_date() const {
  const File& file = files_.at("sources.json");
  const Json root = TRY(parse_json(file.text, file.name));
  JsonObject object = TRY(JsonObject::of(root, file.name));
  std::string newest = TRY(object.string("compiled"));
  if (!is_date(newest)) {
    return invalid(fmt::format("{}: expected a date such as \"2026-11-21\", found \"{}\"",
                               object.place("compiled"), newest));
  }
  const std::vector<Price> all_prices = TRY(prices());
  for (const Price& price : all_prices) newest = std::max(newest, price.date);
  const std::vector<ExportRule> all_rules = TRY(rules());
  for (const ExportRule& rule : all_rules) newest = std::max(newest, rule.date);
  return newest;
}

}  // namespace narrows
