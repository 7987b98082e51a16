// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "base/json.h"
#include "base/random.h"

namespace narrows {
namespace {

// One line a part: name, type, elements, extents, separated by tabs.
std::string table_of(std::span<const TensorPart> parts) {
  std::string text;
  for (const TensorPart& part : parts) {
    text += fmt::format("{}\t{}\t{}\t{}\n", part.name, static_cast<int>(part.type),
                        part.rows * part.columns, fmt::join(part.shape, "\t"));
  }
  return text;
}

Result<std::string> gather_text(const std::string& mine, Communicator& comm) {
  std::vector<double> lengths(static_cast<std::size_t>(comm.size()));
  const double length = static_cast<double>(mine.size());
  TRY(comm.all_gather(std::span<const double>(&length, 1), lengths));
  std::vector<std::int64_t> counts;
  std::size_t total = 0;
  for (const double l : lengths) {
    counts.push_back(static_cast<std::int64_t>(l));
    total += static_cast<std::size_t>(l);
  }
  std::string all(total, ' ');
  TRY(comm.all_gather(std::as_bytes(std::span<const char>(mine)),
                      std::as_writable_bytes(std::span<char>(all)), counts));
  return all;
}

struct Covered {
  TensorInfo tensor;
  std::int64_t elements = 0;
};

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(by), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::int64_t number(std::string_view word) {
  std::int64_t n = 0;
  for (const char c : word) n = 10 * n + (c - '0');
  return n;
}

std::uint64_t load64(const std::byte* at) {
  std::uint64_t word;
  std::memcpy(&word, at, 8);
  return word;
}

}  // namespace

Result<std::vector<TensorInfo>> gather_tensors(std::span<const TensorPart> parts,
                                               Communicator& comm) {
  const std::string table = TRY(gather_text(table_of(parts), comm));
  std::map<std::string, Covered, std::less<>> tensors;
  for (const std::string_view line : split(table, '\n')) {
    const std::vector<std::string_view> words = split(line, '\t');
    TensorInfo tensor{std::string(words[0]), static_cast<TensorType>(number(words[1])), {}, 0};
    for (std::size_t i = 3; i < words.size(); ++i) tensor.shape.push_back(number(words[i]));
    Covered& covered = tensors.try_emplace(tensor.name, Covered{tensor, 0}).first->second;
    if (covered.tensor != tensor) {
      return invalid(tensor.name + ": two ranks disagree on its type or shape");
    }
    covered.elements += number(words[2]);
  }
  std::vector<TensorInfo> all;
  for (const auto& [name, covered] : tensors) {
    if (covered.elements != elements_of(covered.tensor)) {
      return invalid(fmt::format("{}: the ranks' parts cover {} of {} elements", name,
                                 covered.elements, elements_of(covered.tensor)));
    }
    all.push_back(covered.tensor);
  }
  return all;
}

std::vector<TensorFile> files_for(const std::string& stem, std::vector<TensorInfo> tensors,
                                  std::int64_t limit) {
  std::vector<TensorFile> files(1);
  std::int64_t bytes = 0;
  for (TensorInfo& tensor : tensors) {
    if (bytes > 0 && bytes + bytes_of(tensor) > limit) {
      files.emplace_back();
      bytes = 0;
    }
    bytes += bytes_of(tensor);
    files.back().header.tensors.push_back(std::move(tensor));
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    TensorFile& file = files[i];
    file.name = files.size() == 1
                    ? stem + ".safetensors"
                    : fmt::format("{}-{:05}-of-{:05}.safetensors", stem, i + 1, files.size());
    file.header.metadata = {{"format", "pt"}};  // what readers of Hugging Face's files look for
    file.front = write_header(file.header);
    file.bytes = std::ssize(file.front);
    for (const TensorInfo& tensor : file.header.tensors) file.bytes += bytes_of(tensor);
  }
  return files;
}

std::string index_text(std::span<const TensorFile> files) {
  Json map = Json::object();
  std::int64_t total = 0;
  for (const TensorFile& file : files) {
    for (const TensorInfo& tensor : file.header.tensors) {
      map.append(tensor.name, file.name);
      total += bytes_of(tensor);
    }
  }
  Json root = Json::object();
  root.set("metadata", Json::object().set("total_size", total)).set("weight_map", map);
  return root.text() + "\n";
}

Result<TensorStore> TensorStore::open(const std::string& folder,
                                      std::span<const std::string> names) {
  TensorStore store;
  for (const std::string& name : names) {
    const std::string path = folder.empty() ? name : folder + "/" + name;
    const SafetensorsHeader header = TRY(read_header(path));
    for (const TensorInfo& tensor : header.tensors) {
      store.places_.insert_or_assign(tensor.name, Place{store.paths_.size(), tensor});
    }
    store.paths_.push_back(path);
  }
  store.files_.resize(store.paths_.size());
  store.is_open_.resize(store.paths_.size());
  return store;
}

TensorStore TensorStore::of(const std::string& folder, std::span<const TensorFile> files) {
  TensorStore store;
  for (const TensorFile& file : files) {
    for (const TensorInfo& tensor : file.header.tensors) {
      store.places_.insert_or_assign(tensor.name, Place{store.paths_.size(), tensor});
    }
    store.paths_.push_back(folder + "/" + file.name);
  }
  store.files_.resize(store.paths_.size());
  store.is_open_.resize(store.paths_.size());
  return store;
}

Result<ByteFile*> TensorStore::file_of(std::size_t index, bool to_write) {
  if (!is_open_[index]) {
    const std::string& path = paths_[index];
    files_[index] = TRY(to_write ? ByteFile::open_to_write(path) : ByteFile::open(path));
    is_open_[index] = 1;
  }
  return &files_[index];
}

Status TensorStore::read(const TensorPart& part) {
  const auto place = places_.find(part.name);
  if (place == places_.end()) {
    return invalid(fmt::format("{}: expected a tensor {}, found none",
                               paths_.empty() ? "checkpoint" : paths_.front(), part.name));
  }
  return read_part(*TRY(file_of(place->second.file, false)), place->second.tensor, part);
}

Status TensorStore::write(const TensorPart& part) {
  const auto place = places_.find(part.name);
  ASSERT(place != places_.end());
  return write_part(*TRY(file_of(place->second.file, true)), place->second.tensor, part);
}

Status TensorStore::sync() {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (is_open_[i]) TRY(files_[i].sync());
  }
  return {};
}

// Four words at a time, so that the multiplications of mix overlap.
std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t so_far) {
  std::uint64_t lanes[4] = {so_far ^ 1, so_far ^ 2, so_far ^ 3, so_far ^ 4};
  std::size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    for (std::size_t l = 0; l < 4; ++l) lanes[l] = mix(lanes[l] ^ load64(&bytes[at + 8 * l])) + l;
  }
  std::byte rest[32] = {};
  std::copy(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(), rest);
  std::uint64_t sum = mix(so_far + bytes.size());
  for (std::size_t l = 0; l < 4; ++l) sum = mix(sum ^ mix(lanes[l] ^ load64(&rest[8 * l])));
  return sum;
}

}  // namespace narrows
