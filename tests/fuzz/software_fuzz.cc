// A software profile of hwprofiles/software from any bytes.
// SPDX-License-Identifier: Apache-2.0
#include "software/profile_json.h"
#include "tests/fuzz/fuzz.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::check_reader(data, size, fuzz::whole(software_from_json),
                            [](const SoftwareProfile& p) { return to_json(p).text(); });
}
