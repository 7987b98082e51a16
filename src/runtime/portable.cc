// SPDX-License-Identifier: Apache-2.0
#include "runtime/portable.h"

#include <cmath>

#include "base/random.h"
#include "base/result.h"

namespace narrows {
namespace {

std::uint64_t random_at(std::uint64_t key, std::uint64_t i) {
  return mix(key + (i + 1) * 0x9E3779B97F4A7C15ull);
}

double uniform_at(std::uint64_t key, std::uint64_t i) {
  return static_cast<double>(random_at(key, i) >> 40) * 0x1.0p-24;
}

std::uint64_t fnv1a64(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return hash;
}

}  // namespace

PortableWeight portable_weight(std::uint64_t seed, std::string_view name, int layers, double std) {
  const bool is_last_of_branch = name.ends_with(".wo") || name.ends_with(".wd");
  const double scaled = is_last_of_branch ? std / std::sqrt(2.0 * layers) : std;
  return {mix(seed ^ fnv1a64(name)), static_cast<float>(std::sqrt(3.0) * scaled)};
}

void fill(const PortableWeight& weight, std::int64_t first, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double u = uniform_at(weight.key, static_cast<std::uint64_t>(first) + i);
    out[i] = static_cast<float>(2 * u - 1) * weight.scale;
  }
}

void fill(const PortableRow& row, std::span<std::int32_t> tokens) {
  const std::uint64_t place = static_cast<std::uint64_t>(row.step * 1000003 + row.row);
  const std::uint64_t key = mix(row.seed ^ place);
  const std::uint64_t alphabet = static_cast<std::uint64_t>(row.alphabet);
  std::uint64_t token = random_at(key, 0) % alphabet;
  for (std::size_t p = 0; p < tokens.size(); ++p) {
    if (p > 0) {
      const bool follows = uniform_at(key, 2 * p) < 0.75;
      token = follows ? (5 * token + 17) % alphabet : random_at(key, 2 * p + 1) % alphabet;
    }
    tokens[p] = static_cast<std::int32_t>(token);
  }
}

std::int64_t permuted(std::uint64_t seed, std::int64_t n, std::int64_t i) {
  ASSERT(i >= 0);
  ASSERT(i < n);
  int half = 1;  // bits of each half
  while ((std::uint64_t{1} << (2 * half)) < static_cast<std::uint64_t>(n)) ++half;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  std::uint64_t x = static_cast<std::uint64_t>(i);
  do {
    std::uint64_t left = x >> half;
    std::uint64_t right = x & mask;
    for (std::uint64_t round = 0; round < 6; ++round) {
      const std::uint64_t next = left ^ (mix(mix(seed + round) ^ right) & mask);
      left = right;
      right = next;
    }
    x = (left << half) | right;
  } while (x >= static_cast<std::uint64_t>(n));
  return static_cast<std::int64_t>(x);
}

}  // namespace narrows
