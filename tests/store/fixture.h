// A folder that is gone with the test, and small measurements.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "store/store.h"

namespace narrows {

class ScratchFolder {
 public:
  ScratchFolder() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() /
            ("narrows_store_test_" + std::to_string(getpid()) + "_" + std::to_string(++count));
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, std::string_view content) const {
    REQUIRE(write_file(file(name), content).has_value());
    return file(name);
  }

 private:
  std::filesystem::path path_;
};

template <typename T>
T value_of(Result<T> result) {
  if (!result) FAIL(result.error().message);
  return std::move(*result);
}

// The sentence of a refusal; fails if there is none.
template <typename T>
std::string refusal_of(const Result<T>& result) {
  if (result) FAIL("expected a refusal, found a value");
  return result.error().message;
}

inline bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// A matmul of m = 4096 · i that takes i · 100 us.
inline KernelObservation matmul(int i, Direction direction = Direction::Forward) {
  KernelObservation row;
  row.what.family = KernelFamily::Matmul;
  row.what.direction = direction;
  row.what.matmul = {exactly(4096.0 * i), 2112, 7168, 1};
  row.what.time = 100.0 * i * us;
  row.spread = {99.0 * i * us, 103.0 * i * us, 50};
  row.kernel = "nvjet_tst";
  return row;
}

inline LinkObservation all_reduce(double bytes, double time_us) {
  LinkObservation row;
  row.what.ranks = 8;
  row.what.ranks_per_node = 8;
  row.what.bytes = bytes * byte;
  row.what.method = "nccl";
  row.what.dtype = "float";
  row.what.time = time_us * us;
  return row;
}

inline Machine h800() {
  return {"h800-sxm5", "NVIDIA H800", 1755 * MHz, 2619 * MHz, "570.1", "cuda 12.8"};
}

inline Batch batch_of(const std::string& hash, std::vector<KernelObservation> kernels,
                      std::vector<LinkObservation> links = {}) {
  Batch batch;
  batch.machine = h800();
  batch.origin = {"profile", "run.csv", hash, "", "2026-11-22"};
  batch.kernels = std::move(kernels);
  batch.links = std::move(links);
  return batch;
}

}  // namespace narrows
