// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "comm/on_threads.h"
#include "runtime/checkpoint_files.h"
#include "runtime/portable.h"
#include "runtime/scratch_folder.h"

using namespace narrows;
using namespace narrows::test;

namespace {

constexpr const char* kMatrix = "model.layers.0.mlp.down_proj.weight";
constexpr const char* kNorm = "model.norm.weight";
constexpr std::int64_t kRows = 24;
constexpr std::int64_t kColumns = 36;

// The value of an element after so many steps: what an undisturbed training would have.
float value(std::int64_t step, std::int64_t i) {
  return static_cast<float>(mix(static_cast<std::uint64_t>(step * 4099 + i)) >> 40);
}

enum class Cut { Rows, Columns };

// One rank's share of the matrix, and on rank 0 the norm; moments are its negation.
struct Shard {
  Shard(int rank, int ranks, Cut cut) {
    const std::int64_t whole = cut == Cut::Rows ? kRows : kColumns;
    const std::int64_t begin = whole * rank / ranks;
    const std::int64_t count = whole * (rank + 1) / ranks - begin;
    matrix.name = kMatrix;
    matrix.shape = {kRows, kColumns};
    (cut == Cut::Rows ? matrix.first_row : matrix.first_column) = begin;
    matrix.rows = cut == Cut::Rows ? count : kRows;
    matrix.columns = cut == Cut::Rows ? kColumns : count;
    matrix.stride = matrix.columns + 3;
    weights.resize(static_cast<std::size_t>(matrix.rows * matrix.stride));
    moments.resize(weights.size());
    has_norm = rank == 0;
    norm.resize(kColumns);
  }

  CheckpointParts parts() {
    CheckpointParts all;
    matrix.data = weights.data();
    all.weights.push_back(matrix);
    if (has_norm) {
      all.weights.push_back({kNorm, {kColumns}, 0, 0, 1, kColumns, norm.data(), kColumns});
    }
    TensorPart moment = matrix;
    moment.name += ".exp_avg";
    moment.data = moments.data();
    all.optimizer.push_back(moment);
    return all;
  }

  template <typename Action>
  void each(Action action) {
    for (std::int64_t r = 0; r < matrix.rows; ++r) {
      for (std::int64_t c = 0; c < matrix.columns; ++c) {
        const std::int64_t i = (matrix.first_row + r) * kColumns + matrix.first_column + c;
        const std::size_t at = static_cast<std::size_t>(r * matrix.stride + c);
        action(weights[at], moments[at], i);
      }
    }
  }
  void set(std::int64_t step) {
    each([&](float& w, float& m, std::int64_t i) {
      w = value(step, i);
      m = -w;
    });
    for (std::int64_t c = 0; c < kColumns; ++c) {
      norm[static_cast<std::size_t>(c)] = value(step, -1 - c);
    }
  }
  bool is(std::int64_t step) {
    bool same = true;
    each(
        [&](float& w, float& m, std::int64_t i) { same = same && w == value(step, i) && m == -w; });
    for (std::int64_t c = 0; has_norm && c < kColumns; ++c) {
      same = same && norm[static_cast<std::size_t>(c)] == value(step, -1 - c);
    }
    return same;
  }

  TensorPart matrix;
  bool has_norm = false;
  std::vector<float> weights, moments, norm;
};

TrainingState state_at(std::int64_t step) { return {step, "tiny", "portable:0"}; }

CheckpointOptions in_folder(const std::string& folder) { return {.folder = folder}; }

std::string first_error(const std::vector<Status>& results) {
  for (const Status& result : results) {
    if (!result && !result.error().message.starts_with("rank ")) return result.error().message;
  }
  return "";
}

std::string save(const CheckpointOptions& options, std::int64_t step, int ranks, Cut cut) {
  return first_error(on_threads({.ranks = ranks}, [&](Communicator& comm) -> Status {
    Shard shard(comm.rank(), ranks, cut);
    shard.set(step);
    return save_checkpoint(options, state_at(step), shard.parts(), comm);
  }));
}

std::string load(const std::string& path, std::int64_t step, int ranks, Cut cut) {
  return first_error(on_threads({.ranks = ranks}, [&](Communicator& comm) -> Status {
    Shard shard(comm.rank(), ranks, cut);
    const TrainingState found = TRY(load_checkpoint(path, state_at(0), shard.parts(), comm));
    if (found.step != step) return invalid(fmt::format("found step {}", found.step));
    return shard.is(step) ? Status() : invalid("other values");
  }));
}

// Overwrites one byte of a file.
void spoil(const std::string& path, std::size_t at) {
  std::string content = read_file(path).value();
  content.at(at) = static_cast<char>(content[at] ^ 1);
  std::ofstream(path, std::ios::binary) << content;
}

// Makes a checkpoint's state say that another version of the format wrote it.
void restate(const std::string& checkpoint, int version) {
  Json state = Json::object();
  const Json before = read_json(checkpoint + "/state.json").value();
  for (const auto& [key, value] : before.members()) {
    if (key != "checksum") state.set(key, value);
  }
  state.set("narrows_checkpoint", version);
  const std::string body = state.compact();
  const std::uint64_t sum = checksum(std::as_bytes(std::span<const char>(body)));
  state.set("checksum", fmt::format("{:016x}", sum));
  std::ofstream(checkpoint + "/state.json") << state.text() << "\n";
}

std::string load_state(const std::string& path, const TrainingState& expected) {
  return first_error(on_threads({.ranks = 1}, [&](Communicator& comm) -> Status {
    const Result<TrainingState> found = load_checkpoint(path, expected, {}, comm);
    return found ? Status() : tl::unexpected<Error>(found.error());
  }));
}

}  // namespace

