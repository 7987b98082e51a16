// SPDX-License-Identifier: Apache-2.0
#include "runtime/storage.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>

#include "base/random.h"

using namespace narrows;

TEST_CASE("storage: arrays of a pool never overlap, whatever their sizes and lives") {
  StoragePool pool;
  Random random(7);
  struct Held {
    Storage storage;
    float mark = 0;
  };
  std::vector<Held> held;
  for (int step = 0; step < 2000; ++step) {
    if (!held.empty() && random.below(3) == 0) {
      Held& one = held[random.below(held.size())];
      const float* const data = one.storage.data();
      REQUIRE(
          std::all_of(data, data + one.storage.count(), [&](float x) { return x == one.mark; }));
      std::swap(one, held.back());
      held.pop_back();
      continue;
    }
    // From a few floats to several megabytes.
    const auto columns = static_cast<std::int64_t>(1 + random.below(60));
    const std::int64_t rows = random.below(20) == 0 ? 20000 : 1 + step % 50;
    Held one{pool.matrix(rows, columns), static_cast<float>(step)};
    REQUIRE(reinterpret_cast<std::uintptr_t>(one.storage.data()) % 64 == 0);
    std::fill_n(one.storage.data(), one.storage.count(), one.mark);
    held.push_back(std::move(one));
    if (held.size() > 40) held.erase(held.begin(), held.begin() + 20);
  }
  held.clear();
  CHECK(pool.out() == Bytes());
  CHECK(pool.peak() > Bytes());
}
