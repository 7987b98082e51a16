// SPDX-License-Identifier: Apache-2.0
#include "model/builtin.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>

#include "base/text.h"
#include "model/import.h"
#include "model/recipe.h"
#include "model/spec_json.h"

namespace narrows::embedded {
std::vector<EmbeddedFile> models();
}

namespace narrows {
namespace {

constexpr std::int64_t kMostTokens = 1'000'000'000'000'000'000;
constexpr std::int64_t kMostSequences = 1'000'000'000;

// Model files by the name of their model, overrides applied.
std::map<std::string, EmbeddedFile> model_files(const std::vector<EmbeddedFile>& overrides) {
  std::map<std::string, EmbeddedFile> files;
  for (EmbeddedFile& file : embedded::models()) {
    const std::string stem = std::filesystem::path(file.path).stem().string();
    files[stem] = std::move(file);
  }
  for (const EmbeddedFile& file : overrides) {
    const std::filesystem::path path(file.path);
    if (path.extension() == ".json" && path.parent_path().filename() == "models")
      files[path.stem().string()] = file;
  }
  return files;
}

Result<std::string> nonempty(JsonObject& object, std::string_view key) {
  const std::string text = TRY(object.string(key));
  if (text.empty())
    return invalid(fmt::format("{}: expected a source, found \"\"", object.place(key)));
  return text;
}

Result<std::int64_t> token_count(JsonObject& object) {
  if (!object.has("tokens")) return 0;
  const std::string text = TRY(object.string("tokens"));
  const Result<std::int64_t> count = parse_count(text);
  if (!count || *count < 1 || *count > kMostTokens) {
    return invalid(fmt::format("{}: expected a count such as \"14.8T\", found \"{}\"",
                               object.place("tokens"), text));
  }
  return *count;
}

Result<std::string> recipe_name(JsonObject& object) {
  const std::string name = TRY(object.string_or("recipe", ""));
  if (name.empty() || recipe_of(name)) return name;
  std::string known;
  for (const Recipe recipe : all_recipes()) known += " " + to_string(recipe);
  return invalid(
      fmt::format("{}: expected one of{}, found \"{}\"", object.place("recipe"), known, name));
}

Result<PublishedTraining> read_training(JsonObject object) {
  PublishedTraining training;
  training.sequence = TRY(object.integer("sequence", 1, limits::kPositions));
  training.global_batch = TRY(object.integer_or("global_batch", 1, kMostSequences, 0));
  training.tokens = TRY(token_count(object));
  training.recipe = TRY(recipe_name(object));
  training.source = TRY(nonempty(object, "source"));
  TRY(object.finish());
  return training;
}

Result<std::vector<std::string>> read_aliases(JsonObject& object) {
  std::vector<std::string> aliases;
  if (!object.has("aliases")) return aliases;
  const Json* list = TRY(object.array("aliases"));
  for (const Json& alias : list->items()) {
    if (!alias.is_string() || alias.string().empty()) {
      return invalid(fmt::format("{}: expected names, found {}", object.place("aliases"),
                                 alias.description()));
    }
    aliases.push_back(alias.string());
  }
  return aliases;
}

Result<BuiltinModel> read_file(const std::string& stem, const EmbeddedFile& file) {
  const Json node = TRY(parse_json(file.content, file.path));
  BuiltinModel model = TRY(model_file_from_json(node, file.path));
  if (model.spec.name != stem) {
    return invalid(fmt::format("{}: model.name: expected \"{}\", the file's name, found \"{}\"",
                               file.path, stem, model.spec.name));
  }
  return model;
}

bool is_path(const std::string& word) {
  return word == "-" || word.find('/') != std::string::npos || word.ends_with(".json");
}

bool is_file(const std::string& word) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(word, ignored);
}

Result<BuiltinModel> read_model(const std::string& path) {
  const Json node = TRY(read_json(path));
  if (node.find("model") != nullptr) return model_file_from_json(node, path);
  BuiltinModel model;
  model.spec = TRY(import_config(node, path));
  model.source = path;
  return model;
}

}  // namespace

Result<BuiltinModel> model_file_from_json(const Json& node, const std::string& file) {
  JsonObject object = TRY(JsonObject::of(node, file));
  BuiltinModel model;
  model.source = TRY(nonempty(object, "source"));
  model.aliases = TRY(read_aliases(object));
  JsonObject spec = TRY(object.object("model"));
  model.spec = TRY(model_from_json(spec));
  if (object.has("training")) {
    const JsonObject training = TRY(object.object("training"));
    model.training = TRY(read_training(training));
  }
  TRY(object.finish());
  return model;
}

Result<BuiltinModel> builtin_model(const std::string& name,
                                   const std::vector<EmbeddedFile>& overrides) {
  const std::map<std::string, EmbeddedFile> files = model_files(overrides);
  const auto exact = files.find(name);
  if (exact != files.end()) return read_file(exact->first, exact->second);
  std::vector<std::string> known;
  for (const auto& [stem, file] : files) {
    BuiltinModel model = TRY(read_file(stem, file));
    known.push_back(stem);
    known.insert(known.end(), model.aliases.begin(), model.aliases.end());
    if (std::find(model.aliases.begin(), model.aliases.end(), name) != model.aliases.end())
      return model;
  }
  const std::string near = closest(name, known);
  return not_found(fmt::format(
      "model \"{}\": expected a built-in name or a path to a config.json, found neither{}", name,
      near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
}

std::vector<std::string> builtin_model_names(const std::vector<EmbeddedFile>& overrides) {
  std::vector<std::string> names;
  for (const auto& [stem, file] : model_files(overrides)) names.push_back(stem);
  return names;
}

Result<BuiltinModel> load_model(const std::string& name_or_path,
                                const std::vector<EmbeddedFile>& overrides) {
  if (is_path(name_or_path)) return read_model(name_or_path);
  Result<BuiltinModel> model = builtin_model(name_or_path, overrides);
  if (!model && model.error().code == ErrorCode::NotFound && is_file(name_or_path))
    return read_model(name_or_path);
  return model;
}

PublishedTraining default_training(const BuiltinModel& model) {
  PublishedTraining training = model.training.value_or(PublishedTraining{});
  std::string assumed;
  if (training.sequence == 0) {
    const int most = model.spec.max_positions;
    training.sequence = most > 0 ? std::min(4096, most) : 4096;
    assumed = fmt::format("sequence {} assumed", training.sequence);
  }
  if (training.global_batch == 0) {
    training.global_batch = std::max<std::int64_t>(1, (4 << 20) / training.sequence);
    assumed += fmt::format("{}global batch {} (4 Mi tokens) assumed", assumed.empty() ? "" : ", ",
                           training.global_batch);
  }
  if (!assumed.empty()) training.source += (training.source.empty() ? "" : "; ") + assumed;
  return training;
}

}  // namespace narrows
