// How long the search takes: DeepSeek-V3's own pins, then fewer of them, by one thread and by two.
// An argument is the number of GPUs (2048).
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "bench/jobs.h"

namespace narrows {
namespace {

struct Found {
  SearchResult result;
  Seconds time;
};

Found search_by(const V3Job& v3, const std::string& pins, int threads) {
  Job job = v3.job;
  job.pins = pins.empty() ? Pins{} : needed(parse_pins(pins));
  SearchOptions options;
  options.threads = threads;
  Found found;
  found.time = least_time(1, [&] { found.result = needed(search(job, v3.kernels, options)); });
  return found;
}

void run(int gpus) {
  std::setbuf(stdout, nullptr);  // a row as soon as it is known
  const V3Job v3(gpus);
  fmt::print("DeepSeek-V3 on {} H800\n{:<40}{:>9}{:>9}{:>7}{:>10}{:>10}{:>7}{:>12}\n", gpus, "pins",
             "space", "feasible", "played", "1 thread", "2 threads", "ratio", "us/strategy");
  for (const char* pins : {"pp=16,ep=64,tp=1,schedule=dualpipe,precision=fp8-block,recompute=v3",
                           "precision=fp8-block,recompute=v3", "precision=fp8-block", ""}) {
    const Found one = search_by(v3, pins, 1), two = search_by(v3, pins, 2);
    const SearchResult& r = one.result;
    fmt::print("{:<40}{:>9}{:>9}{:>7}{:>8.3f} s{:>8.3f} s{:>7.2f}{:>12.2f}\n",
               std::string(pins).substr(0, 38), r.space, r.feasible, r.simulated, one.time / sec,
               two.time / sec, one.time / two.time, one.time / us / static_cast<double>(r.space));
    if (!r.best.empty()) {
      const Candidate& best = r.best.front();
      fmt::print("  step {:.3f} s, gap {:.4f}: {}\n", to_seconds(best.prediction.step) / sec, r.gap,
                 to_string(pins_of(best.strategy)));
    }
  }
}

}  // namespace
}  // namespace narrows

int main(int argc, char** argv) { narrows::run(argc > 1 ? std::atoi(argv[1]) : 2048); }
