// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint_state.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "runtime/byte_file.h"
#include "runtime/checkpoint_files.h"

namespace narrows {
namespace {

constexpr std::int64_t kBlock = std::int64_t{4} << 20;  // bytes under one checksum

struct Block {
  std::size_t file = 0;
  std::int64_t begin = 0;
  std::int64_t bytes = 0;
};

std::vector<Block> blocks_of(std::span<const std::int64_t> sizes) {
  std::vector<Block> blocks;
  for (std::size_t f = 0; f < sizes.size(); ++f) {
    for (std::int64_t at = 0; at < sizes[f]; at += kBlock) {
      blocks.push_back({f, at, std::min(kBlock, sizes[f] - at)});
    }
  }
  return blocks;
}

// The checksums of this rank's share of the blocks, zero for the others'.
Result<std::vector<std::uint64_t>> own_sums(std::span<const ByteFile> files,
                                            std::span<const Block> blocks, Communicator& comm) {
  std::vector<std::uint64_t> sums(blocks.size());
  std::vector<std::byte> content;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (static_cast<int>(i % static_cast<std::size_t>(comm.size())) != comm.rank()) continue;
    comm.alive();
    content.resize(static_cast<std::size_t>(blocks[i].bytes));
    TRY(files[blocks[i].file].read(blocks[i].begin, content));
    sums[i] = checksum(content);
  }
  return sums;
}

// Everyone's: each word is written by one rank and zero at the others.
Status share(std::vector<std::uint64_t>& sums, Communicator& comm) {
  std::vector<std::int32_t> halves;
  for (const std::uint64_t sum : sums) {
    halves.push_back(static_cast<std::int32_t>(sum & 0xFFFFFFFFu));
    halves.push_back(static_cast<std::int32_t>(sum >> 32));
  }
  TRY(comm.all_reduce(halves));
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i] = static_cast<std::uint64_t>(static_cast<std::uint32_t>(halves[2 * i + 1])) << 32 |
              static_cast<std::uint32_t>(halves[2 * i]);
  }
  return {};
}

std::string sum_of(const Json& root) {
  const std::string text = root.compact();
  return fmt::format("{:016x}", checksum(std::as_bytes(std::span<const char>(text))));
}

Result<std::uint64_t> parse_sum(const Json& node, const std::string& path) {
  std::uint64_t sum = 0;
  if (!node.is_string() || node.string().size() != 16) {
    return invalid(path + ": expected checksums of 16 digits");
  }
  for (const char c : node.string()) {
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && (c < 'a' || c > 'f')) {
      return invalid(path + ": expected checksums of 16 digits");
    }
    sum = sum << 4 | static_cast<std::uint64_t>(is_digit ? c - '0' : c - 'a' + 10);
  }
  return sum;
}

Status read_file_entry(const Json& node, const std::string& path, StateFile& file) {
  JsonObject entry = TRY(JsonObject::of(node, path, "files"));
  file.names.push_back(TRY(entry.string("name")));
  file.sizes.push_back(TRY(entry.integer("bytes", 0, std::int64_t{1} << 60)));
  const Json& sums = *TRY(entry.array("checksums"));
  for (const Json& sum : sums.items()) file.sums.push_back(TRY(parse_sum(sum, path)));
  TRY(entry.finish());
  const bool is_plain = file.names.back().find('/') == std::string::npos;
  const std::int64_t blocks = (file.sizes.back() + kBlock - 1) / kBlock;
  if (is_plain && std::ssize(sums.items()) == blocks) return {};
  return invalid(
      fmt::format("{}: file \"{}\" does not have its checksums", path, file.names.back()));
}

Status check_own_sum(const Json& root, const std::string& path) {
  Json body = Json::object();
  for (const auto& [key, value] : root.members()) {
    if (key != "checksum") body.append(key, value);
  }
  const Json* const sum = root.find("checksum");
  if (sum != nullptr && sum->is_string() && sum->string() == sum_of(body)) return {};
  return invalid(path + ": its checksum differs: it was changed after it was written");
}

Result<std::vector<ByteFile>> open_all(const std::string& folder,
                                       std::span<const std::string> names) {
  std::vector<ByteFile> files;
  for (const std::string& name : names) {
    files.push_back(TRY(ByteFile::open(folder + "/" + name)));
  }
  return files;
}

}  // namespace

std::string text_of(const StateFile& file) {
  Json files = Json::array();
  const std::vector<Block> blocks = blocks_of(file.sizes);
  for (std::size_t f = 0; f < file.names.size(); ++f) {
    Json sums = Json::array();
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i].file == f) sums.push(fmt::format("{:016x}", file.sums[i]));
    }
    files.push(Json::object()
                   .set("name", file.names[f])
                   .set("bytes", file.sizes[f])
                   .set("checksums", sums));
  }
  Json root = Json::object();
  root.set("narrows_checkpoint", kCheckpointVersion)
      .set("step", file.state.step)
      .set("model", file.state.model)
      .set("data", file.state.data)
      .set("block_bytes", kBlock)
      .set("files", files);
  root.set("checksum", sum_of(root));
  return root.text() + "\n";
}

Result<StateFile> read_state(const std::string& checkpoint) {
  const std::string path = checkpoint + "/state.json";
  const Json root = TRY(read_json(path));
  if (!root.is_object() || root.find("narrows_checkpoint") == nullptr) {
    return invalid(path + ": expected a checkpoint's state, found something else");
  }
  TRY(check_own_sum(root, path));
  JsonObject object = TRY(JsonObject::of(root, path));
  StateFile file;
  file.state.version =
      static_cast<int>(TRY(object.integer("narrows_checkpoint", 1, kCheckpointVersion)));
  TRY(object.integer("block_bytes", kBlock, kBlock));
  file.state.step = TRY(object.integer("step", 0, std::int64_t{1} << 60));
  file.state.model = TRY(object.string("model"));
  file.state.data = TRY(object.string("data"));
  for (const Json& node : (*TRY(object.array("files"))).items()) {
    TRY(read_file_entry(node, path, file));
  }
  object.skip("checksum");
  TRY(object.finish());
  return file;
}

Status add_checksums(const std::string& folder, StateFile& file, Communicator& comm) {
  const std::vector<ByteFile> written = TRY(open_all(folder, file.names));
  file.sums = TRY(own_sums(written, blocks_of(file.sizes), comm));
  return share(file.sums, comm);
}

Status verify(const std::string& folder, const StateFile& file, Communicator& comm) {
  const std::vector<ByteFile> files = TRY(open_all(folder, file.names));
  for (std::size_t f = 0; f < files.size(); ++f) {
    if (files[f].size() == file.sizes[f]) continue;
    return invalid(fmt::format("{}: expected {} bytes, found {}: it was {}", files[f].path(),
                               file.sizes[f], files[f].size(),
                               files[f].size() < file.sizes[f] ? "truncated" : "appended to"));
  }
  const std::vector<Block> blocks = blocks_of(file.sizes);
  const std::vector<std::uint64_t> sums = TRY(own_sums(files, blocks, comm));
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (static_cast<int>(i % static_cast<std::size_t>(comm.size())) != comm.rank()) continue;
    if (sums[i] == file.sums[i]) continue;
    return invalid(fmt::format(
        "{}: the checksum of bytes {} to {} differs: it was changed after "
        "it was written",
        files[blocks[i].file].path(), blocks[i].begin, blocks[i].begin + blocks[i].bytes - 1));
  }
  return comm.barrier();
}

}  // namespace narrows
