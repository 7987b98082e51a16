// Any bytes are either refused by the JSON reader in one line that names the file, or read, and
// then what is written reads back as the same document, indented or not.
// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/fuzz.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find('\0') != std::string_view::npos) ASSERT(!parse_json(text, fuzz::kFile));
  const auto same = [](const Json& document) -> Result<Json> { return document; };
  fuzz::check_reader(data, size, same, [](const Json& document) { return document.text(); });
  return fuzz::check_reader(data, size, same,
                            [](const Json& document) { return document.compact(); });
}
