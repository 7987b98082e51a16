// SPDX-License-Identifier: Apache-2.0
#include "cli/run.h"

#include <variant>

#include "base/result.h"
#include "cli/commands.h"
#include "cli/options.h"

namespace narrows {
namespace {

int complain(const Console& console, const std::string& message, int code) {
  console.err << "narrows: " << message << "\n";
  return code;
}

// One overload a command; each prints its result and returns its exit code.
struct Dispatch {
  const CommonOptions& common;
  const Console& console;

  Result<int> operator()(const Words& words) const {
    if (words.exit != kDone) return complain(console, words.text, words.exit);
    console.out << words.text;
    return kDone;
  }
  Result<int> operator()(const VersionOptions&) const { return version_command(common, console); }
  Result<int> operator()(const PlanOptions& o) const { return plan_command(o, common, console); }
  Result<int> operator()(const SimulateOptions& o) const {
    return simulate_command(o, common, console);
  }
  Result<int> operator()(const CompareOptions& o) const {
    return compare_command(o, common, console);
  }
  Result<int> operator()(const DiffOptions& o) const { return diff_command(o, common, console); }
  Result<int> operator()(const ValidateOptions& o) const {
    return validate_command(o, common, console);
  }
  Result<int> operator()(const CalibrateOptions& o) const {
    return calibrate_command(o, common, console);
  }
  Result<int> operator()(const ImportOptions& o) const {
    return import_command(o, common, console);
  }
  Result<int> operator()(const ListOptions& o) const { return list_command(o, common, console); }
  Result<int> operator()(const TrainOptions& o) const { return train_command(o, common, console); }
  Result<int> operator()(const ProfileCommand& o) const {
    return profile_command(o, common, console);
  }
  Result<int> operator()(const TuneOptions& o) const { return tune_command(o, common, console); }
  Result<int> operator()(const ShowOptions& o) const { return show_command(o, common, console); }
};

}  // namespace

int run(const std::vector<std::string>& args, const Console& console) {
  const Invocation invocation = parse_arguments(args);
  const Result<int> code = std::visit(Dispatch{invocation.common, console}, invocation.command);
  const bool interrupted = console.stop != nullptr && console.stop->load();
  if (!code) return complain(console, code.error().message, interrupted ? kInterrupted : kRefused);
  console.out.flush();
  if (!console.out) return complain(console, "stdout: cannot write the result", kRefused);
  return *code;
}

}  // namespace narrows
