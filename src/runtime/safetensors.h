// The header of a safetensors file: eight bytes of its length (little-endian), a JSON object of
// names with type, shape and place, then the tensors' bytes without holes. Only the header is read
// here, so that a file of any size costs nothing; the bytes are read by place.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace narrows {

enum class TensorType { F64, F32, F16, Bf16, F8E4m3, F8E5m2, I64, I32, I16, I8, U8, Bool };
std::string to_string(TensorType type);  // as the format writes it: "BF16"
int bytes_of(TensorType type);

struct TensorInfo {
  std::string name;
  TensorType type = TensorType::F32;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0;  // byte in the file, header included

  friend bool operator==(const TensorInfo&, const TensorInfo&) = default;
};
std::int64_t elements_of(const TensorInfo& tensor);
std::int64_t bytes_of(const TensorInfo& tensor);

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in order of their bytes
  std::vector<std::pair<std::string, std::string>> metadata;
};

// The bytes in front of the tensors, which then lie in the order given; sets their `begin`. The
// length is a multiple of eight.
std::string write_header(SafetensorsHeader& header);

// The header of the file at `path`. InvalidInput in one sentence where it is no safetensors file,
// was truncated, or where tensors overlap, leave holes or do not have the bytes of their shape.
Result<SafetensorsHeader> read_header(const std::string& path);

}  // namespace narrows
