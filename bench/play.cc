// How long one strategy takes to judge and to play, and that it does not depend on the number of
// GPUs: the same pipeline on 1,024 and on 16,384.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <vector>

#include "bench/jobs.h"

namespace narrows {
namespace {

struct Row {
  const char* what;
  Seconds few, many;
};

// First times (caches empty) and the ones after.
std::vector<Seconds> times_on(const V3Job& v3) {
  const Strategy s = v3.trained();
  std::vector<Seconds> times;
  times.push_back(least_time(3, [&] {
    LeafEvaluator leaf(v3.job, v3.kernels, v3.counts);
    (void)leaf.judge(s);
  }));
  times.push_back(least_time(3, [&] {
    LeafEvaluator leaf(v3.job, v3.kernels, v3.counts);
    (void)leaf.simulate(s);
  }));
  LeafEvaluator leaf(v3.job, v3.kernels, v3.counts);
  (void)leaf.judge(s);
  (void)leaf.simulate(s);
  times.push_back(least_time(200, [&] { (void)leaf.judge(s); }));
  times.push_back(least_time(50, [&] { (void)leaf.simulate(s); }));
  return times;
}

void run() {
  const std::vector<Seconds> few = times_on(V3Job(1024)), many = times_on(V3Job(16384));
  fmt::print("{:<28}{:>14}{:>14}{:>8}\n", "DeepSeek-V3, PP16 x 120", "1,024 GPUs", "16,384 GPUs",
             "ratio");
  const char* names[] = {"judge, caches empty", "simulate, caches empty", "judge again",
                         "simulate again"};
  for (std::size_t i = 0; i < few.size(); ++i) {
    fmt::print("{:<28}{:>11.1f} us{:>11.1f} us{:>8.2f}\n", names[i], few[i] / us, many[i] / us,
               many[i] / few[i]);
  }
}

}  // namespace
}  // namespace narrows

int main() { narrows::run(); }
