// SPDX-License-Identifier: Apache-2.0
#include "store/json_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace narrows {

Result<JsonScan> JsonScan::of(std::string_view text, const std::string& name) {
  JsonScan scan(text, name);
  scan.skip_blanks();
  const char open = scan.at_ < text.size() ? text[scan.at_] : '\0';
  if (open != '{' && open != '[') return scan.wrong("an object or array");
  scan.object_ = open == '{';
  ++scan.at_;
  return scan;
}

void JsonScan::skip_blanks() {
  at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
}

tl::unexpected<Error> JsonScan::wrong(const char* expected) const {
  if (at_ >= text_.size())
    return invalid(
        fmt::format("{}: expected {}, found the end: the file is cut off", *name_, expected));
  const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<long>(at_), '\n');
  return invalid(fmt::format("{}:{}: expected {}, found \"{}\"", *name_, line, expected,
                             text_.substr(at_, 12)));
}

// From the opening quote on.
Result<std::string_view> JsonScan::take_string() {
  if (at_ >= text_.size() || text_[at_] != '"') return wrong("a string");
  const std::size_t first = ++at_;
  for (;;) {
    at_ = std::min(text_.find_first_of("\"\\", at_), text_.size());
    if (at_ >= text_.size()) return wrong("the end of a string");
    if (text_[at_] == '"') break;
    at_ += 2;
  }
  ++at_;
  return text_.substr(first, at_ - 1 - first);
}

Result<std::string_view> JsonScan::take_value() {
  const std::size_t first = at_;
  std::string open;  // brackets that are to be closed
  do {
    if (at_ >= text_.size()) return wrong("a value");
    const char c = text_[at_];
    if (c == '"') {
      TRY(take_string());
    } else if (c == '{' || c == '[') {
      open += c == '{' ? '}' : ']';
      ++at_;
    } else if (c == '}' || c == ']') {
      if (open.empty() || open.back() != c) return wrong("a value");
      open.pop_back();
      ++at_;
    } else if (open.empty()) {
      at_ = std::min(text_.find_first_of(",]} \t\r\n", at_), text_.size());
      if (at_ == first) return wrong("a value");
    } else {
      at_ = std::min(text_.find_first_of("\"{}[]", at_ + 1), text_.size());
    }
  } while (!open.empty());
  return text_.substr(first, at_ - first);
}

Result<bool> JsonScan::next() {
  skip_blanks();
  const char close = object_ ? '}' : ']';
  if (at_ < text_.size() && text_[at_] == close) {
    ++at_;
    skip_blanks();
    if (at_ < text_.size()) return wrong("the end of the file");
    return false;
  }
  if (!first_) {
    if (at_ >= text_.size() || text_[at_] != ',')
      return wrong(object_ ? "\",\" or \"}\"" : "\",\" or \"]\"");
    ++at_;
    skip_blanks();
  }
  first_ = false;
  if (object_) {
    key_ = TRY(take_string());
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != ':') return wrong("\":\"");
    ++at_;
    skip_blanks();
  }
  value_ = TRY(take_value());
  return true;
}

}  // namespace narrows
