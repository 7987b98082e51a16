// SPDX-License-Identifier: Apache-2.0
#include "cli/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/strategy_json.h"
#include "report/text_table.h"

namespace narrows {
namespace {

struct Part {
  std::string name;
  Seconds time;
};

Seconds part_of(const Forecast& forecast, const std::string& name) {
  for (const auto& [part, time] : forecast.breakdown) {
    if (part == name) return time;
  }
  return {};
}

std::string spaced(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::vector<Part> differences(const Forecast& best, const Forecast& other) {
  std::vector<Part> parts;
  for (const auto& [name, time] : other.breakdown) {
    const Seconds more = time - part_of(best, name);
    const Seconds size = more < Seconds() ? -more : more;
    if (size > 1e-3 * best.step) parts.push_back({spaced(name), more});
  }
  std::stable_sort(parts.begin(), parts.end(),
                   [](const Part& a, const Part& b) { return a.time > b.time; });
  return parts;
}

std::string signed_text(const Part& part) {
  const bool less = part.time < Seconds();
  return fmt::format("{} {}{}", part.name, less ? "-" : "+",
                     duration_text(less ? -part.time : part.time));
}

std::string largest_word(const Forecast& f) {
  const Seconds communication = part_of(f, "exposed_comm") + part_of(f, "gradient_reduction") +
                                part_of(f, "parameter_gather");
  const Seconds bubble = part_of(f, "bubble");
  const double network_share = communication / f.step;
  const double bubble_share = bubble / f.step;
  if (std::max(network_share, bubble_share) < 0.05)
    return fmt::format(
        "Compute binds: kernels fill {} of the step; waiting for the pipeline costs "
        "{}, communication that nothing hides {}.",
        percent_text(part_of(f, "compute") / f.step), percent_text(bubble_share),
        percent_text(network_share));
  if (network_share >= bubble_share)
    return fmt::format(
        "After compute ({}) the network binds: communication that nothing hides "
        "takes {} of the step; waiting for the pipeline {}.",
        percent_text(part_of(f, "compute") / f.step), percent_text(network_share),
        percent_text(bubble_share));
  return fmt::format(
      "After compute ({}) the pipeline binds: ranks wait {} of the step; "
      "communication that nothing hides takes {}.",
      percent_text(part_of(f, "compute") / f.step), percent_text(bubble_share),
      percent_text(network_share));
}

}  // namespace

std::string changed_fields(const Strategy& strategy, const Strategy& other) {
  const Json before = to_json(strategy);
  const Json after = to_json(other);
  std::string words;
  for (const auto& [key, value] : after.members()) {
    if (value.is_object() || before.find(key)->compact() == value.compact()) continue;
    const auto plain = [](const Json& v) { return v.is_string() ? v.string() : v.compact(); };
    words += fmt::format("{}{} {} instead of {}", words.empty() ? "" : ", ", spaced(key),
                         plain(value), plain(*before.find(key)));
  }
  return words;
}

std::vector<std::string> why_it_wins(const PlanView& view) {
  std::vector<std::string> words;
  const Seconds best = view.plan.forecast->step;
  for (const Alternative& other : view.search->alternatives) {
    if (!(other.step > best)) {
      words.push_back(
          fmt::format("As fast: {}.", changed_fields(view.plan.strategy, other.strategy)));
      continue;
    }
    words.push_back(fmt::format("It beats the next, {}, by {}{}.",
                                changed_fields(view.plan.strategy, other.strategy),
                                percent_text(other.step / best - 1),
                                other.difference.empty() ? "" : " (" + other.difference + ")"));
    break;
  }
  return words;
}

std::vector<std::string> what_binds(const Plan& plan) {
  const Forecast& f = *plan.forecast;
  std::vector<std::string> words{largest_word(f)};
  const double full = f.memory_peak / f.memory_capacity;
  if (full > 0.9)
    words.push_back(fmt::format("Memory is close: {} of the fullest GPU is used, {} are free.",
                                percent_text(full), gib_text(f.memory_capacity - f.memory_peak)));
  if (plan.strategy.recompute != Recompute::None)
    words.push_back(fmt::format("It recomputes ({}) to fit or to allow a larger micro-batch.",
                                to_string(plan.strategy.recompute)));
  return words;
}

std::string difference_words(const Forecast& best, const Forecast& other) {
  const std::vector<Part> parts = differences(best, other);
  std::string words;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool shown = i < 2 || i + 1 == parts.size();
    if (!shown) continue;
    words += (words.empty() ? "" : ", ") + signed_text(parts[i]);
  }
  return words;
}

}  // namespace narrows
