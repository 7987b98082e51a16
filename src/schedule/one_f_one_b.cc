// GPipe, 1F1B and interleaved 1F1B: schedules whose backward is one operation.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "schedule/families.h"

namespace narrows::families {

Program gpipe(Sizes sizes) {
  Program program;
  for (int i = 0; i < sizes.micro_batches; ++i) program.push_back(forward(0, i));
  for (int i = 0; i < sizes.micro_batches; ++i) program.push_back(backward(0, i));
  return program;
}

Program one_f_one_b(Sizes sizes, int rank) {
  const int m = sizes.micro_batches;
  const int warm_up = std::min(sizes.ranks - 1 - rank, m);
  Program program;
  for (int i = 0; i < warm_up; ++i) program.push_back(forward(0, i));
  for (int i = 0; i < m; ++i) {
    if (warm_up + i < m) program.push_back(forward(0, warm_up + i));
    program.push_back(backward(0, i));
  }
  return program;
}

// Micro-batches go through in groups of p: a group visits chunk 0, then chunk 1, ... The backward
// visits the chunks in reverse.
Program interleaved(Sizes sizes, int rank) {
  const int p = sizes.ranks;
  const int v = sizes.chunks;
  const int all = sizes.micro_batches * v;
  const auto chunk = [&](int k) { return k % (p * v) / p; };
  const auto micro_batch = [&](int k) { return k / (p * v) * p + k % p; };
  const int warm_up = std::min(2 * (p - 1 - rank) + (v - 1) * p, all);
  Program program;
  for (int k = 0; k < warm_up; ++k) program.push_back(forward(chunk(k), micro_batch(k)));
  for (int k = 0; k < all; ++k) {
    const int next = warm_up + k;
    if (next < all) program.push_back(forward(chunk(next), micro_batch(next)));
    program.push_back(backward(v - 1 - chunk(k), micro_batch(k)));
  }
  return program;
}

}  // namespace narrows::families
