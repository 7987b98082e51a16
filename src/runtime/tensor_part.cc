// SPDX-License-Identifier: Apache-2.0
#include "runtime/tensor_part.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace narrows {
namespace {

float f32_of_half(std::uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) {
    const std::uint32_t bits = 0x7F800000u | static_cast<std::uint32_t>(mantissa) << 13;
    return sign * std::bit_cast<float>(bits);
  }
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
}

std::uint16_t bf16_of(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float f32_at(TensorType type, const std::byte* at) {
  switch (type) {
    case TensorType::F64:
      return static_cast<float>(load<double>(at));
    case TensorType::F16:
      return f32_of_half(load<std::uint16_t>(at));
    case TensorType::Bf16:
      return std::bit_cast<float>(static_cast<std::uint32_t>(load<std::uint16_t>(at)) << 16);
    default:
      return load<float>(at);
  }
}

bool is_float(TensorType type) {
  return type == TensorType::F64 || type == TensorType::F32 || type == TensorType::F16 ||
         type == TensorType::Bf16;
}

bool converts(TensorType from, TensorType to) {
  return from == to || (is_float(from) && (to == TensorType::F32 || to == TensorType::Bf16));
}

void convert(TensorType from, std::span<const std::byte> raw, TensorType to, std::byte* out) {
  if (from == to) {
    std::memcpy(out, raw.data(), raw.size());
    return;
  }
  const std::size_t width = static_cast<std::size_t>(bytes_of(from));
  for (std::size_t i = 0; i * width < raw.size(); ++i) {
    const float value = f32_at(from, &raw[i * width]);
    if (to == TensorType::F32) {
      std::memcpy(out + 4 * i, &value, 4);
    } else {
      const std::uint16_t narrow = bf16_of(value);
      std::memcpy(out + 2 * i, &narrow, 2);
    }
  }
}

std::int64_t row_length(const TensorInfo& tensor) {
  return tensor.shape.empty() ? 1 : tensor.shape.back();
}

// Rows that lie together both in the file and in memory move at once.
bool is_contiguous(const TensorInfo& tensor, const TensorPart& part) {
  return !part.transposed && part.columns == row_length(tensor) && part.stride == part.columns;
}

// Row `r` of the rectangle in memory, and how many bytes its elements are apart.
struct MemoryRow {
  std::byte* first = nullptr;
  std::int64_t step = 0;
};
MemoryRow row_of(const TensorPart& part, std::int64_t r) {
  const std::int64_t width = bytes_of(part.type);
  std::byte* const data = static_cast<std::byte*>(part.data);
  return part.transposed ? MemoryRow{data + r * width, part.stride * width}
                         : MemoryRow{data + r * part.stride * width, width};
}
void copy_elements(const MemoryRow& from, const MemoryRow& to, std::int64_t count,
                   std::int64_t width) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(to.first + i * to.step, from.first + i * from.step,
                static_cast<std::size_t>(width));
  }
}

// A rectangle of the tensor that weights.h names, as one of the tensor that files hold.
void place_as_stored(const WeightPiece& piece, TensorPart& part) {
  const WeightPiece::Stored& s = piece.stored;
  const std::int64_t outputs = s.outputs > 0  ? s.outputs
                               : piece.vector ? piece.columns
                                              : piece.rows;
  (piece.vector ? part.first_column : part.first_row) += s.first_output;
  part.shape = piece.vector ? std::vector<std::int64_t>{outputs}
                            : std::vector<std::int64_t>{outputs, piece.columns};
  if (!s.transposed) return;
  part.transposed = true;
  std::swap(part.shape[0], part.shape[1]);
  std::swap(part.first_row, part.first_column);
  std::swap(part.rows, part.columns);
}

Status check_shape(const ByteFile& file, const TensorInfo& tensor, const TensorPart& part) {
  if (tensor.shape == part.shape) return {};
  return invalid(fmt::format("{}: {}: expected shape [{}], found [{}]", file.path(), part.name,
                             fmt::join(part.shape, ", "), fmt::join(tensor.shape, ", ")));
}

}  // namespace

std::vector<TensorPart> parts_of(const WeightPiece& piece, const WeightMemory& memory,
                                 std::string_view suffix) {
  std::vector<TensorPart> parts;
  TensorPart part;
  part.name = (piece.stored.name.empty() ? piece.name : piece.stored.name) + std::string(suffix);
  part.type = memory.type;
  part.stride = piece.stride;
  const std::int64_t end = memory.first + memory.count;
  for (std::int64_t r = 0; r < piece.piece_rows; ++r) {
    const std::int64_t row = piece.offset + r * piece.stride;
    const std::int64_t from = std::max(row, memory.first);
    const std::int64_t to = std::min(row + piece.piece_columns, end);
    if (from >= to) continue;
    const std::int64_t column = piece.first_column + from - row;
    const bool continues = !parts.empty() && parts.back().columns == to - from &&
                           parts.back().first_column == column &&
                           parts.back().first_row + parts.back().rows == piece.first_row + r;
    if (continues) {
      ++parts.back().rows;
      continue;
    }
    part.first_row = piece.first_row + r;
    part.first_column = column;
    part.columns = to - from;
    part.data =
        static_cast<std::byte*>(memory.data) + (from - memory.first) * bytes_of(memory.type);
    parts.push_back(part);
  }
  for (TensorPart& made : parts) place_as_stored(piece, made);
  return parts;
}

Status write_part(const ByteFile& file, const TensorInfo& tensor, const TensorPart& part) {
  TRY(check_shape(file, tensor, part));
  ASSERT(tensor.type == part.type);
  const std::int64_t width = bytes_of(tensor.type);
  const bool together = is_contiguous(tensor, part);
  const std::int64_t runs = together ? 1 : part.rows;
  const std::int64_t run = together ? part.rows * part.columns : part.columns;
  std::vector<std::byte> gathered(static_cast<std::size_t>(part.transposed ? run * width : 0));
  for (std::int64_t r = 0; r < runs; ++r) {
    const std::int64_t element = (part.first_row + r) * row_length(tensor) + part.first_column;
    MemoryRow from = row_of(part, r);
    if (part.transposed) {
      copy_elements(from, {gathered.data(), width}, run, width);
      from.first = gathered.data();
    }
    TRY(file.write(tensor.begin + element * width,
                   {from.first, static_cast<std::size_t>(run * width)}));
  }
  return {};
}

Status read_part(const ByteFile& file, const TensorInfo& tensor, const TensorPart& part) {
  TRY(check_shape(file, tensor, part));
  if (!converts(tensor.type, part.type)) {
    return unsupported(fmt::format("{}: {}: cannot read {} as {}", file.path(), part.name,
                                   to_string(tensor.type), to_string(part.type)));
  }
  const std::int64_t width = bytes_of(tensor.type);
  const std::int64_t width_here = bytes_of(part.type);
  std::vector<std::byte> raw(static_cast<std::size_t>(part.columns * width));
  std::vector<std::byte> row(static_cast<std::size_t>(part.columns * width_here));
  for (std::int64_t r = 0; r < part.rows; ++r) {
    const std::int64_t element = (part.first_row + r) * row_length(tensor) + part.first_column;
    const MemoryRow to = row_of(part, r);
    TRY(file.read(tensor.begin + element * width, raw));
    convert(tensor.type, raw, part.type, part.transposed ? row.data() : to.first);
    if (part.transposed) copy_elements({row.data(), width_here}, to, part.columns, width_here);
  }
  return {};
}

}  // namespace narrows
