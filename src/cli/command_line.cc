// From the words of a command line to a command: what CLI11 cannot say well is refused before it.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/text.h"
#include "cli/raw_options.h"

namespace narrows {
namespace {

Words usage(const std::string& message) {
  return {kUsage, invalid(message + "; see narrows --help").value().message};
}

// The first word that is no option, nor the value of an option before the command.
std::string first_word(const std::vector<std::string>& args) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--profiles" || args[i] == "--threads") {
      ++i;
    } else if (args[i].empty() || args[i][0] != '-') {
      return args[i];
    }
  }
  return "";
}

bool is_one_of(const std::string& word, const auto& names) {
  return std::find(std::begin(names), std::end(names), word) != std::end(names);
}

// A command that is none, or not yet.
std::optional<Words> refused_command(const std::vector<std::string>& args) {
  const std::string word = first_word(args);
  if (word.empty() || is_one_of(word, kBuilt)) return {};
  if (is_one_of(word, kNotBuilt))
    return Words{kRefused, fmt::format("{}: this command is not built yet", word)};
  const std::string near = closest(word, {std::begin(kBuilt), std::end(kBuilt)});
  return usage(fmt::format("{}: expected a command{}", word.substr(0, 60),
                           near.empty() ? "" : fmt::format("; did you mean {}?", near)));
}

// An option whose value is the empty text: CLI11 could not tell it from one that was not given.
std::optional<Words> empty_value(const std::vector<std::string>& args) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i].empty() && i > 0)
      return usage(fmt::format("{}: expected a value, found \"\"", args[i - 1].substr(0, 60)));
    if (args[i].starts_with("--") && args[i].ends_with("="))
      return usage(fmt::format("{} expected a value after the =", args[i].substr(0, 60)));
  }
  return {};
}

// An option in the place of another option's value, which CLI11 would take for it.
std::optional<Words> missing_value(const std::vector<std::string>& args) {
  const bool rules_is_flag = first_word(args) == "show";
  for (std::size_t i = 0; i + 1 < args.size(); ++i) {
    if (!args[i].starts_with("--") || args[i].find('=') != std::string::npos) continue;
    if (args[i] == "--json" || args[i] == "--quiet" || args[i] == "--help" ||
        args[i] == "--version" || args[i] == "--published" || args[i] == "--links" ||
        args[i] == "--compare" || (args[i] == "--rules" && rules_is_flag))
      continue;
    if (args[i + 1].starts_with("--"))
      return usage(fmt::format("{}: expected a value, found the option {}", args[i].substr(0, 60),
                               args[i + 1].substr(0, 60)));
  }
  return {};
}

// CLI11 reports by exceptions; they end here.
std::optional<Words> run_parser(CLI::App& app, std::vector<std::string> args) {
  std::reverse(args.begin(), args.end());
  try {
    app.parse(args);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    return Words{kDone, chosen.empty() ? app.help() : chosen.front()->help("narrows")};
  } catch (const CLI::ParseError& error) {
    return usage(error.what());
  }
  return {};
}

}  // namespace

Invocation parse_arguments(const std::vector<std::string>& args) {
  Invocation invocation;
  if (is_one_of(std::string("--version"), args) && first_word(args).empty()) {
    invocation.common.json = is_one_of(std::string("--json"), args);
    invocation.command = VersionOptions{};
    return invocation;
  }
  CLI::App app("Plans and simulates the training of large models on constrained hardware.",
               "narrows");
  RawOptions raw;
  describe(app, raw, invocation.common);
  bool version = false;
  app.add_flag("--version", version, "version of the program and dates of its data");
  std::optional<Words> words = refused_command(args);
  if (!words) words = empty_value(args);
  if (!words) words = missing_value(args);
  if (!words) words = run_parser(app, args);
  if (words) {
    invocation.command = *words;
    return invocation;
  }
  const Result<CommonOptions> common = common_of(raw, invocation.common);
  const Result<Command> command = command_of(app.get_subcommands().front()->get_name(), raw);
  if (common) invocation.common = *common;
  if (common && command) {
    invocation.command = *command;
  } else {
    const Error& error = common ? command.error() : common.error();
    const int code = error.code == ErrorCode::InvalidInput ? kUsage : kRefused;
    invocation.command = Words{code, error.message};
  }
  return invocation;
}

}  // namespace narrows
