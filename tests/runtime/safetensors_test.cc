// SPDX-License-Identifier: Apache-2.0
#include "runtime/safetensors.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cstring>

#include "base/random.h"
#include "runtime/byte_file.h"
#include "runtime/scratch_folder.h"
#include "runtime/tensor_part.h"

using namespace narrows;
using namespace narrows::test;

namespace {

std::string file_of(const std::string& header, const std::string& data) {
  std::string out(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}

}  // namespace

TEST_CASE("safetensors: a header that was written reads back the same") {
  SafetensorsHeader header;
  header.tensors = {{"a", TensorType::Bf16, {2, 3}, 0},
                    {"scalar", TensorType::F32, {}, 0},
                    {"empty", TensorType::F32, {0, 5}, 0},
                    {"b", TensorType::F8E4m3, {7}, 0}};
  header.metadata = {{"format", "pt"}};
  const std::string front = write_header(header);
  CHECK(front.size() % 8 == 0);
  const ScratchFolder folder;
  const std::string path = folder.write("a.safetensors", front + std::string(12 + 4 + 7, 'x'));
  const SafetensorsHeader found = read_header(path).value();
  CHECK(found.tensors.size() == 4);
  for (const TensorInfo& tensor : header.tensors) {
    CHECK(std::count(found.tensors.begin(), found.tensors.end(), tensor) == 1);
  }
  CHECK(found.metadata == header.metadata);
}

TEST_CASE("safetensors: a file by the format's description is read") {
  const ScratchFolder folder;
  const std::string header =
      R"({"w":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},"__metadata__":{"k":"v"}}  )";
  const std::uint16_t halves[] = {0x3C00, 0xC100, 0x0001, 0x7C00};  // 1, -2.5, 2^-24, infinity
  std::string data(8, '\0');
  std::memcpy(data.data(), halves, 8);
  const std::string path = folder.write("w.safetensors", file_of(header, data));
  const SafetensorsHeader found = read_header(path).value();
  REQUIRE(found.tensors.size() == 1);
  std::vector<float> out(4);
  const TensorPart part{"w", {2, 2}, 0, 0, 2, 2, out.data(), 2};
  REQUIRE(read_part(ByteFile::open(path).value(), found.tensors[0], part));
  CHECK(out[0] == 1.0f);
  CHECK(out[1] == -2.5f);
  CHECK(out[2] == 0x1p-24f);
  CHECK(out[3] == std::numeric_limits<float>::infinity());
  std::vector<std::uint16_t> narrow(2);
  TensorPart column{"w", {2, 2}, 0, 1, 2, 1, narrow.data(), 1};
  column.type = TensorType::Bf16;
  REQUIRE(read_part(ByteFile::open(path).value(), found.tensors[0], column));
  CHECK(std::bit_cast<float>(static_cast<std::uint32_t>(narrow[0]) << 16) == -2.5f);
}

TEST_CASE("safetensors: what is no such file is refused in one sentence") {
  const ScratchFolder folder;
  const auto said = [&](const std::string& content) {
    const std::string path = folder.write("x", content);
    const Result<SafetensorsHeader> header = read_header(path);
    return header ? "accepted" : header.error().message.substr(path.size() + 2);
  };
  const std::string other = "expected a safetensors file, found something else";
  CHECK(said("") == other);
  CHECK(said("PK\x03\x04 a zip file of some kind") == other);
  CHECK(said(file_of("[1]", "")) == other);
  const std::string good = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  CHECK(said(file_of(good, "12345678")) == "accepted");
  CHECK(said(file_of(good, "1234567")) == "expected 70 bytes, found 69: it was truncated");
  CHECK(said(file_of(good, "123456789")) == "expected 70 bytes, found 71: it was appended to");
  CHECK(said(file_of(good, "12345678").substr(0, 30)) ==
        "its header should have 54 bytes, the file ends before that");
  CHECK(said(file_of(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234")) ==
        "w: its bytes are not those of its shape");
  CHECK(said(file_of(R"({"w":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", "1234")) ==
        "w: unknown type F99");
  CHECK(said(file_of(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "12345678")) ==
        "w: expected to begin at byte 62, found 66");
  CHECK(said(file_of(
            R"({"w":{"dtype":"F32","shape":[99999999999,99999999999],"data_offsets":[0,4]}})",
            "1234")) == "w: its bytes are not those of its shape");
}

TEST_CASE("safetensors: a file with any bytes changed is read or refused, never trusted") {
  const ScratchFolder folder;
  SafetensorsHeader header;
  header.tensors = {{"a", TensorType::Bf16, {2, 3}, 0}, {"b", TensorType::F32, {5}, 0}};
  const std::string good = write_header(header) + std::string(32, 'x');
  Random random(7);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good;
    for (std::uint64_t n = random.below(4); n < 4; ++n) {
      bad[random.below(bad.size())] = static_cast<char>(random.below(256));
    }
    const Result<SafetensorsHeader> found = read_header(folder.write("x", bad));
    refused += found ? 0 : 1;
    if (!found) continue;
    for (const TensorInfo& tensor : found->tensors) {
      CHECK(tensor.begin >= 10);
      CHECK(tensor.begin + bytes_of(tensor) <= std::ssize(bad));
    }
  }
  CHECK(refused > 1000);
}

TEST_CASE("tensor part: a range of memory is at most three rectangles, which cover it") {
  const WeightPiece piece{.name = "w",
                          .rows = 10,
                          .columns = 8,
                          .first_row = 2,
                          .first_column = 4,
                          .piece_rows = 5,
                          .piece_columns = 4,
                          .offset = 3,
                          .stride = 4};
  std::vector<float> memory(40);
  for (std::int64_t first = 0; first < 30; ++first) {
    for (std::int64_t count = 0; first + count <= 30; ++count) {
      std::vector<int> seen(80);
      const WeightMemory range{memory.data(), TensorType::F32, first, count};
      const std::vector<TensorPart> parts = parts_of(piece, range);
      CHECK(parts.size() <= 3);
      for (const TensorPart& part : parts) {
        for (std::int64_t r = 0; r < part.rows; ++r) {
          for (std::int64_t c = 0; c < part.columns; ++c) {
            const std::int64_t row = part.first_row + r, column = part.first_column + c;
            ++seen[static_cast<std::size_t>(row * 8 + column)];
            const std::int64_t at = 3 + (row - 2) * 4 + column - 4;  // in the weight
            const float* const here = static_cast<float*>(part.data) + r * part.stride + c;
            CHECK(here - memory.data() == at - first);
          }
        }
      }
      int covered = 0;
      for (const int n : seen) covered += n;
      const std::int64_t begin = std::max<std::int64_t>(first, 3);
      const std::int64_t end = std::min<std::int64_t>(first + count, 23);
      CHECK(covered == std::max<std::int64_t>(0, end - begin));
      CHECK(*std::max_element(seen.begin(), seen.end()) <= 1);
    }
  }
}

TEST_CASE("tensor part: a transposed piece among the outputs of a larger tensor") {
  WeightPiece piece{.name = "k", .rows = 2, .columns = 3, .piece_rows = 2, .piece_columns = 3};
  piece.stride = 3;
  piece.stored = {.name = "qkv", .transposed = true, .first_output = 2, .outputs = 6};
  std::vector<float> memory = {0, 1, 2, 10, 11, 12};
  const std::vector<TensorPart> parts =
      parts_of(piece, {memory.data(), TensorType::F32, 0, 6}, ".exp_avg");
  REQUIRE(parts.size() == 1);
  const TensorInfo tensor{"qkv.exp_avg", TensorType::F32, {3, 6}, 0};
  CHECK(parts[0].name == tensor.name);
  const ScratchFolder folder;
  const std::string path = folder.write("x", std::string(72, '\0'));
  REQUIRE(write_part(ByteFile::open_to_write(path).value(), tensor, parts[0]));
  std::vector<float> whole(18);
  TensorPart all{tensor.name, {3, 6}, 0, 0, 3, 6, whole.data(), 6};
  REQUIRE(read_part(ByteFile::open(path).value(), tensor, all));
  CHECK(whole == std::vector<float>{0, 0, 0, 10, 0, 0, 0, 0, 1, 11, 0, 0, 0, 0, 2, 12, 0, 0});
  const std::vector<float> before = std::exchange(memory, std::vector<float>(6));
  TensorPart back = parts[0];
  back.data = memory.data();
  REQUIRE(read_part(ByteFile::open(path).value(), tensor, back));
  CHECK(memory == before);
}
