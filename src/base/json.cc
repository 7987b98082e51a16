// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"

namespace narrows {
namespace {

constexpr int kMaxDepth = 64;

// Walks the text for the parser and remembers the line of the last character that was not white
// space.
struct Position {
  int line = 1;
  int token_line = 1;
};

class CountingIterator {
 public:
  using difference_type = std::ptrdiff_t;
  using value_type = char;
  using pointer = const char*;
  using reference = const char&;
  using iterator_category = std::input_iterator_tag;

  CountingIterator(const char* at, Position* position) : at_(at), position_(position) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    if (*at_ == '\n') {
      ++position_->line;
    } else if (*at_ != ' ' && *at_ != '\t' && *at_ != '\r') {
      position_->token_line = position_->line;
    }
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) {
    return a.at_ == b.at_;
  }
  friend bool operator!=(const CountingIterator& a, const CountingIterator& b) {
    return a.at_ != b.at_;
  }

 private:
  const char* at_;
  Position* position_;
};

// Builds our tree from the parser's events; stops at the first thing that strict JSON does not
// allow.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(std::string name, const Position& position)
      : name_(std::move(name)), position_(position) {}

  bool null() override { return value(Json()); }
  bool boolean(bool v) override { return value(Json(v)); }
  bool number_integer(number_integer_t v) override {
    return value(Json(static_cast<std::int64_t>(v)));
  }
  bool number_unsigned(number_unsigned_t v) override {
    if (v > static_cast<number_unsigned_t>(INT64_MAX)) return value(Json(static_cast<double>(v)));
    return value(Json(static_cast<std::int64_t>(v)));
  }
  bool number_float(number_float_t v, const string_t&) override {
    if (!std::isfinite(v)) return fail("expected a finite number");
    return value(Json(v));
  }
  bool string(string_t& v) override { return value(Json(std::move(v))); }
  bool binary(binary_t&) override { return fail("expected JSON text, found binary"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& k) override {
    if (!keys_.back().seen.insert(k).second) {
      return fail(fmt::format("the key \"{}\" stands twice", k));
    }
    keys_.back().latest = std::move(k);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& e) override {
    if (e.id == 406) return fail("expected a number within the range of a double");
    return fail(reason(e.what()));
  }

  bool failed() const { return !error_.empty(); }
  const std::string& error() const { return error_; }
  Json take() { return std::move(root_); }

 private:
  // The parser's message without its codes and without echoing long input.
  static std::string reason(std::string_view what) {
    const std::size_t dash = what.find(" - ");
    std::string text(dash == std::string_view::npos ? what : what.substr(dash + 3));
    std::string clean;
    for (const char c : text) {
      clean +=
          (static_cast<unsigned char>(c) < 32 || static_cast<unsigned char>(c) > 126) ? '?' : c;
    }
    if (clean.size() > 160) clean = clean.substr(0, 160) + "...";
    return "not valid JSON: " + clean;
  }
  bool fail(const std::string& why) {
    if (error_.empty()) error_ = fmt::format("{}:{}: {}", name_, position_.token_line, why);
    return false;
  }
  bool open(Json node) {
    if (static_cast<int>(open_.size()) >= kMaxDepth) {
      return fail(fmt::format("expected at most {} levels of nesting, found more", kMaxDepth));
    }
    node.set_line(position_.token_line);
    open_.push_back(std::move(node));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    Json done = std::move(open_.back());
    open_.pop_back();
    keys_.pop_back();
    return attach(std::move(done));
  }
  bool value(Json v) {
    v.set_line(position_.token_line);
    return attach(std::move(v));
  }
  bool attach(Json v) {
    if (open_.empty()) {
      root_ = std::move(v);
    } else if (open_.back().is_array()) {
      open_.back().push(std::move(v));
    } else {
      open_.back().append(std::move(keys_.back().latest), std::move(v));
    }
    return true;
  }

  std::string name_;
  const Position& position_;
  Json root_;
  std::vector<Json> open_;
  // Of each open object: large ones are not searched key by key.
  struct Keys {
    std::string latest;
    std::set<std::string> seen;
  };
  std::vector<Keys> keys_;
  std::string error_;
};

void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

}  // namespace

Json::Json(bool value) : kind_(Kind::Bool), bool_(value) {}
Json::Json(int value) : kind_(Kind::Integer), integer_(value) {}
Json::Json(std::int64_t value) : kind_(Kind::Integer), integer_(value) {}
// Adding 0 turns -0, which would be written as "-0" and read back as the integer 0, into 0.
Json::Json(double value) : kind_(Kind::Number), number_(value + 0.0) {
  ASSERT(std::isfinite(value));
}
Json::Json(const char* value) : kind_(Kind::String), string_(value) {}
Json::Json(std::string value) : kind_(Kind::String), string_(std::move(value)) {}

