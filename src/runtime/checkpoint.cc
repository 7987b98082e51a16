// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/file.h"
#include "base/json.h"
#include "runtime/checkpoint_files.h"

namespace narrows {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStep = "step-";
constexpr std::string_view kWriting = ".writing-";
constexpr std::int64_t kBlock = std::int64_t{4} << 20;  // bytes under one checksum

std::string folder_of(std::int64_t step) { return fmt::format("step-{:010}", step); }

// "step-0000000120" -> 120, anything else -> -1.
std::int64_t step_of(const std::string& name) {
  if (!name.starts_with(kStep) || name.size() == kStep.size()) return -1;
  std::int64_t step = 0;
  for (const char c : name.substr(kStep.size())) {
    if (c < '0' || c > '9' || step > 1'000'000'000'000'000) return -1;
    step = 10 * step + (c - '0');
  }
  return step;
}

// Names in the folder, ascending. Io, also where it is no folder.
Result<std::vector<std::string>> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) return io_error(fmt::format("{}: cannot list: {}", folder, error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<std::int64_t>> steps_in(const std::string& folder) {
  std::vector<std::int64_t> steps;
  for (const std::string& name : TRY(names_in(folder))) {
    if (const std::int64_t step = step_of(name); step >= 0) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

void remove_quietly(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

// Removes what a job that was killed had begun.
Status remove_leftovers(const std::string& folder) {
  for (const std::string& name : TRY(names_in(folder))) {
    if (name.starts_with(kWriting)) remove_quietly(folder + "/" + name);
  }
  return {};
}

// The folder that is being written; removed unless it is kept.
class Aside {
 public:
  Aside(std::string path, bool owns) : path_(std::move(path)), owns_(owns) {}
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  ~Aside() {
    if (owns_) remove_quietly(path_);
  }
  const std::string& path() const { return path_; }
  void keep() { owns_ = false; }

 private:
  std::string path_;
  bool owns_;
};

Status create_files(const std::string& aside, std::span<const TensorFile> files) {
  std::error_code error;
  if (!fs::create_directory(aside, error)) {
    return io_error(
        fmt::format("{}: cannot create: {}", aside, error ? error.message() : "it exists already"));
  }
  for (const TensorFile& file : files) {
    const ByteFile made = TRY(ByteFile::create(aside + "/" + file.name, file.bytes));
    TRY(made.write(0, std::as_bytes(std::span<const char>(file.front))));
    TRY(made.sync());
  }
  return {};
}

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

struct StateFile {
  TrainingState state;
  std::vector<std::string> names;
  std::vector<std::int64_t> sizes;
  std::vector<std::uint64_t> sums;  // of blocks_of(sizes)
};

std::string sum_of(const Json& root) {
  const std::string text = root.compact();
  return fmt::format("{:016x}", checksum(std::as_bytes(std::span<const char>(text))));
}

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
  root.set("narrows_checkpoint", 1)
      .set("step", file.state.step)
      .set("model", file.state.model)
      .set("data", file.state.data)
      .set("block_bytes", kBlock)
      .set("files", files);
  root.set("checksum", sum_of(root));
  return root.text() + "\n";
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

Result<StateFile> read_state(const std::string& checkpoint) {
  const std::string path = checkpoint + "/state.json";
  const Json root = TRY(read_json(path));
  if (!root.is_object() || root.find("narrows_checkpoint") == nullptr) {
    return invalid(path + ": expected a checkpoint's state, found something else");
  }
  TRY(check_own_sum(root, path));
  JsonObject object = TRY(JsonObject::of(root, path));
  TRY(object.integer("narrows_checkpoint", 1, 1));
  TRY(object.integer("block_bytes", kBlock, kBlock));
  StateFile file;
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

Result<std::vector<ByteFile>> open_all(const std::string& folder,
                                       std::span<const std::string> names) {
  std::vector<ByteFile> files;
  for (const std::string& name : names) {
    files.push_back(TRY(ByteFile::open(folder + "/" + name)));
  }
  return files;
}

// Each rank looks at its share of the blocks; after the barrier all are known to be good.
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

Status check_agreement(const std::string& path, const TrainingState& found,
                       const TrainingState& expected) {
  if (found.model != expected.model) {
    return invalid(fmt::format("{}: expected a checkpoint of {}, found {}", path, expected.model,
                               found.model));
  }
  if (found.data != expected.data) {
    return invalid(fmt::format("{}: expected a checkpoint after data {}, found {}", path,
                               expected.data, found.data));
  }
  return {};
}

// `path` itself if it is a checkpoint, else its newest.
Result<std::string> newest(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    return not_found(path + ": expected a folder of checkpoints, found none");
  }
  if (fs::exists(path + "/state.json", error)) return path;
  const std::vector<std::int64_t> steps = TRY(steps_in(path));
  if (steps.empty()) return not_found(path + ": holds no checkpoint");
  return path + "/" + folder_of(steps.back());
}

// Rank 0: everything but the tensors' bytes is written, and the folder gets its name.
Status commit(const std::string& folder, const StateFile& file, Aside& aside) {
  TRY(write_file(aside.path() + "/state.json", text_of(file)));
  TRY(sync_folder(aside.path()));
  const std::string target = folder + "/" + folder_of(file.state.step);
  std::error_code error;
  fs::rename(aside.path(), target, error);
  if (error) return io_error(fmt::format("{}: cannot create: {}", target, error.message()));
  aside.keep();
  return sync_folder(folder);
}

Status remove_old(const CheckpointOptions& options) {
  const std::vector<std::int64_t> steps = TRY(steps_in(options.folder));
  for (std::size_t i = 0; i + static_cast<std::size_t>(std::max(1, options.keep)) < steps.size();
       ++i) {
    // First out of sight, so that what is half removed is no checkpoint.
    const std::string hidden =
        fmt::format("{}/{}{}", options.folder, kWriting, folder_of(steps[i]));
    std::error_code error;
    fs::rename(options.folder + "/" + folder_of(steps[i]), hidden, error);
    if (!error) remove_quietly(hidden);
  }
  return {};
}

}  // namespace

Status prepare_checkpoints(const CheckpointOptions& options, bool is_resumed, Communicator& comm) {
  if (comm.rank() == 0) {
    std::error_code error;
    fs::create_directories(options.folder, error);
    if (error) {
      return io_error(fmt::format("{}: cannot create: {}", options.folder, error.message()));
    }
    const std::vector<std::int64_t> steps = TRY(steps_in(options.folder));
    if (!steps.empty() && !is_resumed) {
      return invalid(
          fmt::format("{}: expected a folder without checkpoints, found {}: resume from "
                      "it or name another",
                      options.folder, folder_of(steps.back())));
    }
    TRY(remove_leftovers(options.folder));
  }
  return comm.barrier();
}

Status save_checkpoint(const CheckpointOptions& options, const TrainingState& state,
                       const CheckpointParts& parts, Communicator& comm) {
  std::vector<TensorFile> files =
      files_for("model", TRY(gather_tensors(parts.weights, comm)), options.file_limit);
  const std::size_t models = files.size();
  for (TensorFile& file :
       files_for("optimizer", TRY(gather_tensors(parts.optimizer, comm)), options.file_limit)) {
    files.push_back(std::move(file));
  }
  const bool leads = comm.rank() == 0;
  Aside aside(fmt::format("{}/{}{}", options.folder, kWriting, folder_of(state.step)), leads);
  if (leads) {
    TRY(remove_leftovers(options.folder));
    TRY(create_files(aside.path(), files));
    if (models > 1) {
      TRY(write_file(aside.path() + "/model.safetensors.index.json",
                     index_text(std::span<const TensorFile>(files).first(models))));
    }
  }
  TRY(comm.barrier());
  TensorStore store = TensorStore::of(aside.path(), files);
  for (const TensorPart& part : parts.weights) TRY(store.write(part));
  for (const TensorPart& part : parts.optimizer) TRY(store.write(part));
  TRY(store.sync());
  TRY(comm.barrier());
  StateFile file{state, {}, {}, {}};
  for (const TensorFile& one : files) {
    file.names.push_back(one.name);
    file.sizes.push_back(one.bytes);
  }
  const std::vector<ByteFile> written = TRY(open_all(aside.path(), file.names));
  file.sums = TRY(own_sums(written, blocks_of(file.sizes), comm));
  TRY(share(file.sums, comm));
  if (leads) {
    TRY(commit(options.folder, file, aside));
    TRY(remove_old(options));
  }
  return comm.barrier();
}

Result<TrainingState> load_checkpoint(const std::string& path, const TrainingState& expected,
                                      const CheckpointParts& parts, Communicator& comm) {
  const std::string folder = TRY(newest(path));
  const StateFile file = TRY(read_state(folder));
  TRY(check_agreement(folder, file.state, expected));
  TRY(verify(folder, file, comm));
  TensorStore store = TRY(TensorStore::open(folder, file.names));
  for (const TensorPart& part : parts.weights) TRY(store.read(part));
  for (const TensorPart& part : parts.optimizer) TRY(store.read(part));
  TRY(comm.barrier());
  return file.state;
}

Result<TrainingState> newest_state(const std::string& path) {
  const std::string folder = TRY(newest(path));
  return TRY(read_state(folder)).state;
}

Status load_weights(const std::string& path, std::span<const TensorPart> parts) {
  std::error_code error;
  std::string folder;
  std::vector<std::string> names = {path};
  if (fs::is_directory(path, error)) {
    folder = path;
    names = {"model.safetensors"};
    const std::string index = path + "/model.safetensors.index.json";
    if (fs::exists(index, error)) {
      const Json root = TRY(read_json(index));
      const Json* const map = root.is_object() ? root.find("weight_map") : nullptr;
      if (map == nullptr || !map->is_object()) {
        return invalid(index + ": expected a weight_map, found none");
      }
      names.clear();
      for (const auto& [tensor, name] : map->members()) {
        if (name.is_string()) names.push_back(name.string());
      }
      std::sort(names.begin(), names.end());
      names.erase(std::unique(names.begin(), names.end()), names.end());
    }
  }
  TensorStore store = TRY(TensorStore::open(folder, names));
  for (const TensorPart& part : parts) TRY(store.read(part));
  return {};
}

}  // namespace narrows
