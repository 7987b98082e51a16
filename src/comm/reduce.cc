// SPDX-License-Identifier: Apache-2.0
#include "comm/reduce.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "base/result.h"
#include "base/vectorised.h"

namespace narrows {
namespace {

// What elements are added and compared as.
template <typename T>
inline T widen(T x) {
  return x;
}
inline float widen(std::uint16_t x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16);
}

template <typename T>
inline void put(T& to, T x) {
  to = x;
}
inline void put(std::uint16_t& to, float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  to = static_cast<std::uint16_t>(is_nan ? (bits >> 16) | 0x40u : rounded);
}

template <typename T>
NARROWS_INLINE void combine_run(Reduction how, const T* a, const T* b, T* to, std::int64_t count) {
  if (how == Reduction::Sum) {
    for (std::int64_t i = 0; i < count; ++i) put(to[i], widen(a[i]) + widen(b[i]));
  } else {
    for (std::int64_t i = 0; i < count; ++i) to[i] = widen(a[i]) < widen(b[i]) ? b[i] : a[i];
  }
}

// Most often in place, which the compiler must see to vectorise it.
template <typename T>
NARROWS_INLINE void combine_as(Reduction how, const void* from, const void* here, void* target,
                               std::int64_t count) {
  const T* const a = static_cast<const T*>(here);
  const T* const b = static_cast<const T*>(from);
  T* const to = static_cast<T*>(target);
  to == a ? combine_run(how, to, b, to, count) : combine_run(how, a, b, to, count);
}

NARROWS_VECTORISED
void combine_f32(Reduction how, const void* from, const void* here, void* to, std::int64_t count) {
  combine_as<float>(how, from, here, to, count);
}

NARROWS_VECTORISED
void combine_bf16(Reduction how, const void* from, const void* here, void* to, std::int64_t count) {
  combine_as<std::uint16_t>(how, from, here, to, count);
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

void combine(Element element, Reduction how, const void* from, const void* here, void* to,
             std::int64_t count) {
  switch (element) {
    case Element::F32:
      return combine_f32(how, from, here, to, count);
    case Element::F64:
      return combine_as<double>(how, from, here, to, count);
    case Element::I32:
      return combine_as<std::int32_t>(how, from, here, to, count);
    case Element::Bf16:
      return combine_bf16(how, from, here, to, count);
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
    combine(element, how, there, here, here, n);
    std::memcpy(there, here, static_cast<std::size_t>(n * width));
  }
}

}  // namespace narrows
