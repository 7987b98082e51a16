// SPDX-License-Identifier: Apache-2.0
// DualPipe as DeepSeek runs it: the figures of its repository, and DeepSeek-V3 on 16 pipeline ranks
// with 120 micro-batches. Its published step (ISCA 2025, table 4), divided by counts of
// instructions, gives chunk times of F 57.6, I 84.1, W 41.7, B 125.9, F&B 139.0 ms; the bubbles
// expected here are those of an independent simulation of them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "base/random.h"
#include "schedule/library.h"
#include "sim/play.h"

using namespace narrows;

namespace {

constexpr ChunkTimes kV3Times{
    .forward = {57600}, .input_grad = {84100}, .weight_grad = {41700}, .backward = {125900}};  // us
constexpr Tick kV3Pair{139000};

Schedule v3_schedule() { return *make_schedule(ScheduleKind::DualPipe, 16, 2, 120); }
Durations v3_durations(Tick send) {
  return uniform_durations(v3_schedule(), kV3Times, kV3Pair, send);
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

// Seconds that each rank idles.
std::vector<double> idle(const Played& played) {
  std::vector<double> seconds;
  for (const Tick busy : played.busy) {
    seconds.push_back(static_cast<double>((played.makespan - busy).ns) * 1e-6);
  }
  return seconds;
}

// Close to normal, of mean 0 and variance 1.
double draw(Random& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random.uniform();
  return sum;
}

// The mean idle time when every instruction's duration varies independently by `noise` of itself.
double noisy_idle(CompiledSchedule& compiled, const Durations& durations, double noise,
                  Random& random) {
  const Played still = compiled.play(durations);
  std::vector<Tick> extra;
  double busy = 0;
  for (std::size_t rank = 0; rank < still.start.size(); ++rank) {
    for (std::size_t i = 0; i < still.start[rank].size(); ++i) {
      const double duration = static_cast<double>((still.end[rank][i] - still.start[rank][i]).ns);
      extra.push_back({static_cast<std::int64_t>(duration * noise * draw(random))});
      busy += duration + static_cast<double>(extra.back().ns);
    }
  }
  return (static_cast<double>(compiled.makespan(durations, extra).ns) - busy / 16) * 1e-6;
}

}  // namespace

TEST_CASE("play: makespans of DualPipe in DeepSeek's figures, eight ranks and sixteen") {
  const ChunkTimes times{
      .forward = {10}, .input_grad = {10}, .weight_grad = {10}, .backward = {20}};
  const auto played = [&](int ranks, int micro_batches, std::int64_t pair) {
    const Schedule schedule = *make_schedule(ScheduleKind::DualPipe, ranks, 2, micro_batches);
    return CompiledSchedule::of(schedule)->play(uniform_durations(schedule, times, {pair}));
  };
  CHECK(played(8, 20, 30).makespan == Tick{660});
  CHECK(played(8, 20, 24).makespan == Tick{576});
  const Played even = played(16, 120, 30);
  CHECK(even.makespan == Tick{3740});
  for (const Tick busy : even.busy) CHECK(even.makespan - busy == Tick{140});
  const Played gain = played(16, 120, 24);
  CHECK(gain.makespan == Tick{3080});
  CHECK(gain.makespan - *std::max_element(gain.busy.begin(), gain.busy.end()) == Tick{62});
  CHECK(gain.makespan - *std::min_element(gain.busy.begin(), gain.busy.end()) == Tick{98});
}

TEST_CASE("play: the bubble of DeepSeek-V3, and what sends add to it") {
  const CompiledSchedule compiled = *CompiledSchedule::of(v3_schedule());
  const std::vector<double> still = idle(compiled.play(v3_durations({})));
  CHECK(*std::min_element(still.begin(), still.end()) == Approx(0.654).margin(0.001));
  CHECK(*std::max_element(still.begin(), still.end()) == Approx(0.920).margin(0.001));
  CHECK(mean(still) == Approx(0.80).margin(0.01));
  CHECK(mean(idle(compiled.play(v3_durations({1200})))) == Approx(0.972).margin(0.001));
  CHECK(mean(idle(compiled.play(v3_durations({2400})))) == Approx(1.14).margin(0.01));
}

// The references give one draw; draws of ours vary by 0.04 to 0.05 s.
TEST_CASE("play: noise of 5, 6 and 7 % widens DeepSeek-V3's bubble to 1.67, 1.80 and 1.93 s") {
  CompiledSchedule compiled = *CompiledSchedule::of(v3_schedule());
  Random random(2025);
  for (const auto& [noise, expected] :
       {std::pair(0.05, 1.67), std::pair(0.06, 1.80), std::pair(0.07, 1.93)}) {
    std::vector<double> found;
    std::vector<double> squares;
    for (int trial = 0; trial < 100; ++trial) {
      found.push_back(noisy_idle(compiled, v3_durations({2400}), noise, random));
      squares.push_back(found.back() * found.back());
    }
    const double deviation = std::sqrt(mean(squares) - mean(found) * mean(found));
    CHECK(deviation < 0.06);
    CHECK(std::abs(mean(found) - expected) < 2 * deviation);
  }
}

TEST_CASE("play: extra time on an instruction that the step waits for is added to it") {
  const Schedule schedule = *make_schedule(ScheduleKind::OneFOneB, 2, 1, 2);
  const ChunkTimes times{
      .forward = {10}, .input_grad = {10}, .weight_grad = {10}, .backward = {20}};
  const Durations durations = uniform_durations(schedule, times);
  CompiledSchedule compiled = *CompiledSchedule::of(schedule);
  std::vector<Tick> extra(compiled.instructions());  // F0 F1 B0 B1, then F0 B0 F1 B1
  CHECK(compiled.makespan(durations, extra) == Tick{90});
  extra[5] = {7};
  CHECK(compiled.makespan(durations, extra) == Tick{97});
  extra[5] = {};
  extra[1] = {7};  // F1 of rank 0 has 20 to spare
  CHECK(compiled.makespan(durations, extra) == Tick{90});
}
