// What a message is made of: elements of one type in consecutive memory. A `View` is read, a
// `Buffer` is written; both borrow.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace narrows {

// F32 is `float`, F64 `double`, I32 `std::int32_t`; Bf16 is the upper half of a float in a
// `std::uint16_t`; Byte is anything else (fp8, indices of a byte), which can be moved but not
// reduced.
enum class Element { F32, F64, Bf16, I32, Byte };
std::size_t size_of(Element element);

struct View {
  const void* data = nullptr;
  std::int64_t count = 0;  // elements
  Element element = Element::F32;

  View() = default;
  View(const void* bytes, std::int64_t n, Element type) : data(bytes), count(n), element(type) {}
  View(std::span<const float> s) : View(s.data(), std::ssize(s), Element::F32) {}
  View(std::span<const double> s) : View(s.data(), std::ssize(s), Element::F64) {}
  View(std::span<const std::uint16_t> s) : View(s.data(), std::ssize(s), Element::Bf16) {}
  View(std::span<const std::int32_t> s) : View(s.data(), std::ssize(s), Element::I32) {}
  View(std::span<const std::byte> s) : View(s.data(), std::ssize(s), Element::Byte) {}
  template <typename T, typename Allocator>
  View(const std::vector<T, Allocator>& v) : View(std::span<const T>(v)) {}
};

struct Buffer {
  void* data = nullptr;
  std::int64_t count = 0;
  Element element = Element::F32;

  Buffer() = default;
  Buffer(void* bytes, std::int64_t n, Element type) : data(bytes), count(n), element(type) {}
  Buffer(std::span<float> s) : Buffer(s.data(), std::ssize(s), Element::F32) {}
  Buffer(std::span<double> s) : Buffer(s.data(), std::ssize(s), Element::F64) {}
  Buffer(std::span<std::uint16_t> s) : Buffer(s.data(), std::ssize(s), Element::Bf16) {}
  Buffer(std::span<std::int32_t> s) : Buffer(s.data(), std::ssize(s), Element::I32) {}
  Buffer(std::span<std::byte> s) : Buffer(s.data(), std::ssize(s), Element::Byte) {}
  template <typename T, typename Allocator>
  Buffer(std::vector<T, Allocator>& v) : Buffer(std::span<T>(v)) {}

  operator View() const { return {data, count, element}; }
};

}  // namespace narrows
