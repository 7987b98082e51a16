// A plan file from any bytes: refused in a sentence, or a valid plan that is written as the same
// bytes each time.
// SPDX-License-Identifier: Apache-2.0
#include "plan/plan.h"
#include "tests/fuzz/fuzz.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = [](const Json& document) { return plan_from_json(document, fuzz::kFile); };
  return fuzz::check_reader(data, size, read, [](const Plan& plan) {
    ASSERT(validate(plan).has_value());
    return text_of(plan);
  });
}
