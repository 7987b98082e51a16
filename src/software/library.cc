// SPDX-License-Identifier: Apache-2.0
#include "software/library.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "software/fitted.h"
#include "software/profile_json.h"

namespace narrows {
namespace embedded {
std::vector<EmbeddedFile> software();
}

namespace {

// "hwprofiles/software/hai-llm.json" -> "hai-llm"; "" if the file is no software profile.
std::string stem_of(const std::string& path) {
  constexpr std::string_view kFolder = "software/";
  constexpr std::string_view kSuffix = ".json";
  const std::size_t at = path.rfind(kFolder);
  if (at == std::string::npos || !path.ends_with(kSuffix)) return "";
  if (at > 0 && path[at - 1] != '/') return "";
  const std::size_t first = at + kFolder.size();
  if (first + kSuffix.size() >= path.size()) return "";
  const std::string stem = path.substr(first, path.size() - first - kSuffix.size());
  return stem.find('/') == std::string::npos ? stem : "";
}

// All profiles by name; the user's stand in front of those that are built in.
struct Shelf {
  std::map<std::string, EmbeddedFile> files;
  std::set<std::string> users;
  const std::vector<EmbeddedFile>& overrides;  // borrowed
};

Shelf shelf_of(const std::vector<EmbeddedFile>& overrides) {
  Shelf shelf{{}, {}, overrides};
  for (const EmbeddedFile& file : embedded::software()) shelf.files[stem_of(file.path)] = file;
  for (const EmbeddedFile& file : overrides) {
    const std::string stem = stem_of(file.path);
    if (stem.empty()) continue;
    shelf.files[stem] = file;
    shelf.users.insert(stem);
  }
  return shelf;
}

// Figures that may be fitted say in whose file their bounds stand.
void name_owner(Json& own, const std::string& name) {
  const std::vector<Json::Member> members = own.members();
  for (const auto& [key, figure] : members) {
    const Json* fit = figure.is_object() ? figure.find("fit") : nullptr;
    if (fit == nullptr || !fit->is_object() || fit->find("of") != nullptr) continue;
    Json bounds = *fit;
    bounds.set("of", name);
    Json named = figure;
    named.set("fit", std::move(bounds));
    own.set(key, std::move(named));
  }
}

// The JSON of the file itself, with what was fitted where it is built in.
Result<Json> own_json(const std::string& name, const Shelf& shelf) {
  const EmbeddedFile& file = shelf.files.at(name);
  Json own = TRY(parse_json(file.content, file.path));
  if (!own.is_object()) return own;
  name_owner(own, name);
  if (shelf.users.count(name) > 0) return own;
  return with_fitted(std::move(own), TRY(fitted_figures(shelf.overrides)));
}

constexpr int kLongestChain = 8;

Result<Json> inherited(const Json& own, const std::string& file, const Shelf& shelf, int depth);

// The whole profile that `own` is like.
Result<Json> parent_of(const Json& own, const std::string& like, const std::string& file,
                       const Shelf& shelf, int depth) {
  const std::string place = fmt::format("{}:{}: like", file, own.find("like")->line());
  const auto found = shelf.files.find(like);
  if (found == shelf.files.end()) {
    return invalid(fmt::format("{}: no profile is named \"{}\"", place, like.substr(0, 60)));
  }
  if (depth == kLongestChain) {
    return invalid(
        fmt::format("{}: expected a chain of at most {} profiles", place, kLongestChain));
  }
  const Json root = TRY(own_json(like, shelf));
  const Json whole = TRY(inherited(root, found->second.path, shelf, depth + 1));
  // Complain about the parent under the parent's name, so that what is wrong later is the file's
  // own.
  JsonObject object = TRY(JsonObject::of(whole, found->second.path));
  TRY(software_from_json(object));
  return whole;
}

// `own` with what it inherits, without its "like".
Result<Json> inherited(const Json& own, const std::string& file, const Shelf& shelf, int depth) {
  JsonObject object = TRY(JsonObject::of(own, file));
  if (!object.has("like")) return own;
  const std::string like = TRY(object.string("like"));
  Json whole = TRY(parent_of(own, like, file, shelf, depth));
  const Json* family = whole.find("family");
  const std::string root = family == nullptr ? like : family->string();
  for (const auto& [key, value] : own.members()) {
    if (key != "like") whole.set(key, value);
  }
  whole.set("family", root);
  whole.set_line(own.line());
  return whole;
}

}  // namespace

std::vector<std::string> software_names(const std::vector<EmbeddedFile>& overrides) {
  std::vector<std::string> names;
  for (const auto& [name, file] : shelf_of(overrides).files) names.push_back(name);
  return names;
}

Result<SoftwareProfile> parse_software(std::string_view text, const std::string& file,
                                       const std::vector<EmbeddedFile>& overrides) {
  const Json root = TRY(parse_json(text, file));
  const Json whole = TRY(inherited(root, file, shelf_of(overrides), 0));
  JsonObject object = TRY(JsonObject::of(whole, file));
  return software_from_json(object);
}

Result<SoftwareProfile> find_software(std::string_view name,
                                      const std::vector<EmbeddedFile>& overrides) {
  const Shelf shelf = shelf_of(overrides);
  const auto found = shelf.files.find(std::string(name));
  if (found == shelf.files.end()) {
    const std::string near = closest(name, software_names(overrides));
    return not_found(fmt::format(
        "unknown software \"{}\"; {}", name.substr(0, 60),
        near.empty() ? "`narrows list software` names all" : "did you mean \"" + near + "\"?"));
  }
  const std::string& file = found->second.path;
  const Json own = TRY(own_json(found->first, shelf));
  const Json whole = TRY(inherited(own, file, shelf, 0));
  JsonObject object = TRY(JsonObject::of(whole, file));
  SoftwareProfile profile = TRY(software_from_json(object));
  if (profile.name != name) {
    return invalid(fmt::format("{}: name: expected \"{}\" like the file, found \"{}\"", file, name,
                               profile.name.substr(0, 60)));
  }
  return profile;
}

Result<SoftwareProfile> load_software(const std::string& name_or_path,
                                      const std::vector<EmbeddedFile>& overrides) {
  const bool is_path =
      name_or_path.find('/') != std::string::npos || name_or_path.ends_with(".json");
  if (!is_path && name_or_path != "-") return find_software(name_or_path, overrides);
  const std::string text = TRY(read_file(name_or_path));
  return parse_software(text, name_or_path, overrides);
}

}  // namespace narrows
