// SPDX-License-Identifier: Apache-2.0
#include "cli/settings.h"

#include <fmt/format.h>

#include <optional>

#include "base/text.h"
#include "hardware/cluster_json.h"
#include "model/spec_json.h"
#include "software/profile_json.h"

namespace narrows {
namespace {

using Steps = std::vector<std::string>;

Steps steps_of(const std::string& path) {
  Steps steps(1);
  for (const char c : path) {
    if (c == '.') {
      steps.emplace_back();
    } else {
      steps.back() += c;
    }
  }
  return steps;
}

// The words as the kind of value that stood there.
Json value_like(const Json& old, const std::string& words) {
  if (old.is_string()) return words;
  if (words == "true" || words == "false") return words == "true";
  if (words == "null") return {};
  if (const Result<std::int64_t> whole = parse_count(words)) return *whole;
  if (const Result<double> number = parse_number(words)) return *number;
  return words;
}

Json leaf(const Json& old, const std::string& words) {
  if (!old.is_object() || old.find("value") == nullptr) return value_like(old, words);
  Json figure = Json::object();
  figure.set("value", value_like(*old.find("value"), words));
  figure.set("source", "--set");
  return figure;
}

tl::unexpected<Error> no_step(const Setting& setting, const std::string& step, const Json& node) {
  std::vector<std::string> known;
  if (node.is_object()) {
    for (const auto& [key, value] : node.members()) known.push_back(key);
  }
  const std::string near = closest(step, known);
  if (node.is_array())
    return invalid(fmt::format("--set {}: expected an index below {}, found \"{}\"", setting.path,
                               node.items().size(), step));
  return invalid(fmt::format("--set {}: \"{}\" is not there; {}", setting.path, step,
                             !near.empty() ? fmt::format("did you mean \"{}\"?", near)
                             : known.empty()
                                 ? "the value before it has no parts"
                                 : fmt::format("expected one of {}", fmt::join(known, " "))));
}

// "0" to "size - 1".
std::optional<std::size_t> index_of(const std::string& step, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    if (step == fmt::format("{}", i)) return i;
  }
  return {};
}

// `node` with the value at `steps` (from `at` on) replaced.
Result<Json> replaced(const Json& node, const Steps& steps, std::size_t at,
                      const Setting& setting) {
  if (at == steps.size()) return leaf(node, setting.value);
  if (node.is_array()) {
    const std::optional<std::size_t> index = index_of(steps[at], node.items().size());
    if (!index) return no_step(setting, steps[at], node);
    Json array = Json::array();
    for (std::size_t i = 0; i < node.items().size(); ++i) {
      const Json& item = node.items()[i];
      array.push(i == *index ? TRY(replaced(item, steps, at + 1, setting)) : item);
    }
    return array;
  }
  const Json* child = node.is_object() ? node.find(steps[at]) : nullptr;
  if (child == nullptr) return no_step(setting, steps[at], node);
  Json object = node;
  object.set(steps[at], TRY(replaced(*child, steps, at + 1, setting)));
  return object;
}

template <typename T, typename Reader>
Status change(T& target, const Steps& steps, const Setting& setting, Reader read) {
  const Json changed = TRY(replaced(to_json(target), steps, 1, setting));
  JsonObject object = TRY(JsonObject::of(
      changed, fmt::format("--set {}={}", setting.path, setting.value), steps.front()));
  target = TRY(read(object));
  return {};
}

}  // namespace

Status apply(const std::vector<Setting>& settings, ModelSpec& model, Cluster& cluster,
             SoftwareProfile& software) {
  for (const Setting& setting : settings) {
    const Steps steps = steps_of(setting.path);
    if (steps.front() == "cluster" && steps.size() > 1) {
      TRY(change(cluster, steps, setting, cluster_from_json));
    } else if (steps.front() == "software" && steps.size() > 1) {
      TRY(change(software, steps, setting, software_from_json));
    } else if (steps.front() == "model" && steps.size() > 1) {
      TRY(change(model, steps, setting, model_from_json));
    } else {
      return invalid(
          fmt::format("--set {}: expected a path that begins with cluster., software. or model.",
                      setting.path));
    }
  }
  return {};
}

}  // namespace narrows
