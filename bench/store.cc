// A store of a million rows: how long it takes to write, open, read, merge and export, and how
// large it is. Half the rows are ops that several origins measured.
//
//   narrows_bench_store [ROWS]     (1000000), in the folder for temporary files
//
// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "base/random.h"
#include "bench/timing.h"
#include "store/profile_text.h"

using namespace narrows;

namespace {

constexpr int kRowsOfAnOrigin = 10'000;

// Kernels of shapes that the next origin measures again, and links.
Batch batch_of(int number, int rows) {
  Random random(static_cast<std::uint64_t>(number / 2));
  Batch batch;
  batch.machine = {"h800-sxm5", "NVIDIA H800", 1755 * MHz, 2619 * MHz, "570.1", "cuda 12.8"};
  batch.origin = {"bench", "bench", fmt::format("{}", number), "", "2026-11-22"};
  for (int i = 0; i < rows; ++i) {
    const double time = 1 + 1000 * random.uniform();
    if (i % 4 == 3) {
      LinkObservation link;
      link.what.ranks = 8;
      link.what.bytes = static_cast<double>(random.between(8, 1 << 30)) * byte;
      link.what.method = "nccl";
      link.what.time = time * us;
      batch.links.push_back(link);
      continue;
    }
    KernelObservation kernel;
    kernel.what.direction = static_cast<Direction>(i % 3);
    kernel.what.matmul = {exactly(static_cast<double>(random.between(1, 1 << 15))),
                          random.between(64, 32768), random.between(64, 32768), 1};
    kernel.what.time = time * us;
    kernel.spread = {0.99 * time * us, 1.05 * time * us, 50};
    kernel.kernel = "nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT";
    batch.kernels.push_back(kernel);
  }
  return batch;
}

template <typename Work>
double seconds_of(Work work) {
  return least_time(1, work) / sec;
}

void row(const std::string& what, double seconds, std::int64_t rows) {
  fmt::print("{:<28} {:>8.2f} s {:>12.0f} rows/s\n", what, seconds,
             static_cast<double>(rows) / seconds);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const int rows = argc > 1 ? std::atoi(argv[1]) : 1'000'000;
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "narrows_bench";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "m.db").string();
  double writing = 0;
  {
    Store store = needed(Store::open(path));
    for (int i = 0; i * kRowsOfAnOrigin < rows; ++i) {
      const std::vector<Batch> batches{batch_of(i, std::min(kRowsOfAnOrigin, rows))};
      writing += seconds_of([&] { needed(store.add(batches)); });
    }
  }
  row("write, 10,000 a batch", writing, rows);
  fmt::print("{:<28} {:>8.0f} MB\n", "file",
             static_cast<double>(std::filesystem::file_size(path)) / 1e6);
  std::size_t found = 0;
  row("kernel table of the chip", seconds_of([&] {
        const Store store = needed(Store::open_to_read(path));
        found = needed(store.kernel_table("h800-sxm5")).size();
      }),
      rows);
  row("machines", seconds_of([&] { needed(needed(Store::open_to_read(path)).machines()); }), rows);
  row("merge into an empty store", seconds_of([&] {
        Store store = needed(Store::open((folder / "other.db").string()));
        std::vector<Store> others;
        others.push_back(needed(Store::open_to_read(path)));
        needed(store.add({}, others));
      }),
      rows);
  row("merge again: all known", seconds_of([&] {
        Store store = needed(Store::open((folder / "other.db").string()));
        std::vector<Store> others;
        others.push_back(needed(Store::open_to_read(path)));
        needed(store.add({}, others));
      }),
      rows);
  row("export as text",
      seconds_of([&] { needed(profile_text(needed(Store::open_to_read(path)))); }), rows);
  fmt::print("{:<28} {:>8}\n", "ops of the kernel table", found);
  std::filesystem::remove_all(folder);
  return 0;
}
