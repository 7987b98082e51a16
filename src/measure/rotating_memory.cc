// SPDX-License-Identifier: Apache-2.0
#include "measure/rotating_memory.h"

#include <algorithm>
#include <bit>

#include "base/random.h"
#include "base/result.h"

namespace narrows {
namespace {

constexpr std::int64_t kAlign = 16;  // floats of a cache line

std::int64_t aligned(std::int64_t count) { return (count + kAlign - 1) / kAlign * kAlign; }

}  // namespace

RotatingMemory::RotatingMemory(Bytes range) {
  const auto floats = static_cast<std::int64_t>(range / (4 * byte));
  grow(read_, floats, true);
  grow(written_, floats, false);
}

void RotatingMemory::grow(LargeVector<float>& memory, std::int64_t count, bool with_values) {
  const std::int64_t before = std::ssize(memory);
  if (before >= count) return;
  memory.resize(static_cast<std::size_t>(aligned(count)));
  Random random(static_cast<std::uint64_t>(before));
  for (std::int64_t i = before; i < std::ssize(memory) && with_values; ++i)
    memory[static_cast<std::size_t>(i)] = static_cast<float>(random.uniform() - 0.5);
}

// Pieces are aligned: a few lines more than asked for.
void RotatingMemory::reserve(std::int64_t reads, std::int64_t writes) {
  constexpr std::int64_t kPieces = 16 * kAlign;
  grow(read_, 2 * (reads + kPieces), true);
  grow(written_, 2 * (writes + kPieces), false);
  grow(recent_, reads + kPieces, true);
  grow(fresh_, writes + kPieces, false);
  recent_at_ = fresh_at_ = recent_narrow_at_ = 0;
  if (read_at_ + reads + kPieces > std::ssize(read_)) read_at_ = 0;
  if (written_at_ + writes + kPieces > std::ssize(written_)) written_at_ = 0;
}

// A bf16 is the upper half of a float.
void RotatingMemory::narrow_into(LargeVector<std::uint16_t>& to, std::int64_t count) const {
  if (std::ssize(to) >= count) return;
  to.resize(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < to.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(read_[i % read_.size()]);
    to[i] = static_cast<std::uint16_t>(bits >> 16);
  }
}

const std::uint16_t* RotatingMemory::narrow_input(std::int64_t count) {
  narrow_into(narrow_, std::max(2 * count, std::ssize(read_)));
  if (narrow_at_ + count > std::ssize(narrow_)) narrow_at_ = 0;
  const std::uint16_t* const piece = narrow_.data() + narrow_at_;
  narrow_at_ += aligned(count);
  return piece;
}

// As long as the floats that were reserved: pieces are taken from both alike.
const std::uint16_t* RotatingMemory::recent_narrow_input(std::int64_t count) {
  narrow_into(recent_narrow_, std::ssize(recent_));
  ASSERT(recent_narrow_at_ + count <= std::ssize(recent_narrow_));
  const std::uint16_t* const piece = recent_narrow_.data() + recent_narrow_at_;
  recent_narrow_at_ += aligned(count);
  return piece;
}

std::uint16_t* RotatingMemory::narrow_output(std::int64_t count) {
  return reinterpret_cast<std::uint16_t*>(output((count + 1) / 2));
}

std::uint16_t* RotatingMemory::recent_narrow_output(std::int64_t count) {
  return reinterpret_cast<std::uint16_t*>(recent_output((count + 1) / 2));
}

float* RotatingMemory::take(LargeVector<float>& memory, std::int64_t& at, std::int64_t count) {
  ASSERT(at + count <= std::ssize(memory));
  float* const piece = memory.data() + at;
  at += aligned(count);
  return piece;
}

}  // namespace narrows
