// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <string_view>

#include "base/text.h"
#include "hardware/export_rules.h"
#include "hardware/figure_json.h"

namespace narrows {
namespace {

struct MetricKey {
  std::string_view name;
  ExportMetric metric;
  bool bandwidth;
};
constexpr std::array<MetricKey, 5> kMetrics = {{{"tpp", ExportMetric::Performance, false},
                                                {"density", ExportMetric::Density, false},
                                                {"io", ExportMetric::InputOutput, true},
                                                {"dram", ExportMetric::Memory, true},
                                                {"sum", ExportMetric::Sum, true}}};

constexpr std::array<std::string_view, 9> kClasses = {
    "not-controlled", "3A090.a", "3A090.b",        "3A090.c", "licence",
    "case-by-case",   "denial",  "not-applicable", "unknown"};

Result<std::string> read_class(JsonObject& object, std::string_view key) {
  const std::string name = TRY(object.string(key));
  for (const std::string_view known : kClasses) {
    if (name == known) return name;
  }
  return invalid(fmt::format("{}: expected one of {}, found \"{}\"", object.place(key),
                             fmt::join(kClasses, " "), name));
}

Result<ExportCondition> read_condition(JsonObject& object) {
  ExportCondition condition;
  for (const MetricKey& key : kMetrics) {
    for (const bool at_least : {true, false}) {
      const std::string name = fmt::format("{}_{}", key.name, at_least ? "at_least" : "below");
      if (!object.has(name)) continue;
      const double threshold = key.bandwidth ? TRY(object.quantity<Bandwidth>(name)) / (GB / sec)
                                             : TRY(object.number(name, 0, 1e9));
      condition.bounds.push_back({key.metric, at_least, threshold});
    }
  }
  if (object.has("data_centre")) condition.data_centre = TRY(object.boolean("data_centre"));
  TRY(object.finish());
  if (!condition.bounds.empty()) return condition;
  return invalid(
      fmt::format("{}: expected a threshold such as \"tpp_at_least\", found none", object.place()));
}

// The conditions of key "any".
Result<std::vector<ExportCondition>> read_any(JsonObject& object) {
  std::vector<ExportCondition> any;
  const Json* array = TRY(object.array("any"));
  for (const Json& item : array->items()) {
    JsonObject entry = TRY(JsonObject::of(item, object.file(), fmt::format("any[{}]", any.size())));
    any.push_back(TRY(read_condition(entry)));
  }
  return any;
}

// Clauses (or remarks) under `key`, whose result is the field `result`.
Result<std::vector<ExportClause>> read_clauses(JsonObject& object, std::string_view key,
                                               std::string_view result) {
  std::vector<ExportClause> clauses;
  if (!object.has(key)) return clauses;
  const Json* array = TRY(object.array(key));
  for (const Json& item : array->items()) {
    JsonObject entry =
        TRY(JsonObject::of(item, object.file(), fmt::format("{}[{}]", key, clauses.size())));
    ExportClause clause;
    clause.result = result == "class" ? TRY(read_class(entry, result)) : TRY(entry.string(result));
    clause.any = TRY(read_any(entry));
    TRY(entry.finish());
    clauses.push_back(std::move(clause));
  }
  return clauses;
}

Status read_scope(JsonObject& object, ExportRule& rule) {
  if (object.has("exempt")) {
    JsonObject exempt = TRY(object.object("exempt"));
    JsonObject when = TRY(exempt.object("when"));
    rule.exempt = TRY(read_condition(when));
    rule.exempt_why = TRY(exempt.string("why"));
    TRY(exempt.finish());
  }
  if (!object.has("within")) return {};
  JsonObject within = TRY(object.object("within"));
  rule.within = TRY(within.string("rule"));
  const Json* classes = TRY(within.array("classes"));
  for (const Json& item : classes->items()) {
    if (!item.is_string()) {
      return invalid(fmt::format("{}: expected names of classes, found {}", within.place("classes"),
                                 item.description()));
    }
    rule.within_classes.push_back(item.string());
  }
  return within.finish();
}

Status read_exceptions(JsonObject& object, ExportRule& rule) {
  if (!object.has("exceptions")) return {};
  const Json* array = TRY(object.array("exceptions"));
  for (const Json& item : array->items()) {
    JsonObject entry = TRY(
        JsonObject::of(item, object.file(), fmt::format("exceptions[{}]", rule.exceptions.size())));
    ExportException exception;
    exception.name = TRY(entry.string("name"));
    exception.of_class = TRY(read_class(entry, "class"));
    exception.data_centre = TRY(entry.boolean("data_centre"));
    TRY(entry.finish());
    rule.exceptions.push_back(std::move(exception));
  }
  return {};
}

Result<std::string> read_day(JsonObject& object, std::string_view key, bool required) {
  const std::string day = required ? TRY(object.string(key)) : TRY(object.string_or(key, ""));
  if (day.empty() && !required) return day;
  if (day.size() == 10 && is_date(day)) return day;
  return invalid(fmt::format("{}: expected a day such as \"2023-11-17\", found \"{}\"",
                             object.place(key), day.substr(0, 60)));
}

}  // namespace

Result<ExportRule> export_rule_from_json(JsonObject& object) {
  ExportRule rule;
  rule.id = TRY(read_name(object, "id"));
  rule.title = TRY(object.string("title"));
  rule.citation = TRY(object.string("citation"));
  rule.date = TRY(read_day(object, "date", true));
  rule.until = TRY(read_day(object, "until", false));
  rule.status = TRY(object.string("status"));
  rule.source = TRY(object.string("source"));
  rule.destinations = TRY(object.string_or("destinations", ""));
  TRY(read_scope(object, rule));
  rule.clauses = TRY(read_clauses(object, "clauses", "class"));
  rule.otherwise = TRY(read_class(object, "otherwise"));
  rule.why = TRY(object.string_or("why", ""));
  TRY(read_exceptions(object, rule));
  rule.remarks = TRY(read_clauses(object, "remarks", "text"));
  TRY(object.finish());
  return rule;
}

}  // namespace narrows