Json Json::array() {
  Json j;
  j.kind_ = Kind::Array;
  return j;
}
Json Json::object() {
  Json j;
  j.kind_ = Kind::Object;
  return j;
}

bool Json::boolean() const {
  ASSERT(kind_ == Kind::Bool);
  return bool_;
}
std::int64_t Json::integer() const {
  ASSERT(kind_ == Kind::Integer);
  return integer_;
}
double Json::number() const {
  ASSERT(is_number());
  return kind_ == Kind::Integer ? static_cast<double>(integer_) : number_;
}
const std::string& Json::string() const {
  ASSERT(kind_ == Kind::String);
  return string_;
}
const std::vector<Json>& Json::items() const {
  ASSERT(kind_ == Kind::Array);
  return items_;
}
const std::vector<Json::Member>& Json::members() const {
  ASSERT(kind_ == Kind::Object);
  return members_;
}
const Json* Json::find(std::string_view key) const {
  if (kind_ != Kind::Object) return nullptr;
  for (const Member& member : members_) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

Json& Json::push(Json value) {
  ASSERT(kind_ == Kind::Array);
  items_.push_back(std::move(value));
  return *this;
}
Json& Json::append(std::string key, Json value) {
  ASSERT(kind_ == Kind::Object);
  members_.emplace_back(std::move(key), std::move(value));
  return *this;
}
Json& Json::set(std::string key, Json value) {
  ASSERT(kind_ == Kind::Object);
  for (Member& member : members_) {
    if (member.first == key) {
      member.second = std::move(value);
      return *this;
    }
  }
  members_.emplace_back(std::move(key), std::move(value));
  return *this;
}

std::string Json::description() const {
  switch (kind_) {
    case Kind::Null:
      return "null";
    case Kind::Bool:
      return bool_ ? "true" : "false";
    case Kind::Integer:
    case Kind::Number:
      return "the number " + compact();
    case Kind::String:
      return string_.size() > 60 ? "\"" + string_.substr(0, 60) + "...\"" : "\"" + string_ + "\"";
    case Kind::Array:
      return "an array";
    case Kind::Object:
      return "an object";
  }
  return "";
}

std::string Json::text() const {
  std::string out;
  write(out, 0, true);
  return out;
}
std::string Json::compact() const {
  std::string out;
  write(out, 0, false);
  return out;
}

void Json::write(std::string& out, int depth, bool indent) const {
  const auto new_line = [&](int level) {
    if (!indent) return;
    out += '\n';
    out.append(static_cast<std::size_t>(2 * level), ' ');
  };
  switch (kind_) {
    case Kind::Null:
      out += "null";
      break;
    case Kind::Bool:
      out += bool_ ? "true" : "false";
      break;
    case Kind::Integer:
      out += fmt::format("{}", integer_);
      break;
    case Kind::Number: {
      const std::string digits = fmt::format("{}", number_);
      out += digits;
      break;
    }
    case Kind::String:
      write_string(out, string_);
      break;
    case Kind::Array: {
      // Arrays of plain values stay on one line.
      bool plain = true;
      for (const Json& item : items_) plain = plain && !item.is_array() && !item.is_object();
      out += '[';
      bool first = true;
      for (const Json& item : items_) {
        if (!first) out += indent && plain ? ", " : ",";
        first = false;
        if (!plain) new_line(depth + 1);
        item.write(out, depth + 1, indent);
      }
      if (!items_.empty() && !plain) new_line(depth);
      out += ']';
      break;
    }
    case Kind::Object: {
      out += '{';
      bool first = true;
      for (const Member& member : members_) {
        if (!first) out += ',';
        first = false;
        new_line(depth + 1);
        write_string(out, member.first);
        out += indent ? ": " : ":";
        member.second.write(out, depth + 1, indent);
      }
      if (!members_.empty()) new_line(depth);
      out += '}';
      break;
    }
  }
}

Result<Json> parse_json(std::string_view text, const std::string& name) {
  // The parser takes a NUL byte for the end of the text.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(nul), '\n');
    return invalid(
        fmt::format("{}:{}: not valid JSON: a NUL byte; is this a text file?", name, line));
  }
  Position position;
  TreeBuilder builder(name, position);
  CountingIterator first(text.data(), &position);
  CountingIterator last(text.data() + text.size(), &position);
  const bool ok = nlohmann::json::sax_parse(first, last, &builder);
  if (!ok || builder.failed()) return invalid(builder.error());
  return builder.take();
}

Result<Json> read_json(const std::string& path) {
  const std::string text = TRY(read_file(path));
  return parse_json(text, path);
}

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
