// Memory in which ops are timed. Each piece that is asked for lies behind the last one, around a
// range larger than a core's own caches: what an op reads was not touched of late, as in a
// training step, where a block's weights and kept activations come back after all others were
// worked on. What was made just before (a matmul's input) and memory that the pool hands out again
// (its result) come from one place. What is read is never written: values stay ordinary numbers
// however often an op runs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/large_memory.h"
#include "base/units.h"

namespace narrows {

class RotatingMemory {
 public:
  // `range` of what is read, and again of what is written.
  explicit RotatingMemory(Bytes range);

  // Room for an op that reads and writes so many floats; to be called before its pieces are taken,
  // and ends the use of older pieces.
  void reserve(std::int64_t reads, std::int64_t writes);
  // `count` floats in [-0.5, 0.5).
  const float* input(std::int64_t count) { return take(read_, read_at_, count); }
  float* output(std::int64_t count) { return take(written_, written_at_, count); }
  // The same, of what was touched just before: the same memory for every op.
  const float* recent_input(std::int64_t count) { return take(recent_, recent_at_, count); }
  float* recent_output(std::int64_t count) { return take(fresh_, fresh_at_, count); }
  // The same numbers as input's in bf16, from a range of their own half as long; no reserve needed.
  const std::uint16_t* narrow_input(std::int64_t count);
  // … as recent_input's, and room for as many to be written, from where output and recent_output
  // have theirs (half as many floats).
  const std::uint16_t* recent_narrow_input(std::int64_t count);
  std::uint16_t* narrow_output(std::int64_t count);
  std::uint16_t* recent_narrow_output(std::int64_t count);

 private:
  static void grow(LargeVector<float>& memory, std::int64_t count, bool with_values);
  void narrow_into(LargeVector<std::uint16_t>& to, std::int64_t count) const;
  static float* take(LargeVector<float>& memory, std::int64_t& at, std::int64_t count);

  LargeVector<float> read_, written_, recent_, fresh_;
  LargeVector<std::uint16_t> narrow_, recent_narrow_;
  std::int64_t read_at_ = 0, written_at_ = 0, narrow_at_ = 0;
  std::int64_t recent_at_ = 0, fresh_at_ = 0, recent_narrow_at_ = 0;
};

}  // namespace narrows
