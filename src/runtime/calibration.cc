// SPDX-License-Identifier: Apache-2.0
#include "runtime/calibration.h"

#include <chrono>

namespace narrows {
namespace {

constexpr std::int64_t kSide = 160;

}  // namespace

Calibration::Calibration(Backend& backend)
    : backend_(backend), a_(kSide * kSide, 0.5f), b_(kSide * kSide, -0.25f), c_(kSide * kSide) {}

void Calibration::run() {
  backend_.run(kernels::Matmul{.m = kSide,
                               .n = kSide,
                               .k = kSide,
                               .a = a_.data(),
                               .stride_a = kSide,
                               .b = b_.data(),
                               .stride_b = kSide,
                               .c = c_.data(),
                               .stride_c = kSide},
               Multiply::F32);
}

Seconds Calibration::time(int runs) {
  for (int i = 0; i < runs; ++i) run();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < runs; ++i) run();
  const auto end = std::chrono::steady_clock::now();
  return std::chrono::duration<double>(end - start).count() / runs * sec;
}

}  // namespace narrows
