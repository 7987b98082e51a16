// United States export rules for advanced chips, as data (hwprofiles/rules), and what each says of
// a chip. The tests are arithmetic on the chip's figures: total processing performance (TPP) =
// dense rate times bits of the format, the highest over formats; performance density = TPP over the
// area of all logic dies; input/output = both directions of all links but memory. Not legal advice:
// a class here is what the thresholds give, not a ruling.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "hardware/chip.h"

namespace narrows {

// Tera-operations a second times bits; 0 without a rate. H100 SXM: 15,831.
double total_processing_performance(const Chip& chip);
// TPP a square millimetre; absent where the die area is not public.
std::optional<double> performance_density(const Chip& chip);
// Both directions of scale-up links and PCIe; absent where neither is known.
std::optional<Bandwidth> input_output_bandwidth(const Chip& chip);

enum class ExportMetric {
  Performance,
  Density,
  InputOutput,
  Memory,
  Sum
};  // Sum = InputOutput + Memory

struct ExportBound {
  ExportMetric metric = ExportMetric::Performance;
  bool at_least = true;  // else: below
  double threshold = 0;  // TPP, TPP/mm2 or GB/s
};

// All of it must hold.
struct ExportCondition {
  std::vector<ExportBound> bounds;
  std::optional<bool> data_centre;
};

// The class of a chip for which any of the conditions holds.
struct ExportClause {
  std::string result;
  std::vector<ExportCondition> any;
};

struct ExportException {
  std::string name;      // "NAC", notified advanced computing
  std::string of_class;  // open to parts of this class
  bool data_centre = true;
};

struct ExportRule {
  std::string id;
  std::string title;
  std::string citation;
  std::string date;   // in force from
  std::string until;  // "" = still
  std::string status;
  std::string source;
  std::string destinations;
  std::optional<ExportCondition> exempt;  // parts outside the rule
  std::string exempt_why;
  std::string within;  // applies only to parts that this rule puts in one of `within_classes`
  std::vector<std::string> within_classes;
  std::vector<ExportClause> clauses;  // the first that holds decides
  std::string otherwise;              // the class of the rest
  std::string why;                    // said of the rest
  std::vector<ExportException> exceptions;
  std::vector<ExportClause> remarks;  // said where they hold; `result` is the text
};

Result<ExportRule> export_rule_from_json(JsonObject& object);

struct RuleVerdict {
  std::string rule;
  std::string date;
  // "not-controlled" "3A090.a" "3A090.b" "3A090.c" "licence" "case-by-case" "denial"
  // "not-applicable" "unknown"
  std::string result;
  std::string why;        // the figures that decide
  std::string exception;  // a licence exception that is open to it, "" = none
  std::string uncertain;  // what could change the class: doubtful figures, other die areas, a
                          // threshold at hand; "" = nothing
};

// What the rules say of a chip, by date. `which`: absent = every rule; a date = those in force on
// that day; else an id. NotFound names the nearest id.
Result<std::vector<RuleVerdict>> classify(const Chip& chip, const std::vector<ExportRule>& rules,
                                          const std::optional<std::string>& which = {});

}  // namespace narrows