TEST_CASE("checkpoint: what one layout has saved, another loads") {
  for (const int writers : {1, 2, 5}) {
    for (const Cut cut : {Cut::Rows, Cut::Columns}) {
      const ScratchFolder folder;
      CHECK(save(in_folder(folder.path()), 7, writers, cut) == "");
      for (const int readers : {1, 3, 4}) {
        CHECK(load(folder.path(), 7, readers, Cut::Rows) == "");
        CHECK(load(folder.path(), 7, readers, Cut::Columns) == "");
      }
    }
  }
}

TEST_CASE("checkpoint: the newest is loaded, and older ones are removed") {
  const ScratchFolder folder;
  for (const std::int64_t step : {9, 10, 100}) {
    CHECK(save(in_folder(folder.path()), step, 2, Cut::Rows) == "");
  }
  CHECK(load(folder.path(), 100, 2, Cut::Rows) == "");
  CHECK(load(folder.file("step-0000000010"), 10, 2, Cut::Rows) == "");
  CHECK_FALSE(std::filesystem::exists(folder.file("step-0000000009")));
  int entries = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    entries += entry.exists() ? 1 : 0;
  }
  CHECK(entries == 2);
}

TEST_CASE("checkpoint: files of weights have Hugging Face's layout") {
  const ScratchFolder folder;
  CheckpointOptions options = in_folder(folder.path());
  options.file_limit = 1000;  // the matrix alone exceeds it
  REQUIRE(save(options, 1, 2, Cut::Rows) == "");
  const std::string at = folder.file("step-0000000001");
  const Json index = read_json(at + "/model.safetensors.index.json").value();
  const Json& map = *index.find("weight_map");
  CHECK(map.find(kMatrix)->string() == "model-00001-of-00002.safetensors");
  CHECK(map.find(kNorm)->string() == "model-00002-of-00002.safetensors");
  CHECK(index.find("metadata")->find("total_size")->integer() == 4 * kColumns * (kRows + 1));
  const SafetensorsHeader header = read_header(at + "/model-00001-of-00002.safetensors").value();
  REQUIRE(header.tensors.size() == 1);
  CHECK(header.tensors[0].shape == std::vector<std::int64_t>{kRows, kColumns});
  CHECK(header.tensors[0].begin % 8 == 0);
  std::vector<float> norm(kColumns);
  const TensorPart part{kNorm, {kColumns}, 0, 0, 1, kColumns, norm.data(), kColumns};
  REQUIRE(load_weights(at, std::span<const TensorPart>(&part, 1)));
  CHECK(norm[5] == value(1, -6));
}

TEST_CASE("checkpoint: a changed, truncated or missing file is named") {
  const ScratchFolder folder;
  const auto said = [&](const char* file, auto damage) {
    std::filesystem::remove_all(folder.path());
    std::filesystem::create_directory(folder.path());
    REQUIRE(save(in_folder(folder.path()), 3, 2, Cut::Rows) == "");
    const std::string path = folder.file("step-0000000003/") + file;
    damage(path);
    const std::string message = load(folder.path(), 3, 2, Cut::Rows);
    return message.substr(std::min(message.size(), message.find(file)));
  };
  CHECK_THAT(said("model.safetensors", [](const std::string& p) { spoil(p, 500); }),
             Catch::StartsWith("model.safetensors: the checksum of bytes 0 to "));
  CHECK_THAT(said("optimizer.safetensors",
                  [](const std::string& p) { std::filesystem::resize_file(p, 1000); }),
             Catch::EndsWith("found 1000: it was truncated"));
  CHECK(said("model.safetensors", [](const std::string& p) { std::filesystem::remove(p); }) ==
        "model.safetensors: no such file");
  CHECK_THAT(said("state.json", [](const std::string& p) { spoil(p, 40); }),
             Catch::StartsWith("state.json:"));
  CHECK_THAT(said("state.json", [](const std::string& p) { std::filesystem::resize_file(p, 90); }),
             Catch::StartsWith("state.json:"));
}

