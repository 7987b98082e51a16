// Which tile of a matmul's result a block of threads makes, where many matmuls are one launch: the
// groups lie one behind the other, and of a group's tiles those come together that share rows of
// both operands, so that what blocks of one moment read is found in the cache. Plain arithmetic,
// for the host and for kernels.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace narrows::gpu {

// What fits beside an op into 4 KiB, the parameters of a kernel. More groups are more launches.
inline constexpr int kMostGroups = 448;
// Rows and columns of a result's tile.
inline constexpr int kTileSide = 128;

struct TileOrder {
  int groups = 0;
  int across = 0;                    // tiles side by side, in every group
  int begin[kMostGroups + 1] = {};   // group e has what is numbered [begin[e], begin[e + 1])
  int before[kMostGroups + 1] = {};  // tiles on top of one another, of all groups before e
};

constexpr int tiles_in(std::int64_t extent, int side) {
  return static_cast<int>((extent + side - 1) / side);
}

// Of groups of rows, each cut into tiles of its own.
constexpr TileOrder order_of_rows(const std::int64_t* begin, int groups, int height, int across) {
  TileOrder order{.groups = groups, .across = across};
  for (int e = 0; e < groups; ++e) {
    order.begin[e] = static_cast<int>(begin[e]);
    order.before[e + 1] = order.before[e] + tiles_in(begin[e + 1] - begin[e], height);
  }
  order.begin[groups] = static_cast<int>(begin[groups]);
  return order;
}
// Of results of one size, `down` tiles by `across`, each the sum over a group.
constexpr TileOrder order_of_sums(const std::int64_t* begin, int groups, int down, int across) {
  TileOrder order{.groups = groups, .across = across};
  for (int e = 0; e <= groups; ++e) {
    order.begin[e] = static_cast<int>(begin[e]);
    order.before[e] = e * down;
  }
  return order;
}
constexpr std::int64_t blocks_of(const TileOrder& order) {
  return static_cast<std::int64_t>(order.before[order.groups]) * order.across;
}

struct Tile {
  int group = 0;
  int down = 0, across = 0;  // within the group
};
// The tile of block `index`: 16 tiles down before the next one across.
constexpr Tile tile_at(const TileOrder& order, int index) {
  constexpr int kPanel = 16;
  int low = 0, high = order.groups - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (order.before[middle] <= index / order.across) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const int down = order.before[low + 1] - order.before[low];
  const int at = index - order.before[low] * order.across;
  const int panel = at / (kPanel * order.across), within = at - panel * kPanel * order.across;
  const int height = down - panel * kPanel < kPanel ? down - panel * kPanel : kPanel;
  return {low, panel * kPanel + within % height, within / height};
}

// Tiles of 64 rows instead of 128 where groups are so short that half of what the larger ones
// multiply would be padding.
constexpr int tile_height(const std::int64_t* begin, int groups) {
  std::int64_t large = 0, small = 0;
  for (int e = 0; e < groups; ++e) {
    large += tiles_in(begin[e + 1] - begin[e], kTileSide) * kTileSide;
    small += tiles_in(begin[e + 1] - begin[e], kTileSide / 2) * (kTileSide / 2);
  }
  return 2 * large > 3 * small ? kTileSide / 2 : kTileSide;
}

// mma.sync's share of wgmma's rate on Hopper, in 16 bits, as Luo et al. have it (arXiv 2402.13499),
// from memory: to be measured. E4M3 it multiplies in 16 bits.
inline constexpr double kShareOfWgmma = 0.625;
inline constexpr double kShareOfWgmmaE4m3 = kShareOfWgmma / 2;

// Whether Hopper is quicker with one matmul of cuBLASLt a group, one after the other, by wgmma,
// than with all tiles in one launch at a `share` of its rate. What the loop loses is the
// multiprocessors that a group's last wave of tiles leaves idle. `depth` of a group: what it sums
// over, 1 where that is the same for all.
template <typename Depth>
constexpr bool loop_is_quicker(const TileOrder& order, int multiprocessors, double share,
                               const Depth& depth) {
  double loop = 0, launch = 0;
  for (int e = 0; e < order.groups; ++e) {
    const std::int64_t down = order.before[e + 1] - order.before[e];
    const std::int64_t tiles = down * order.across;
    loop += depth(e) * static_cast<double>(tiles_in(tiles, multiprocessors));
    launch += depth(e) * static_cast<double>(tiles) / multiprocessors;
  }
  return loop < launch / share;
}

}  // namespace narrows::gpu
