// The tags of an XML document, one after the other, with their attributes: enough for the machine
// descriptions that programs write. Comments and declarations are passed over; entities stay as
// they are.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace narrows {

struct XmlTag {
  enum class Kind { Open, Close, Empty };
  Kind kind = Kind::Open;
  std::string_view name;
  std::vector<std::pair<std::string_view, std::string_view>> attributes;
  int line = 1;

  // "" if there is none.
  std::string_view operator[](std::string_view attribute) const;
};

// All tags; every one that opens is closed in order. Borrows the text.
Result<std::vector<XmlTag>> xml_tags(std::string_view text, const std::string& name);

}  // namespace narrows
