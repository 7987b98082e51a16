// SPDX-License-Identifier: Apache-2.0
#include "runtime/workers.h"

#include <catch2/catch.hpp>
#include <vector>

namespace narrows {

TEST_CASE("workers: every piece is done once, whoever takes it") {
  for (const int threads : {1, 2, 3}) {
    Workers workers(threads);
    for (const std::int64_t runs : {1, 4}) {
      for (const std::int64_t count : {0, 1, 15, 16, 17, 100, 1000}) {
        std::vector<int> done(static_cast<std::size_t>(count));
        std::vector<int> odd(static_cast<std::size_t>(threads));
        workers.share(
            count, 16,
            [&](int worker, std::int64_t first, std::int64_t last) {
              odd[static_cast<std::size_t>(worker)] += first % 16 != 0 || last > count ? 1 : 0;
              for (std::int64_t i = first; i < last; ++i) ++done[static_cast<std::size_t>(i)];
            },
            runs);
        INFO(threads << " threads, " << runs << " runs, " << count);
        CHECK(done == std::vector<int>(static_cast<std::size_t>(count), 1));
        CHECK(odd == std::vector<int>(static_cast<std::size_t>(threads), 0));
      }
    }
  }
}

TEST_CASE("workers: a run a thread, where no more are asked for") {
  Workers workers(3);
  std::vector<int> calls(3);
  for (int i = 0; i < 100; ++i) {
    workers.share(3, 1, [&](int worker, std::int64_t, std::int64_t) {
      ++calls[static_cast<std::size_t>(worker)];
    });
  }
  CHECK(calls == std::vector<int>(3, 100));
}

}  // namespace narrows
