// Portable random weights and tokens: both are functions of a seed and a place, written down in
// integers and single roundings, so that another program begins alike without a file (the PyTorch
// peer that the runtime is compared with does).
//
//   mix      the finaliser of SplitMix64 (base/random.h)
//   r(key,i) mix(key + (i + 1) * 0x9E3779B97F4A7C15)
//   u(key,i) (r >> 40) * 2^-24
//   weight   element i (row-major) of a tensor: f32(2u - 1) * f32(sqrt(3) * std),
//            key = mix(seed ^ fnv1a64(name)); std 0.02, that / sqrt(2 * layers) for *.wo and *.wd;
//            tensors of one dimension are ones
//   token    key = mix(seed ^ (step * 1000003 + row)); t_0 = r(key, 0) mod A,
//            t_p = (5 t_(p-1) + 17) mod A if u(key, 2p) < 0.75, else r(key, 2p + 1) mod A
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace narrows {

inline constexpr double kPortableStd = 0.02;

// The key and the scale of one tensor, by its portable name (weight_names.h): "l0.wqd".
struct PortableWeight {
  std::uint64_t key = 0;
  float scale = 0;
};
PortableWeight portable_weight(std::uint64_t seed, std::string_view name, int layers,
                               double std = kPortableStd);
// Elements first, first + 1, … of the tensor.
void fill(const PortableWeight& weight, std::int64_t first, std::span<float> out);

// Row `row` of step `step` over an alphabet of `alphabet` tokens.
struct PortableRow {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::int64_t row = 0;
  int alphabet = 256;
};
void fill(const PortableRow& row, std::span<std::int32_t> tokens);

// A permutation of 0 … n-1 that needs no memory: a Feistel network over the next power of four,
// walked until it falls inside (black2002, cycle walking). `seed` chooses it.
std::int64_t permuted(std::uint64_t seed, std::int64_t n, std::int64_t i);

}  // namespace narrows
