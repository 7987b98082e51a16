// Runs the program inside the test: words in, exit code and both streams out.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "cli/run.h"

namespace narrows {

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

inline Outcome narrows_with(const std::vector<std::string>& args,
                            const std::atomic<bool>* stop = nullptr) {
  std::ostringstream out, err;
  const int code = run(args, Console{out, err, false, stop});
  return {code, out.str(), err.str()};
}

// The document on stdout.
inline Json json_of(const Outcome& outcome) {
  const Result<Json> json = parse_json(outcome.out, "stdout");
  if (!json) FAIL(json.error().message << "\n" << outcome.err);
  return *json;
}

inline std::string in_tests(const std::string& path) {
  return std::string(NARROWS_SOURCE_DIR) + "/tests/cli/" + path;
}

// A model of 125 M parameters on one node: searched in less than a second.
inline std::vector<std::string> small_job(std::vector<std::string> more = {}) {
  std::vector<std::string> args{"plan",      "--model",     in_tests("small_model.json"),
                                "--cluster", "h100:8",      "--global-batch",
                                "64",        "--precision", "bf16"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

// A file that is gone with the test.
struct Scratch {
  std::string path;
  explicit Scratch(const std::string& name)
      : path("narrows_cli_test_" + std::to_string(getpid()) + "_" + name) {}
  ~Scratch() { std::remove(path.c_str()); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

// The text without the lines that hold `word`: "seconds": is the one thing that may differ.
inline std::string without_lines(const std::string& text, const std::string& word) {
  std::istringstream lines(text);
  std::string line, kept;
  while (std::getline(lines, line)) {
    if (line.find(word) == std::string::npos) kept += line + "\n";
  }
  return kept;
}

}  // namespace narrows
