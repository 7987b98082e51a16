// SPDX-License-Identifier: Apache-2.0
#include "runtime/portable.h"

#include <bit>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

using namespace narrows;

namespace {

std::uint32_t bits_of(const char* name, std::int64_t at) {
  std::vector<float> out(1);
  fill(portable_weight(1234, name, 4), at, out);
  return std::bit_cast<std::uint32_t>(out[0]);
}

std::vector<std::int32_t> row(const PortableRow& which) {
  std::vector<std::int32_t> tokens(16);
  fill(which, tokens);
  return tokens;
}

}  // namespace

// The expected bits are from a program of whole-number arithmetic in another language, written from
// the definition alone.
TEST_CASE("portable: weights are the bits of the definition") {
  CHECK(bits_of("embed", 0) == 0x3c2c6cad);
  CHECK(bits_of("embed", 1) == 0x3c855efb);
  CHECK(bits_of("embed", 4097) == 0xbc32b52e);
  CHECK(bits_of("l0.wqd", 2) == 0xbbbdcb63);
  CHECK(bits_of("l3.e5.wd", 0) == 0xbc00d778);
  CHECK(bits_of("l3.e5.wd", 4097) == 0x3bec0887);
  CHECK(bits_of("l1.wo", 1) == 0xbc1545b9);
}

TEST_CASE("portable: tokens are those of the definition") {
  CHECK(row({.seed = 0, .step = 0, .row = 0}) ==
        std::vector<std::int32_t>{175, 124, 125, 130, 155, 24, 137, 190, 199, 244, 13, 76, 123, 120,
                                  105, 37});
  CHECK(row({.seed = 1, .step = 3, .row = 7}) ==
        std::vector<std::int32_t>{116, 126, 135, 180, 149, 250, 243, 208, 33, 182, 159, 44, 237,
                                  178, 139, 200});
  CHECK(row({.seed = 1, .step = 3, .row = 7, .alphabet = 100}) ==
        std::vector<std::int32_t>{4, 62, 27, 52, 77, 2, 27, 52, 77, 2, 27, 52, 77, 2, 27, 52});
}

TEST_CASE("portable: a weight filled in pieces equals one filled at once") {
  const PortableWeight weight = portable_weight(7, "head", 2);
  std::vector<float> whole(100), pieces(100);
  fill(weight, 0, whole);
  for (std::size_t at = 0; at < 100; at += 10) {
    fill(weight, static_cast<std::int64_t>(at), std::span<float>(pieces).subspan(at, 10));
  }
  CHECK(pieces == whole);
}

TEST_CASE("portable: an order holds every sample once, and seeds give other orders") {
  for (std::int64_t n = 1; n <= 70; ++n) {
    std::set<std::int64_t> seen;
    for (std::int64_t i = 0; i < n; ++i) seen.insert(permuted(5, n, i));
    CHECK(seen.size() == static_cast<std::size_t>(n));
    CHECK(*seen.begin() == 0);
    CHECK(*seen.rbegin() == n - 1);
  }
  int equal = 0;
  for (std::int64_t i = 0; i < 1000; ++i) equal += permuted(1, 1000, i) == permuted(2, 1000, i);
  CHECK(equal < 10);  // of two unrelated orders about one place agrees
}
