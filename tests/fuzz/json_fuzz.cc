// Any bytes are either refused by the JSON reader in one line that names the file, or read, and
// then what is written reads back as the same document, indented or not.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "base/json.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const Result<Json> read = parse_json(text, "fuzz.json");
  if (!read) {
    ASSERT(read.error().message.starts_with("fuzz.json:"));
    ASSERT(read.error().message.find('\n') == std::string::npos);
    return 0;
  }
  const std::string compact = read->compact();
  const Result<Json> again = parse_json(compact, "compact.json");
  ASSERT(again.has_value());
  ASSERT(again->compact() == compact);
  const Result<Json> indented = parse_json(read->text(), "indented.json");
  ASSERT(indented.has_value());
  ASSERT(indented->compact() == compact);
  return 0;
}
