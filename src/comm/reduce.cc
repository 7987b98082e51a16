// SPDX-License-Identifier: Apache-2.0
#include "comm/reduce.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "base/result.h"

namespace narrows {
namespace {

template <typename T>
void combine_as(Reduction how, const void* source, void* target, std::int64_t count) {
  const T* const from = static_cast<const T*>(source);
  T* const to = static_cast<T*>(target);
  if (how == Reduction::Sum) {
    for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
  } else {
    for (std::int64_t i = 0; i < count; ++i) to[i] = to[i] < from[i] ? from[i] : to[i];
  }
}

float widen(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

std::uint16_t narrow(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);  // NaN stays NaN
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

void combine_bf16(Reduction how, const void* source, void* target, std::int64_t count) {
  const std::uint16_t* const from = static_cast<const std::uint16_t*>(source);
  std::uint16_t* const to = static_cast<std::uint16_t*>(target);
  for (std::int64_t i = 0; i < count; ++i) {
    const float a = widen(to[i]);
    const float b = widen(from[i]);
    to[i] = narrow(how == Reduction::Sum ? a + b : a < b ? b : a);
  }
}

}  // namespace

std::size_t size_of(Element element) {
  switch (element) {
    case Element::F32:
    case Element::I32:
      return 4;
    case Element::F64:
      return 8;
    case Element::Bf16:
      return 2;
    case Element::Byte:
      return 1;
  }
  return 1;
}

void combine(Element element, Reduction how, const void* from, void* to, std::int64_t count) {
  switch (element) {
    case Element::F32:
      return combine_as<float>(how, from, to, count);
    case Element::F64:
      return combine_as<double>(how, from, to, count);
    case Element::I32:
      return combine_as<std::int32_t>(how, from, to, count);
    case Element::Bf16:
      return combine_bf16(how, from, to, count);
    case Element::Byte:
      break;
  }
  ASSERT(element != Element::Byte);
}

// Some at a time, so that they are still at hand when they are copied back.
void combine_both(Element element, Reduction how, void* from, void* to, std::int64_t count) {
  constexpr std::int64_t kBlock = 4096;
  const std::int64_t width = static_cast<std::int64_t>(size_of(element));
  for (std::int64_t i = 0; i < count; i += kBlock) {
    const std::int64_t n = std::min(kBlock, count - i);
    std::byte* const there = static_cast<std::byte*>(from) + i * width;
    std::byte* const here = static_cast<std::byte*>(to) + i * width;
    combine(element, how, there, here, n);
    std::memcpy(there, here, static_cast<std::size_t>(n * width));
  }
}

}  // namespace narrows
