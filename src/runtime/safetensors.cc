// SPDX-License-Identifier: Apache-2.0
#include "runtime/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "base/json.h"
#include "runtime/byte_file.h"

namespace narrows {
namespace {

struct TypeName {
  const char* name;
  TensorType type;
  int bytes;
};
constexpr TypeName kTypes[] = {
    {"F64", TensorType::F64, 8},        {"F32", TensorType::F32, 4},
    {"F16", TensorType::F16, 2},        {"BF16", TensorType::Bf16, 2},
    {"F8_E4M3", TensorType::F8E4m3, 1}, {"F8_E5M2", TensorType::F8E5m2, 1},
    {"I64", TensorType::I64, 8},        {"I32", TensorType::I32, 4},
    {"I16", TensorType::I16, 2},        {"I8", TensorType::I8, 1},
    {"U8", TensorType::U8, 1},          {"BOOL", TensorType::Bool, 1}};

constexpr std::int64_t kLongestHeader = 100'000'000;  // the format's own limit
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLongestFile = std::int64_t{1} << 56;  // sums of places cannot overflow

const TypeName& entry_of(TensorType type) {
  for (const TypeName& entry : kTypes) {
    if (entry.type == type) return entry;
  }
  return kTypes[0];
}

std::optional<TensorType> type_of(std::string_view name) {
  for (const TypeName& entry : kTypes) {
    if (entry.name == name) return entry.type;
  }
  return std::nullopt;
}

// Elements, or nothing if there are more than a file can hold.
std::optional<std::int64_t> product(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (const std::int64_t extent : shape) {
    if (extent != 0 && n > kMost / 16 / extent) return std::nullopt;
    n *= extent;
  }
  return n;
}

Result<std::vector<std::int64_t>> whole_numbers(JsonObject& object, const char* key) {
  std::vector<std::int64_t> numbers;
  const Json& array = *TRY(object.array(key));
  for (const Json& item : array.items()) {
    if (item.kind() != Json::Kind::Integer || item.integer() < 0) {
      return invalid(fmt::format("{}: expected whole numbers, found {}", object.place(key),
                                 item.description()));
    }
    numbers.push_back(item.integer());
  }
  return numbers;
}

// `data` is where the tensors' bytes begin.
Result<TensorInfo> read_tensor(const Json& node, const std::string& path, const std::string& name,
                               std::int64_t data) {
  JsonObject object = TRY(JsonObject::of(node, path, name));
  TensorInfo tensor;
  tensor.name = name;
  const std::string type = TRY(object.string("dtype"));
  const std::optional<TensorType> known = type_of(type);
  if (!known) return unsupported(fmt::format("{}: {}: unknown type {}", path, name, type));
  tensor.type = *known;
  tensor.shape = TRY(whole_numbers(object, "shape"));
  const std::vector<std::int64_t> place = TRY(whole_numbers(object, "data_offsets"));
  TRY(object.finish());
  const std::optional<std::int64_t> elements = product(tensor.shape);
  const bool agrees = elements && place.size() == 2 && place[0] <= place[1] &&
                      place[1] < kLongestFile &&
                      place[1] - place[0] == *elements * bytes_of(tensor.type);
  if (!agrees) {
    return invalid(fmt::format("{}: {}: its bytes are not those of its shape", path, name));
  }
  tensor.begin = data + place[0];
  return tensor;
}

Status read_metadata(const Json& node, const std::string& path, SafetensorsHeader& header) {
  if (!node.is_object()) return invalid(path + ": __metadata__: expected an object");
  for (const auto& [key, value] : node.members()) {
    if (!value.is_string()) return invalid(path + ": __metadata__: expected strings");
    header.metadata.emplace_back(key, value.string());
  }
  return {};
}

Status check_places(const SafetensorsHeader& header, const std::string& path, std::int64_t data,
                    std::int64_t size) {
  std::int64_t at = data;
  for (const TensorInfo& tensor : header.tensors) {
    if (tensor.begin != at) {
      return invalid(fmt::format("{}: {}: expected to begin at byte {}, found {}", path,
                                 tensor.name, at, tensor.begin));
    }
    at += bytes_of(tensor);
  }
  if (at == size) return {};
  return invalid(fmt::format("{}: expected {} bytes, found {}: it was {}", path, at, size,
                             size < at ? "truncated" : "appended to"));
}

tl::unexpected<Error> not_safetensors(const std::string& path) {
  return invalid(path + ": expected a safetensors file, found something else");
}

Result<std::string> header_text(const ByteFile& file) {
  std::uint64_t length = 0;
  if (file.size() < 10) return not_safetensors(file.path());
  TRY(file.read(0, std::as_writable_bytes(std::span<std::uint64_t>(&length, 1))));
  if (length < 2 || length > static_cast<std::uint64_t>(kLongestHeader)) {
    return not_safetensors(file.path());
  }
  if (static_cast<std::int64_t>(length) > file.size() - 8) {
    return invalid(fmt::format("{}: its header should have {} bytes, the file ends before that",
                               file.path(), length));
  }
  std::string text(length, ' ');
  TRY(file.read(8, std::as_writable_bytes(std::span<char>(text))));
  if (text.front() != '{') return not_safetensors(file.path());
  return text;
}

}  // namespace

std::string to_string(TensorType type) { return entry_of(type).name; }

int bytes_of(TensorType type) { return entry_of(type).bytes; }

std::int64_t elements_of(const TensorInfo& tensor) { return product(tensor.shape).value_or(0); }

std::int64_t bytes_of(const TensorInfo& tensor) {
  return elements_of(tensor) * bytes_of(tensor.type);
}

std::string write_header(SafetensorsHeader& header) {
  Json root = Json::object();
  if (!header.metadata.empty()) {
    Json metadata = Json::object();
    for (const auto& [key, value] : header.metadata) metadata.set(key, value);
    root.set("__metadata__", metadata);
  }
  std::int64_t at = 0;
  for (TensorInfo& tensor : header.tensors) {
    Json shape = Json::array();
    for (const std::int64_t extent : tensor.shape) shape.push(extent);
    Json place = Json::array();
    place.push(at).push(at + bytes_of(tensor));
    Json node = Json::object();
    node.set("dtype", to_string(tensor.type)).set("shape", shape).set("data_offsets", place);
    root.append(tensor.name, node);
    tensor.begin = at;
    at += bytes_of(tensor);
  }
  std::string text = root.compact();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  for (TensorInfo& tensor : header.tensors) {
    tensor.begin += static_cast<std::int64_t>(8 + text.size());
  }
  return out + text;
}

Result<SafetensorsHeader> read_header(const std::string& path) {
  const ByteFile file = TRY(ByteFile::open(path));
  const std::string text = TRY(header_text(file));
  const Json root = TRY(parse_json(text, path));
  if (!root.is_object()) return not_safetensors(path);
  const std::int64_t data = 8 + static_cast<std::int64_t>(text.size());
  SafetensorsHeader header;
  for (const auto& [name, node] : root.members()) {
    if (name == "__metadata__") {
      TRY(read_metadata(node, path, header));
    } else {
      header.tensors.push_back(TRY(read_tensor(node, path, name, data)));
    }
  }
  std::stable_sort(header.tensors.begin(), header.tensors.end(),
                   [](const TensorInfo& a, const TensorInfo& b) { return a.begin < b.begin; });
  TRY(check_places(header, path, data, file.size()));
  return header;
}

}  // namespace narrows
