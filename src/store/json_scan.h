// A JSON text walked without building it whole: the members of an object or array as pieces of the
// text, one after the other. For traces of gigabytes, of which a few members are looked into.
// Brackets and strings are followed; what stands in a piece is checked by who parses it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "base/result.h"

namespace narrows {

class JsonScan {
 public:
  // `text` begins with the object or array, blanks aside. `name` is for messages; both are
  // borrowed.
  static Result<JsonScan> of(std::string_view text, const std::string& name);

  bool is_object() const { return object_; }
  // Moves to the next member; false after the last one, which must be the end of the text (blanks
  // aside). InvalidInput where the text is cut off or malformed.
  Result<bool> next();
  // Of the current member, borrowed; the key without quotes, escapes as they stand.
  std::string_view key() const { return key_; }
  std::string_view value() const { return value_; }

 private:
  JsonScan(std::string_view text, const std::string& name) : text_(text), name_(&name) {}
  void skip_blanks();
  Result<std::string_view> take_string();
  Result<std::string_view> take_value();
  tl::unexpected<Error> wrong(const char* expected) const;

  std::string_view text_;
  const std::string* name_;
  std::size_t at_ = 0;
  bool object_ = false;
  bool first_ = true;
  std::string_view key_;
  std::string_view value_;
};

}  // namespace narrows