TEST_CASE("checkpoint: one of another model or other data is refused") {
  const ScratchFolder folder;
  REQUIRE(save(in_folder(folder.path()), 3, 1, Cut::Rows) == "");
  const auto said = [&](const TrainingState& expected) {
    return load_state(folder.path(), expected);
  };
  const std::string at = folder.file("step-0000000003");
  CHECK(said({0, "huge", "portable:0"}) == at + ": expected a checkpoint of huge, found tiny");
  CHECK(said({0, "tiny", "portable:1"}) ==
        at + ": expected a checkpoint after data portable:1, found portable:0");
  CHECK(load(folder.file("nowhere"), 3, 1, Cut::Rows) ==
        folder.file("nowhere") + ": expected a folder of checkpoints, found none");
  std::filesystem::create_directory(folder.file("empty"));
  CHECK(load(folder.file("empty"), 3, 1, Cut::Rows) ==
        folder.file("empty") + ": holds no checkpoint");
}

TEST_CASE("checkpoint: one whose rotated rows lie in the order of before is refused") {
  const ScratchFolder folder;
  REQUIRE(save(in_folder(folder.path()), 3, 1, Cut::Rows) == "");
  const std::string at = folder.file("step-0000000003");
  TrainingState rotated = state_at(0);
  rotated.version = kRotatedPairsSince;
  CHECK(load_state(at, rotated) == "");
  restate(at, 1);
  CHECK(load_state(at, state_at(0)) == "");
  CHECK(load_state(at, rotated) == at +
                                       "/state.json: narrows_checkpoint: expected version 2, since "
                                       "when the rotated rows of latent attention lie in "
                                       "neighbouring pairs, found 1, with halves");
  restate(at, kCheckpointVersion + 1);
  CHECK_THAT(load_state(at, state_at(0)), Catch::Contains("narrows_checkpoint: expected "));
}

TEST_CASE("checkpoint: a full disk is one sentence, and the older checkpoint stays") {
  const ScratchFolder folder;
  REQUIRE(save(in_folder(folder.path()), 3, 2, Cut::Rows) == "");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = 2000;  // bytes a file: as if the disk were full
  ::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message = save(in_folder(folder.path()), 4, 2, Cut::Rows);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK_THAT(message, Catch::Contains("model.safetensors: cannot reserve"));
  CHECK(load(folder.path(), 3, 2, Cut::Columns) == "");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("checkpoint: a new job does not begin in a folder that holds some") {
  const ScratchFolder folder;
  const auto said = [&](bool is_resumed) {
    return first_error(on_threads({.ranks = 2}, [&](Communicator& comm) {
      return prepare_checkpoints(in_folder(folder.file("a/b")), is_resumed, comm);
    }));
  };
  CHECK(said(false) == "");
  REQUIRE(save(in_folder(folder.file("a/b")), 3, 1, Cut::Rows) == "");
  CHECK(said(true) == "");
  CHECK(said(false) == folder.file("a/b") +
                           ": expected a folder without checkpoints, found step-0000000003: resume "
                           "from it or name another");
}

TEST_CASE("checkpoint: parts that leave something out are refused") {
  const ScratchFolder folder;
  const std::string message =
      first_error(on_threads({.ranks = 1}, [&](Communicator& comm) -> Status {
        Shard shard(0, 2, Cut::Rows);  // half of the matrix
        return save_checkpoint(in_folder(folder.path()), state_at(1), shard.parts(), comm);
      }));
  CHECK(message == std::string(kMatrix) + ": the ranks' parts cover 432 of 864 elements");
}

namespace {

// A job of two ranks: resumes if there is something, then saves every step until it is killed.
// Exits 1 where what it finds is not what an undisturbed job would have.
int job(const std::string& folder) {
  const std::vector<Status> results = on_threads({.ranks = 2}, [&](Communicator& comm) -> Status {
    Shard shard(comm.rank(), 2, Cut::Columns);
    std::int64_t step = 0;
    TRY(prepare_checkpoints(in_folder(folder), true, comm));
    const Result<TrainingState> found = load_checkpoint(folder, state_at(0), shard.parts(), comm);
    if (found) {
      step = found->step;
      if (!shard.is(step)) return invalid("other values");
    } else if (found.error().code != ErrorCode::NotFound) {
      return tl::unexpected<Error>(found.error());
    }
    for (;;) {
      shard.set(++step);
      TRY(save_checkpoint(in_folder(folder), state_at(step), shard.parts(), comm));
    }
  });
  return first_error(results).empty() ? 0 : 1;
}

}  // namespace

TEST_CASE("checkpoint: a job killed at any moment resumes from a whole checkpoint") {
  const ScratchFolder folder;
  Random random(20261122);
  std::int64_t last = 0;
  for (int kill = 0; kill < 50; ++kill) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(job(folder.path()));
    std::this_thread::sleep_for(std::chrono::microseconds(random.between(2'000, 60'000)));
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));  // it had not ended by itself with a complaint
    std::int64_t newest = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("step-"))
        newest = std::max(newest, std::int64_t{std::stoll(name.substr(5))});
    }
    CHECK(newest >= last);  // nothing that was saved is lost
    last = newest;
  }
  CHECK(last > 0);
  CHECK(load(folder.path(), last, 3, Cut::Rows) == "");
}
