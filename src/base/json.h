// Strict JSON in and out. A document is a tree of `Json` nodes that know their line, so that every
// complaint names file and place. Read an object with `JsonObject`, which refuses what nobody asked
// for; write by building a tree: keys keep the order in which they were added. Refused: duplicate
// keys, NaN and infinities, numbers outside double, comments, text after the document, nesting
// deeper than 64.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace narrows {

class Json {
 public:
  enum class Kind { Null, Bool, Integer, Number, String, Array, Object };
  using Member = std::pair<std::string, Json>;

  Json() = default;  // null
  Json(bool value);
  Json(int value);
  Json(std::int64_t value);
  Json(double value);  // must be finite
  Json(const char* value);
  Json(std::string value);
  template <typename T>
  Json(const std::optional<T>& value) : Json(value ? Json(*value) : Json()) {}
  static Json array();
  static Json object();

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::Null; }
  bool is_object() const { return kind_ == Kind::Object; }
  bool is_array() const { return kind_ == Kind::Array; }
  bool is_string() const { return kind_ == Kind::String; }
  bool is_number() const { return kind_ == Kind::Integer || kind_ == Kind::Number; }

  // Values; the kind must fit (ASSERT).
  bool boolean() const;
  std::int64_t integer() const;
  double number() const;  // also of an integer
  const std::string& string() const;
  const std::vector<Json>& items() const;
  const std::vector<Member>& members() const;
  const Json* find(std::string_view key) const;  // null if absent; borrowed

  // Building.
  Json& push(Json value);
  Json& set(std::string key, Json value);     // replaces in place, else appends
  Json& append(std::string key, Json value);  // the caller knows that the key is new

  // 1-based line in the source text; 0 if built in memory.
  int line() const { return line_; }
  void set_line(int line) { line_ = line; }
  // "a string", "the number 3350", "an array": for messages.
  std::string description() const;

  // Indented by two spaces, numbers in the shortest form that reads back the same; ends without
  // newline.
  std::string text() const;
  // On one line.
  std::string compact() const;

 private:
  void write(std::string& out, int depth, bool indent) const;

  Kind kind_ = Kind::Null;
  bool bool_ = false;
  std::int64_t integer_ = 0;
  double number_ = 0;
  std::string string_;
  std::vector<Json> items_;
  std::vector<Member> members_;
  int line_ = 0;
};

// `name` is the file's name for messages.
Result<Json> parse_json(std::string_view text, const std::string& name);
Result<Json> read_json(const std::string& path);

// A view of an object that is being read. Every getter names the place when it refuses; `finish`
// refuses keys that no getter asked for. Borrows the node.
class JsonObject {
 public:
  // `path` is how messages call the object inside the file: "" for the root, "model.moe" below.
  static Result<JsonObject> of(const Json& node, const std::string& file,
                               const std::string& path = "");

  bool has(std::string_view key);  // present and not null; counts as asked for
  // Required values.
  Result<std::string> string(std::string_view key);
  Result<bool> boolean(std::string_view key);
  Result<std::int64_t> integer(std::string_view key, std::int64_t least, std::int64_t most);
  Result<double> number(std::string_view key, double least, double most);
  Result<const Json*> array(std::string_view key);
  Result<JsonObject> object(std::string_view key);
  // The value under a unit: "3.35 TB/s" for Bandwidth. Negative values are refused.
  template <typename Q>
  Result<Q> quantity(std::string_view key);
  // With a default for an absent or null key.
  Result<std::string> string_or(std::string_view key, std::string fallback);
  Result<bool> boolean_or(std::string_view key, bool fallback);
  Result<std::int64_t> integer_or(std::string_view key, std::int64_t least, std::int64_t most,
                                  std::int64_t fallback);
  Result<double> number_or(std::string_view key, double least, double most, double fallback);

  // Marks a key as known without reading it.
  void skip(std::string_view key);
  // InvalidInput if the object has a key that nobody asked for.
  Status finish() const;

  const Json& node() const { return *node_; }
  const std::string& file() const { return file_; }
  // "file:line: path.key" of a key (or of the object itself for ""), to begin a message with.
  std::string place(std::string_view key = "") const;

 private:
  JsonObject(const Json& node, std::string file, std::string path)
      : node_(&node), file_(std::move(file)), path_(std::move(path)) {}
  Result<const Json*> require(std::string_view key, std::string_view expected);
  tl::unexpected<Error> wrong(std::string_view key, std::string_view expected,
                              const Json& found) const;

  const Json* node_;
  std::string file_;
  std::string path_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace narrows
