// What the fuzz targets share: the laws that every reader of files must keep, whatever the bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/json.h"

namespace narrows::fuzz {

inline constexpr const char* kFile = "fuzz.json";

// A refusal is one printable line.
inline void expect_sentence(const Error& error) {
  ASSERT(!error.message.empty());
  for (const char c : error.message) ASSERT(static_cast<unsigned char>(c) >= 32 && c != 127);
}

// Reads the text with `read`, a function of the document. What was read is written with `write`
// and must read back to the same bytes.
template <typename Read, typename Write>
int check_reader(const std::uint8_t* data, std::size_t size, Read read, Write write) {
  const auto document = parse_json({reinterpret_cast<const char*>(data), size}, kFile);
  if (!document) {
    expect_sentence(document.error());
    return 0;
  }
  const auto value = read(*document);
  if (!value) {
    expect_sentence(value.error());
    return 0;
  }
  const std::string text = write(*value);
  const auto again = parse_json(text, "again.json");
  ASSERT(again.has_value());
  const auto same = read(*again);
  ASSERT(same.has_value());
  ASSERT(write(*same) == text);
  return 0;
}

// A reader of a JsonObject as a reader of a whole document: nothing may be left over.
template <typename Read>
auto whole(Read read) {
  return [read](const Json& document) -> decltype(read(std::declval<JsonObject&>())) {
    JsonObject object = TRY(JsonObject::of(document, kFile));
    auto value = TRY(read(object));
    TRY(object.finish());
    return value;
  };
}

}  // namespace narrows::fuzz
