// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"

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

}  // namespace

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

}  // namespace narrows
