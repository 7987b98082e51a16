// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "base/json.h"
#include "base/text.h"

namespace narrows {

Result<JsonObject> JsonObject::of(const Json& node, const std::string& file,
                                  const std::string& path) {
  JsonObject object(node, file, path);
  if (!node.is_object()) {
    return invalid(
        fmt::format("{}: expected an object, found {}", object.place(), node.description()));
  }
  return object;
}

std::string JsonObject::place(std::string_view key) const {
  const Json* node = key.empty() ? nullptr : node_->find(key);
  const int line = node != nullptr ? node->line() : node_->line();
  std::string path = path_;
  if (!key.empty()) path += (path.empty() ? "" : ".") + std::string(key);
  std::string place = line > 0 ? fmt::format("{}:{}", file_, line) : file_;
  if (!path.empty()) place += ": " + path;
  return place;
}

tl::unexpected<Error> JsonObject::wrong(std::string_view key, std::string_view expected,
                                        const Json& found) const {
  return invalid(
      fmt::format("{}: expected {}, found {}", place(key), expected, found.description()));
}

Result<const Json*> JsonObject::require(std::string_view key, std::string_view expected) {
  asked_.emplace(key);
  const Json* node = node_->find(key);
  if (node == nullptr) {
    return invalid(fmt::format("{}: expected {}, found no such key", place(key), expected));
  }
  return node;
}

bool JsonObject::has(std::string_view key) {
  asked_.emplace(key);
  const Json* node = node_->find(key);
  return node != nullptr && !node->is_null();
}

void JsonObject::skip(std::string_view key) { asked_.emplace(key); }

Result<std::string> JsonObject::string(std::string_view key) {
  const Json* node = TRY(require(key, "a string"));
  if (!node->is_string()) return wrong(key, "a string", *node);
  return node->string();
}

Result<bool> JsonObject::boolean(std::string_view key) {
  const Json* node = TRY(require(key, "true or false"));
  if (node->kind() != Json::Kind::Bool) return wrong(key, "true or false", *node);
  return node->boolean();
}

Result<std::int64_t> JsonObject::integer(std::string_view key, std::int64_t least,
                                         std::int64_t most) {
  const std::string expected = fmt::format("a whole number from {} to {}", least, most);
  const Json* node = TRY(require(key, expected));
  if (node->kind() != Json::Kind::Integer || node->integer() < least || node->integer() > most) {
    return wrong(key, expected, *node);
  }
  return node->integer();
}

Result<double> JsonObject::number(std::string_view key, double least, double most) {
  const std::string expected = fmt::format("a number from {} to {}", least, most);
  const Json* node = TRY(require(key, expected));
  if (!node->is_number() || !(node->number() >= least && node->number() <= most))
    return wrong(key, expected, *node);
  return node->number();
}

Result<const Json*> JsonObject::array(std::string_view key) {
  const Json* node = TRY(require(key, "an array"));
  if (!node->is_array()) return wrong(key, "an array", *node);
  return node;
}

Result<JsonObject> JsonObject::object(std::string_view key) {
  const Json* node = TRY(require(key, "an object"));
  return of(*node, file_, path_.empty() ? std::string(key) : path_ + "." + std::string(key));
}

template <typename Q>
Result<Q> JsonObject::quantity(std::string_view key) {
  const Json* node = TRY(require(key, expected_text<Q>()));
  if (!node->is_string()) return wrong(key, expected_text<Q>(), *node);
  const Result<Q> parsed = parse_quantity<Q>(node->string());
  if (!parsed || *parsed < Q()) return wrong(key, expected_text<Q>(), *node);
  return *parsed;
}

template Result<Seconds> JsonObject::quantity<Seconds>(std::string_view);
template Result<Bytes> JsonObject::quantity<Bytes>(std::string_view);
template Result<Bandwidth> JsonObject::quantity<Bandwidth>(std::string_view);
template Result<FlopRate> JsonObject::quantity<FlopRate>(std::string_view);
template Result<Frequency> JsonObject::quantity<Frequency>(std::string_view);
template Result<Watts> JsonObject::quantity<Watts>(std::string_view);
template Result<Area> JsonObject::quantity<Area>(std::string_view);
template Result<Dollars> JsonObject::quantity<Dollars>(std::string_view);
template Result<PricePerTime> JsonObject::quantity<PricePerTime>(std::string_view);

Result<std::string> JsonObject::string_or(std::string_view key, std::string fallback) {
  if (!has(key)) return fallback;
  return string(key);
}
Result<bool> JsonObject::boolean_or(std::string_view key, bool fallback) {
  if (!has(key)) return fallback;
  return boolean(key);
}
Result<std::int64_t> JsonObject::integer_or(std::string_view key, std::int64_t least,
                                            std::int64_t most, std::int64_t fallback) {
  if (!has(key)) return fallback;
  return integer(key, least, most);
}
Result<double> JsonObject::number_or(std::string_view key, double least, double most,
                                     double fallback) {
  if (!has(key)) return fallback;
  return number(key, least, most);
}

Status JsonObject::finish() const {
  std::vector<std::string> known(asked_.begin(), asked_.end());
  for (const auto& [key, value] : node_->members()) {
    if (asked_.contains(key)) continue;
    const std::string near = closest(key, known);
    return invalid(fmt::format("{}: unknown key{}", place(key),
                               near.empty() ? "" : "; did you mean \"" + near + "\"?"));
  }
  return {};
}

}  // namespace narrows
