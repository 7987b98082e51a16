// The tables of tests/data/schedules, read for tests.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <catch2/catch.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/units.h"
#include "schedule/library.h"

namespace narrows::golden {

// Ticks in one unit of the tables: 1.2/4, 0.25 and 0.2 units are whole.
inline constexpr std::int64_t kUnit = 1000;

struct Case {
  ScheduleKind kind{};
  int ranks = 0;
  int chunks = 0;
  int micro_batches = 0;
  std::vector<double> makespans;           // of cases a to f, in units
  std::vector<int> live_until_input_grad;  // by rank
  std::vector<int> live_until_weight_grad;
  std::string programs;  // as in schedule/text.h
  std::string picture;   // of case a

  Schedule schedule() const { return *make_schedule(kind, ranks, chunks, micro_batches); }
  std::string name() const {
    return to_string(kind) + " " + std::to_string(ranks) + "x" + std::to_string(micro_batches);
  }
};

// The durations of cases a to f, in units.
struct Times {
  double forward, input_grad, weight_grad, pair, send;
};
inline constexpr Times kTimes[] = {{1, 1, 1, 3, 0}, {1, 1, 1, 2.4, 0}, {1, 1.2, 0.8, 3, 0},
                                   {2, 3, 1, 6, 0}, {3, 5, 2, 8, 0},   {1, 1, 1, 3, 0.25}};

// `units` as ticks; they must be whole.
inline Tick ticks(double units) {
  const double exact = units * static_cast<double>(kUnit);
  const Tick t{static_cast<std::int64_t>(exact + 0.5)};
  REQUIRE(static_cast<double>(t.ns) == Approx(exact).margin(1e-6));
  return t;
}

inline std::string content(const std::string& name) {
  return *read_file(std::string(NARROWS_SOURCE_DIR) + "/tests/data/schedules/" + name);
}

// "8/7/6" or, for the same on every rank, "8".
inline std::vector<int> by_rank(const std::string& text, int ranks) {
  std::vector<int> numbers;
  std::istringstream in(text);
  for (std::string number; std::getline(in, number, '/');) numbers.push_back(std::stoi(number));
  if (numbers.size() == 1) numbers.resize(static_cast<std::size_t>(ranks), numbers.front());
  REQUIRE(numbers.size() == static_cast<std::size_t>(ranks));
  return numbers;
}

inline void read_sizes(std::istream& in, Case& read) {
  std::string kind;
  in >> kind >> read.ranks >> read.chunks >> read.micro_batches;
  read.kind = schedule_of(kind).value();
}

inline std::vector<Case> small_cases() {
  std::vector<Case> cases;
  std::istringstream in(content("small_cases.txt"));
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word == "==") {
      read_sizes(words, cases.emplace_back());
    } else if (word == "makespans") {
      for (double units = 0; words >> units;) cases.back().makespans.push_back(units);
    } else if (word == "live") {
      std::string until, what, numbers;
      words >> until >> what >> numbers;
      Case& last = cases.back();
      (what == "I" ? last.live_until_input_grad : last.live_until_weight_grad) =
          by_rank(numbers, last.ranks);
    } else {
      (word == "rank" ? cases.back().programs : cases.back().picture) += line + "\n";
    }
  }
  REQUIRE(cases.size() == 9);
  return cases;
}

inline std::vector<Case> large_cases() {
  std::vector<Case> cases;
  std::istringstream in(content("large_cases.txt"));
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) continue;
    std::istringstream words(line);
    Case& read = cases.emplace_back();
    read_sizes(words, read);
    for (double& units : read.makespans = std::vector<double>(6)) words >> units;
    std::string until_input_grad, until_weight_grad;
    words >> until_input_grad >> until_weight_grad;
    read.live_until_input_grad = by_rank(until_input_grad, read.ranks);
    read.live_until_weight_grad = by_rank(until_weight_grad, read.ranks);
  }
  REQUIRE(cases.size() == 9);
  return cases;
}

}  // namespace narrows::golden
