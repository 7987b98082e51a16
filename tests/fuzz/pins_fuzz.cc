// The value of --fix from any bytes: refused in a sentence, or pins that are written and read back.
// SPDX-License-Identifier: Apache-2.0
#include "plan/pins.h"
#include "tests/fuzz/fuzz.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const Result<Pins> pins = parse_pins(text);
  if (!pins) {
    ASSERT(!pins.error().message.empty());
    return 0;
  }
  const Result<Pins> again = parse_pins(to_string(*pins));
  ASSERT(again.has_value());
  ASSERT(*again == *pins);
  return 0;
}
