// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/file.h"
#include "base/json.h"
#include "runtime/checkpoint_files.h"
#include "runtime/checkpoint_state.h"

namespace narrows {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStep = "step-";
constexpr std::string_view kWriting = ".writing-";

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

Status check_agreement(const std::string& path, const TrainingState& found,
                       const TrainingState& expected) {
  if (found.version < expected.version) {
    return invalid(fmt::format(
        "{}/state.json: narrows_checkpoint: expected version {}, since when the rotated rows of "
        "latent attention lie in neighbouring pairs, found {}, with halves",
        path, expected.version, found.version));
  }
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
  TRY(add_checksums(aside.path(), file, comm));
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
