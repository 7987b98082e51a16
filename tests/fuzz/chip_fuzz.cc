// A chip of hwprofiles/chips from any bytes.
// SPDX-License-Identifier: Apache-2.0
#include "hardware/chip_json.h"
#include "tests/fuzz/fuzz.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::check_reader(data, size, fuzz::whole(chip_from_json),
                            [](const Chip& chip) { return to_json(chip).text(); });
}
