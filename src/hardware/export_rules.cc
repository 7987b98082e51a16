// SPDX-License-Identifier: Apache-2.0
#include "hardware/export_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.h"
#include "hardware/figure_json.h"

namespace narrows {
namespace {

double bits_of(const std::string& format) {
  if (format.starts_with("fp64")) return 64;
  if (format == "fp32" || format == "tf32") return 32;
  if (format.starts_with("fp16") || format == "bf16") return 16;
  if (format.starts_with("fp8") || format == "int8") return 8;
  return 4;
}

// The figures that rules test, in TPP, mm2 and GB/s. `doubt` is how far off each may be, as a share
// of it.
struct Metrics {
  double performance = 0;
  std::optional<double> area;
  std::optional<double> io;
  double memory = 0;
  bool data_centre = true;

  std::optional<double> operator[](ExportMetric metric) const {
    switch (metric) {
      case ExportMetric::Performance:
        return performance;
      case ExportMetric::Density:
        return area ? std::optional<double>(performance / *area) : std::nullopt;
      case ExportMetric::InputOutput:
        return io;
      case ExportMetric::Memory:
        return memory;
      case ExportMetric::Sum:
        return io ? std::optional<double>(*io + memory) : std::nullopt;
    }
    return {};
  }
};

Metrics metrics_of(const Chip& chip) {
  Metrics metrics;
  metrics.performance = total_processing_performance(chip);
  if (chip.die_area) metrics.area = chip.die_area->value / mm2;
  const std::optional<Bandwidth> io = input_output_bandwidth(chip);
  if (io) metrics.io = *io / (GB / sec);
  metrics.memory = chip.memory_bandwidth.value / (GB / sec);
  metrics.data_centre = chip.data_centre;
  return metrics;
}

enum class Truth { No, Unknown, Yes };

// A sum of links and memory is at least its memory, whatever the links are.
Truth holds(const ExportBound& bound, const Metrics& metrics) {
  const std::optional<double> value = metrics[bound.metric];
  if (value) return (*value >= bound.threshold) == bound.at_least ? Truth::Yes : Truth::No;
  if (bound.metric == ExportMetric::Sum && metrics.memory >= bound.threshold)
    return bound.at_least ? Truth::Yes : Truth::No;
  return Truth::Unknown;
}

Truth holds(const ExportCondition& condition, const Metrics& metrics) {
  if (condition.data_centre && *condition.data_centre != metrics.data_centre) return Truth::No;
  Truth all = Truth::Yes;
  for (const ExportBound& bound : condition.bounds) all = std::min(all, holds(bound, metrics));
  return all;
}

Truth holds(const ExportClause& clause, const Metrics& metrics) {
  Truth any = Truth::No;
  for (const ExportCondition& condition : clause.any)
    any = std::max(any, holds(condition, metrics));
  return any;
}

std::string name_of(ExportMetric metric) {
  switch (metric) {
    case ExportMetric::Performance:
      return "TPP";
    case ExportMetric::Density:
      return "performance density";
    case ExportMetric::InputOutput:
      return "I/O";
    case ExportMetric::Memory:
      return "DRAM";
    case ExportMetric::Sum:
      return "I/O and DRAM";
  }
  return "";
}

// Whole numbers from 100 on, else two places: "15,831", "5.92".
std::string number_text(double value) {
  if (value >= 100) return with_commas(static_cast<std::int64_t>(std::floor(value + 0.5)));
  return fmt::format("{:.4g}", std::floor(value * 100 + 0.5) / 100);
}

// "TPP 15,831", "I/O 528 GB/s".
std::string figure_text(ExportMetric metric, const Metrics& metrics) {
  const std::optional<double> value = metrics[metric];
  if (!value) return name_of(metric) + " not public";
  const bool plain = metric == ExportMetric::Performance || metric == ExportMetric::Density;
  return fmt::format("{} {}{}", name_of(metric), number_text(*value), plain ? "" : " GB/s");
}

// "TPP 2,896 (at least 2,400, below 4,800), performance density 4.76 (...)".
std::string text_of(const ExportCondition& condition, const Metrics& metrics) {
  std::string text;
  for (std::size_t i = 0; i < condition.bounds.size(); ++i) {
    const ExportBound& bound = condition.bounds[i];
    const bool same = i > 0 && condition.bounds[i - 1].metric == bound.metric;
    if (same) text.pop_back();
    if (!same) text += (i > 0 ? ", " : "") + figure_text(bound.metric, metrics);
    text += fmt::format("{}{} {})", same ? ", " : " (", bound.at_least ? "at least" : "below",
                        number_text(bound.threshold));
  }
  return text;
}

std::string text_of(const ExportClause& clause, const Metrics& metrics) {
  std::string text;
  for (const ExportCondition& condition : clause.any) {
    if (holds(condition, metrics) == Truth::Yes)
      text += (text.empty() ? "" : "; ") + text_of(condition, metrics);
  }
  return text;
}

// The figures that the clauses look at: why none of them holds, or could be told.
std::string looked_at(const ExportRule& rule, const Metrics& metrics) {
  std::vector<ExportMetric> seen;
  std::string text;
  for (const ExportClause& clause : rule.clauses) {
    for (const ExportCondition& condition : clause.any) {
      for (const ExportBound& bound : condition.bounds) {
        if (std::find(seen.begin(), seen.end(), bound.metric) != seen.end()) continue;
        seen.push_back(bound.metric);
        text += (text.empty() ? "" : ", ") + figure_text(bound.metric, metrics);
      }
    }
  }
  return text;
}

struct Outcome {
  std::string result;
  std::string why;
};

const ExportRule* find_rule(const std::vector<ExportRule>& rules, const std::string& id) {
  const auto found = std::find_if(rules.begin(), rules.end(),
                                  [&](const ExportRule& rule) { return rule.id == id; });
  return found == rules.end() ? nullptr : &*found;
}

Outcome outcome_of(const ExportRule& rule, const std::vector<ExportRule>& rules,
                   const Metrics& metrics) {
  if (rule.exempt && holds(*rule.exempt, metrics) == Truth::Yes) {
    return {"not-controlled", fmt::format("{} ({})", rule.exempt_why,
                                          figure_text(ExportMetric::Performance, metrics))};
  }
  if (!rule.within.empty()) {
    const ExportRule* outer = find_rule(rules, rule.within);
    const Outcome base = outer == nullptr || outer == &rule ? Outcome{"unknown", "no such rule"}
                                                            : outcome_of(*outer, rules, metrics);
    if (base.result == "unknown")
      return {"unknown", fmt::format("its class under {} is unknown: {}", rule.within, base.why)};
    const std::vector<std::string>& classes = rule.within_classes;
    if (std::find(classes.begin(), classes.end(), base.result) == classes.end()) {
      return {"not-applicable",
              fmt::format("not in {} under {}", fmt::join(classes, " or "), rule.within)};
    }
  }
  for (const ExportClause& clause : rule.clauses) {
    const Truth truth = holds(clause, metrics);
    if (truth == Truth::Yes) return {clause.result, text_of(clause, metrics)};
    if (truth == Truth::Unknown) return {"unknown", looked_at(rule, metrics)};
  }
  return {rule.otherwise, rule.why.empty() ? looked_at(rule, metrics) : rule.why};
}

// How far off a figure may be: a published one half a percent (rounding), a doubtful one a fifth.
double margin(const std::string& mark) {
  if (mark.empty()) return 0.005;
  return mark == "doubtful" ? 0.2 : 0.05;
}

const Figure<FlopRate>* deciding_rate(const Chip& chip) {
  const Figure<FlopRate>* best = nullptr;
  double most = 0;
  for (const auto& [format, rate] : chip.peak) {
    const double performance = rate.value / (TFLOP / sec) * bits_of(format);
    if (performance > most ||
        (performance == most && best != nullptr && !best->mark.empty() && rate.mark.empty()))
      best = &rate;
    most = std::max(most, performance);
  }
  return best;
}

// One figure of a chip moved down and up: the text of the figure, and the metrics with it moved.
struct Doubt {
  std::string what;
  std::string mark;
  Metrics low;
  Metrics high;
};

std::vector<Doubt> doubts_of(const Chip& chip, const Metrics& metrics) {
  std::vector<Doubt> doubts;
  const auto add = [&](const std::string& what, const std::string& mark, auto&& move) {
    Doubt doubt{what, mark, metrics, metrics};
    move(doubt.low, 1 - margin(mark));
    move(doubt.high, 1 + margin(mark));
    doubts.push_back(std::move(doubt));
  };
  if (const Figure<FlopRate>* rate = deciding_rate(chip)) {
    add(figure_text(ExportMetric::Performance, metrics), rate->mark,
        [](Metrics& m, double by) { m.performance *= by; });
  }
  if (chip.die_area) {
    add(fmt::format("die area {}", exact_text(chip.die_area->value)), chip.die_area->mark,
        [](Metrics& m, double by) { *m.area *= by; });
  }
  if (metrics.io) {
    const std::string mark = chip.link ? chip.link->mark : chip.pcie->mark;
    add(figure_text(ExportMetric::InputOutput, metrics), mark,
        [](Metrics& m, double by) { *m.io *= by; });
  }
  add(figure_text(ExportMetric::Memory, metrics), chip.memory_bandwidth.mark,
      [](Metrics& m, double by) { m.memory *= by; });
  return doubts;
}

std::string uncertainty(const ExportRule& rule, const std::vector<ExportRule>& rules,
                        const Chip& chip) {
  const Metrics metrics = metrics_of(chip);
  const std::string result = outcome_of(rule, rules, metrics).result;
  std::string text;
  const auto say = [&](const std::string& what) { text += (text.empty() ? "" : "; ") + what; };
  for (const Doubt& doubt : doubts_of(chip, metrics)) {
    for (const Metrics* moved : {&doubt.low, &doubt.high}) {
      const std::string other = outcome_of(rule, rules, *moved).result;
      if (other == result) continue;
      say(doubt.mark.empty()
              ? fmt::format("{} is within 0.5% of a threshold to {}", doubt.what, other)
              : fmt::format("{} is {}: it could be {}", doubt.what, doubt.mark, other));
      break;
    }
  }
  if (chip.die_area_alternative) {
    Metrics moved = metrics;
    moved.area = chip.die_area_alternative->value / mm2;
    const std::string other = outcome_of(rule, rules, moved).result;
    if (other != result)
      say(fmt::format("with a die area of {} it is {}",
                      exact_text(chip.die_area_alternative->value), other));
  }
  return text;
}

RuleVerdict verdict_of(const Chip& chip, const ExportRule& rule,
                       const std::vector<ExportRule>& rules) {
  const Metrics metrics = metrics_of(chip);
  const Outcome outcome = outcome_of(rule, rules, metrics);
  RuleVerdict verdict{rule.id,     rule.date, outcome.result,
                      outcome.why, "",        uncertainty(rule, rules, chip)};
  for (const ExportClause& remark : rule.remarks) {
    const bool concerned = outcome.result != "not-applicable" && outcome.result != "unknown";
    if (concerned && holds(remark, metrics) == Truth::Yes) verdict.why += "; " + remark.result;
  }
  for (const ExportException& exception : rule.exceptions) {
    if (exception.of_class == outcome.result && exception.data_centre == chip.data_centre)
      verdict.exception = exception.name;
  }
  if (!chip.export_note.empty()) verdict.why += ". " + chip.export_note;
  return verdict;
}

// ISO days compare as text.
bool in_force(const ExportRule& rule, const std::string& day) {
  return rule.date <= day && (rule.until.empty() || day < rule.until);
}

}  // namespace

double total_processing_performance(const Chip& chip) {
  double most = 0;
  for (const auto& [format, rate] : chip.peak)
    most = std::max(most, rate.value / (TFLOP / sec) * bits_of(format));
  return most;
}

std::optional<double> performance_density(const Chip& chip) {
  return metrics_of(chip)[ExportMetric::Density];
}

std::optional<Bandwidth> input_output_bandwidth(const Chip& chip) {
  if (!chip.link && !chip.pcie) return {};
  Bandwidth total;
  if (chip.link) total += 2 * chip.link->value;
  if (chip.pcie) total += 2 * chip.pcie->value;
  return total;
}

Result<std::vector<RuleVerdict>> classify(const Chip& chip, const std::vector<ExportRule>& rules,
                                          const std::optional<std::string>& which) {
  std::vector<RuleVerdict> verdicts;
  const bool dated = which && which->size() == 10 && is_date(*which);
  if (which && !dated && find_rule(rules, *which) == nullptr) {
    std::vector<std::string> ids;
    for (const ExportRule& rule : rules) ids.push_back(rule.id);
    const std::string near = closest(*which, ids);
    return not_found(fmt::format("rules {}: expected a day such as 2023-11-17 or one of {}{}",
                                 *which, fmt::join(ids, ", "),
                                 near.empty() ? "" : "; did you mean " + near + "?"));
  }
  for (const ExportRule& rule : rules) {
    if (which && !(dated ? in_force(rule, *which) : rule.id == *which)) continue;
    verdicts.push_back(verdict_of(chip, rule, rules));
  }
  std::stable_sort(verdicts.begin(), verdicts.end(),
                   [](const RuleVerdict& a, const RuleVerdict& b) { return a.date < b.date; });
  return verdicts;
}

}  // namespace narrows
