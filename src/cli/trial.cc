// SPDX-License-Identifier: Apache-2.0
#include "cli/trial.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/json.h"
#include "runtime/training.h"

namespace narrows {
namespace {

constexpr const char* kData = "portable:1";

// Of this process so far.
struct Usage {
  Seconds time;
  double preemptions = 0;
};
Usage usage() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return {std::chrono::duration<double>(now).count() * sec, static_cast<double>(used.ru_nivcsw)};
}

Result<Trial> on_threads(const Plan& plan, const TrialOptions& options) {
  Trial trial;
  TrainingOptions training;
  training.data = kData;
  training.steps = options.steps + 1;
  training.slow_links = options.links;
  training.trace = options.trace;
  training.stop = options.stop;
  const OnStep on_step = [&](const StepMetrics& m) -> Status {
    if (m.step > 0) trial.steps.push_back(m.seconds * sec);
    return {};
  };
  const OnBroken on_broken = [](const Error&, bool) { std::_Exit(1); };
  const Usage before = usage();
  TrainingResult result = TRY(run_training(plan, training, on_step, on_broken));
  const Usage after = usage();
  trial.preemptions = (after.preemptions - before.preemptions) /
                      ((after.time - before.time) / sec) / gpus_of(plan.strategy);
  trial.timeline = std::move(result.timeline);
  trial.memory_peak = result.memory_peak;
  return trial;
}

// A folder that is gone when this is.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = std::filesystem::temp_directory_path() / fmt::format("narrows-trial-{}", getpid());
    std::error_code error;
    std::filesystem::create_directories(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

Result<std::string> own_program() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return io_error("cannot tell this program's own path: " + error.message());
  return path.string();
}

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

Result<Trial> launched(const Plan& plan, const TrialOptions& options) {
  const TemporaryFolder folder;
  const std::string file = folder.file("plan.json"), metrics = folder.file("steps.jsonl");
  TRY(write_file(file, text_of(plan)));
  const std::string program = TRY(own_program());
  const std::string command =
      fmt::format("{} {} train {} --data {} --steps {} --metrics {} --quiet > {} 2>&1",
                  options.launch, quoted(program), quoted(file), kData, options.steps + 1,
                  quoted(metrics), quoted(folder.file("output")));
  if (std::system(command.c_str()) != 0) {
    const Result<std::string> said = read_file(folder.file("output"), 1 << 16);
    return invalid(fmt::format("--launch: {} failed: {}", options.launch, said.value_or("")));
  }
  Trial trial;
  std::ifstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    const Json json = TRY(parse_json(line, metrics));
    JsonObject step = TRY(JsonObject::of(json, metrics));
    const Seconds time = TRY(step.number("seconds", 0, 1e9)) * sec;
    if (TRY(step.integer("step", 0, 1 << 30)) > 0) trial.steps.push_back(time);
  }
  return trial;
}

}  // namespace

Seconds Trial::median() const {
  if (steps.empty()) return {};
  std::vector<Seconds> sorted = steps;
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() / 2];
}

Seconds Trial::least() const {
  return steps.empty() ? Seconds() : *std::min_element(steps.begin(), steps.end());
}

Result<Trial> run_trial(const Plan& plan, const TrialOptions& options) {
  Trial trial = TRY(options.launch.empty() ? on_threads(plan, options) : launched(plan, options));
  if (!trial.steps.empty()) return trial;
  return invalid("the trial ended before a step was timed");
}

}  // namespace narrows
