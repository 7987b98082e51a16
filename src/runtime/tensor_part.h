// A rank's share of a tensor: a rectangle, and where it lies in memory. On disk tensors are whole,
// in the order of the model's rows; every rank writes and reads its own rectangles, so that a
// checkpoint does not know the layout that wrote it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/byte_file.h"
#include "runtime/safetensors.h"
#include "runtime/weights.h"

namespace narrows {

struct TensorPart {
  std::string name;
  std::vector<std::int64_t> shape;  // of the whole tensor; one or two extents
  std::int64_t first_row = 0;       // a vector is one row
  std::int64_t first_column = 0;
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  void* data = nullptr;  // element (r, c) of the rectangle at r * stride + c
  std::int64_t stride = 1;
  TensorType type = TensorType::F32;  // in memory; saved as such
  bool transposed = false;            // element (r, c) is at c * stride + r instead
};

// Memory that holds `count` elements from element `first` of a weight on (all of it, or what ZeRO
// leaves to a rank).
struct WeightMemory {
  void* data = nullptr;
  TensorType type = TensorType::F32;
  std::int64_t first = 0;
  std::int64_t count = 0;
};
// The rectangles of `piece`, as files hold it, that lie in the memory, at most three; `suffix` is
// appended to the name ("" or ".exp_avg"). The piece's rows must not overlap in memory.
std::vector<TensorPart> parts_of(const WeightPiece& piece, const WeightMemory& memory,
                                 std::string_view suffix = "");

// Between the rectangle in memory and its place in `tensor`, whose name and shape are the part's.
// Reading converts from any floating-point type to F32 or Bf16; other pairs of types are
// Unsupported unless equal. Writing wants equal types.
Status write_part(const ByteFile& file, const TensorInfo& tensor, const TensorPart& part);
Status read_part(const ByteFile& file, const TensorInfo& tensor, const TensorPart& part);

}  // namespace narrows
