// What is timed next, when it is enough, and what counts on a machine that others disturb.
// SPDX-License-Identifier: Apache-2.0
#include "measure/sampler.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

namespace narrows {
namespace {

// A machine that takes `truth` for a task, `slow` times as long while it is disturbed, and one
// percent more or less at random.
struct Machine {
  Random random{5};
  double disturbed = 0;  // share of the time
  double slow = 2;

  Sample sample(Seconds truth) {
    const double phase = random.uniform() < disturbed ? slow : 1;
    const auto noise = [&] { return 1 + 0.02 * (random.uniform() - 0.5); };
    return {phase * noise() * truth, phase * noise() * us};
  }
};

int visits_until_done(Sampler& sampler, Machine& machine, const std::vector<Seconds>& truths) {
  int visits = 0;
  while (const std::optional<int> task = sampler.next({})) {
    sampler.add(*task, machine.sample(truths[static_cast<std::size_t>(*task)]));
    ++visits;
  }
  return visits;
}

}  // namespace

TEST_CASE("sampler: every round visits each task once, in an order of its own") {
  Sampler sampler(20, {.half_width = 0, .least = 100, .most = 100}, 1);
  std::vector<std::vector<int>> rounds(3);
  for (std::vector<int>& round : rounds) {
    for (int i = 0; i < 20; ++i) {
      round.push_back(*sampler.next({}));
      sampler.add(round.back(), {us, us});
    }
    CHECK(std::set<int>(round.begin(), round.end()).size() == 20);
  }
  CHECK(rounds[0] != rounds[1]);
  CHECK(rounds[1] != rounds[2]);
}

TEST_CASE("sampler: a quiet machine needs few samples") {
  Machine machine;
  Sampler sampler(10, {}, 1);
  const std::vector<Seconds> truths(10, 100 * us);
  CHECK(visits_until_done(sampler, machine, truths) == 50);
  for (int task = 0; task < 10; ++task) {
    CHECK(sampler.is_finished(task));
    CHECK(sampler.summary(task).mean / us == Approx(100).epsilon(0.012));
  }
}

TEST_CASE("sampler: what counts is the mean pace, at which tasks keep their proportions") {
  Machine machine{.disturbed = 0.4, .slow = 2};
  std::vector<Seconds> truths;
  for (int i = 0; i < 30; ++i) truths.push_back((10 + 7 * i) * us);
  Sampler sampler(30, {}, 1);
  visits_until_done(sampler, machine, truths);
  CHECK(sampler.pace().calibration / us == Approx(1.4).epsilon(0.05));
  CHECK(sampler.slope(0) == Approx(1).epsilon(0.05));
  const double pace = sampler.pace().calibration / us;
  for (int task = 0; task < 30; ++task) {
    INFO(task);
    const SampleSummary s = sampler.summary(task);
    CHECK(s.mean / truths[static_cast<std::size_t>(task)] == Approx(pace).epsilon(0.02));
  }
}

TEST_CASE("sampler: where calibrations say nothing of a sample, they do not correct it") {
  Random random(11);
  Sampler sampler(20, {.half_width = 0, .least = 200, .most = 200}, 1);
  while (const std::optional<int> task = sampler.next({})) {
    const double time = 100 * (1 + 0.2 * (random.uniform() - 0.5));
    sampler.add(*task, {time * us, (1 + random.uniform()) * us});
  }
  CHECK(sampler.slope(0) < 0.02);
  for (int task = 0; task < 20; ++task)
    CHECK(sampler.summary(task).mean / us == Approx(100).epsilon(0.02));
}

TEST_CASE("sampler: groups of tasks follow the machine's pace in their own ways") {
  Random random(5);
  Sampler sampler(20, {}, 1,
                  std::vector<int>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  // While the neighbour works (40 % of the time) calibrations take 1.4 as long, the second group 2.
  while (const std::optional<int> task = sampler.next({})) {
    const bool shares = random.uniform() < 0.4;
    const double slow = shares ? (*task < 10 ? 1.4 : 2.0) : 1;
    sampler.add(*task, {100 * slow * us, (shares ? 1.4 : 1.0) * us});
  }
  const double share = (sampler.pace().calibration / us - 1) / 0.4;  // that was met
  for (int task = 0; task < 20; ++task) {
    INFO(task);
    const double slow = 1 + share * (task < 10 ? 0.4 : 1.0);
    CHECK(sampler.summary(task).mean / us == Approx(100 * slow).epsilon(0.06));
  }
  CHECK(sampler.slope(0) < sampler.slope(19));
}

TEST_CASE("sampler: a task that met the best moments alone is corrected by twice at most") {
  const std::vector<Sample> samples(5, {100 * us, 60 * us});
  const Pace pace{100 * us, 1000};
  CHECK(summarise(samples, pace, 1).mean / us == Approx(100 / 0.6));
  CHECK(summarise(samples, pace, 3).mean / us == Approx(200));
}

TEST_CASE("sampler: interruptions do not count") {
  const std::vector<Sample> samples = {{100 * us, us},        {102 * us, us}, {98 * us, us},
                                       {180 * us, us, true},  {100 * us, us}, {900 * us, us},
                                       {2400 * us, us, true}, {100 * us, us}};
  const SampleSummary s = summarise(samples, {}, 0);
  CHECK(s.mean / us == Approx(100));
  CHECK(s.samples == 5);
  CHECK(s.interrupted == 3);
}

TEST_CASE("sampler: a noisy task is given up after its most samples") {
  Random random(3);
  Sampler sampler(1, {.most = 12}, 1);
  int visits = 0;
  while (sampler.next({})) {
    sampler.add(0, {(1 + random.uniform()) * us, us});
    ++visits;
  }
  CHECK(visits == 12);
}

TEST_CASE("sampler: a spent budget ends it") {
  Sampler sampler(3, {.budget = 10 * sec}, 1);
  CHECK(sampler.next(9.9 * sec).has_value());
  CHECK_FALSE(sampler.next(10 * sec).has_value());
}

TEST_CASE("sampler: a spent budget can still owe every task a sample") {
  Sampler sampler(3, {.budget = 1 * sec, .once_at_least = true}, 1);
  for (int i = 0; i < 3; ++i) {
    const std::optional<int> task = sampler.next(5 * sec);
    REQUIRE(task.has_value());
    sampler.add(*task, {us, us});
  }
  CHECK_FALSE(sampler.next(5 * sec).has_value());
}

TEST_CASE("sampler: the first tasks are visited before the others, on any budget") {
  Sampler sampler(20, {.budget = 1 * sec, .first = 3}, 7);
  std::vector<int> visited;
  for (int i = 0; i < 3; ++i) {
    const std::optional<int> task = sampler.next(5 * sec);
    REQUIRE(task.has_value());
    visited.push_back(*task);
    sampler.add(*task, {us, us});
  }
  std::sort(visited.begin(), visited.end());
  CHECK(visited == std::vector<int>{0, 1, 2});
  CHECK_FALSE(sampler.next(5 * sec).has_value());
}

TEST_CASE("sampler: percentiles and interval are those of what counts") {
  std::vector<Sample> samples;
  for (int i = 0; i <= 100; ++i) samples.push_back({(100 + i) * us, us});
  samples.push_back({900 * us, 9 * us});
  const SampleSummary s = summarise(samples, {}, 0);
  CHECK(s.samples == 101);
  CHECK(s.interrupted == 1);
  CHECK(s.mean / us == Approx(150));
  CHECK(s.p10 / us == Approx(110));
  CHECK(s.p90 / us == Approx(190));
  // Two standard errors of numbers that are even over 101.
  CHECK(s.half_width == Approx(2 * 29.3 / std::sqrt(101.0) / 150).epsilon(0.03));
}

}  // namespace narrows
