// Numbers and quantities from any bytes: refused in one sentence, or finite and not negative where
// the unit says so.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/text.h"

using namespace narrows;

namespace {

template <typename T>
void expect_sentence(const Result<T>& result) {
  if (!result) ASSERT(!result.error().message.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const Result<double> number = parse_number(text);
  if (number) ASSERT(std::isfinite(*number));
  expect_sentence(number);
  expect_sentence(parse_count(text));
  expect_sentence(parse_count(text, true));
  expect_sentence(parse_seconds(text));
  const Result<Bytes> bytes = parse_bytes(text);
  if (bytes) ASSERT(std::isfinite(*bytes / byte));
  expect_sentence(bytes);
  expect_sentence(parse_bandwidth(text));
  expect_sentence(parse_flop_rate(text));
  expect_sentence(parse_frequency(text));
  expect_sentence(parse_watts(text));
  expect_sentence(parse_area(text));
  expect_sentence(parse_dollars(text));
  expect_sentence(parse_price(text));
  closest(text.substr(0, 40), {"deepseek-v3", "h800-2048", "megatron-core"});
  return 0;
}
