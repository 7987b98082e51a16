// SPDX-License-Identifier: Apache-2.0
#include "cli/show_parts.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/figures.h"
#include "model/flops.h"
#include "model/parameters.h"
#include "model/spec_json.h"
#include "report/comparison_view.h"
#include "schedule/library.h"
#include "schedule/text.h"

namespace narrows {
namespace {

Section parameters_section(const BuiltinModel& model, Json& data) {
  const ParameterCount count = count_parameters(model.spec);
  Section section{"Parameters, counted from the shape", {}, {}};
  Json json = Json::object();
  const auto add = [&](const char* name, double n) {
    section.rows.push_back({name, with_commas(static_cast<std::int64_t>(n)), "", ""});
    json.set(name, n);
  };
  add("total", count.total);
  add("active", count.active);
  add("active_without_embedding", count.active_without_embedding);
  if (count.mtp > 0) add("mtp", count.mtp);
  data.set("parameters", std::move(json));
  return section;
}

Section flops_section(const BuiltinModel& model, Json& data) {
  const std::int64_t sequence = default_training(model).sequence;
  Section section{
      fmt::format("Training GFLOP a token at a sequence of {}", with_commas(sequence)), {}, {}};
  Json json = Json::object();
  json.set("sequence", sequence);
  for (const FlopsConvention convention : all_flops_conventions()) {
    const double gflop = training_flops_per_token(model.spec, sequence, convention) / GFLOP;
    section.rows.push_back({to_string(convention), fmt::format("{:.2f}", gflop), "", ""});
    json.set(to_string(convention), gflop);
  }
  data.set("gflop_per_token", std::move(json));
  return section;
}

Section training_section(const BuiltinModel& model, Json& data) {
  Section section{"Published training", {}, {}};
  if (!model.training) {
    section.notes = {"none is known"};
    data.set("training", Json());
    return section;
  }
  const PublishedTraining& t = *model.training;
  Json json = Json::object();
  const auto add = [&](const char* name, std::int64_t n) {
    section.rows.push_back({name, n > 0 ? with_commas(n) : "not published", "", ""});
    json.set(name, n > 0 ? Json(n) : Json());
  };
  add("sequence", t.sequence);
  add("global_batch", t.global_batch);
  add("tokens", t.tokens);
  section.rows.push_back({"recipe", t.recipe.empty() ? "not published" : t.recipe, "", ""});
  json.set("recipe", t.recipe.empty() ? Json() : Json(t.recipe));
  json.set("source", t.source);
  section.notes = {"source: " + t.source};
  data.set("training", std::move(json));
  return section;
}

}  // namespace

ProfileView show_model(const BuiltinModel& model) {
  ProfileView view{"model", model.spec.name, "", {}, {}, to_json(model.spec)};
  Section shape{"Shape", rows_of(view.data, {"name"}), {}};
  if (!model.source.empty()) shape.notes.push_back("source: " + model.source);
  view.sections = {parameters_section(model, view.data), flops_section(model, view.data), shape,
                   training_section(model, view.data)};
  Json aliases = Json::array();
  std::string names;
  for (const std::string& alias : model.aliases) {
    aliases.push(alias);
    names += (names.empty() ? "also called " : ", ") + alias;
  }
  if (!names.empty()) view.sections.back().notes.push_back(names);
  view.data.set("aliases", std::move(aliases));
  view.data.set("source", model.source);
  return view;
}

ProfileView show_schedule(ScheduleKind kind) {
  ProfileView view{"schedule", to_string(kind), schedule_words(kind), {}, {}, Json::object()};
  const int chunks = fixed_chunks(kind).value_or(2);
  view.data.set("what", schedule_words(kind));
  view.data.set("chunks_per_rank", fixed_chunks(kind) ? Json(chunks) : Json());
  if (const Result<Schedule> schedule = make_schedule(kind, 4, chunks, 8)) {
    Section section{"Programs of 4 ranks and 8 micro-batches", {}, {}};
    Json programs = Json::array();
    for (const Program& program : schedule->programs) {
      section.notes.push_back(to_text(program));
      programs.push(to_text(program));
    }
    view.sections.push_back(std::move(section));
    view.data.set("programs", std::move(programs));
  }
  return view;
}

ProfileView show_rule(const ExportRule& rule) {
  ProfileView view{"rule", rule.id, rule.title, {}, {}, Json::object()};
  Section section;
  const auto add = [&](const char* name, const std::string& value, const std::string& source) {
    view.data.set(name, value);
    if (!value.empty()) section.rows.push_back({name, value, source, ""});
  };
  add("citation", rule.citation, rule.source);
  add("date", rule.date, "");
  add("until", rule.until, "");
  add("status", rule.status, "");
  add("destinations", rule.destinations, "");
  add("otherwise", rule.otherwise, "");
  view.data.set("source", rule.source);
  if (!rule.why.empty()) section.notes.push_back("otherwise: " + rule.why);
  view.sections.push_back(std::move(section));
  return view;
}

Status add_rules(ProfileView& view, const Chip& chip, const ShowOptions& options,
                 const Profiles& profiles) {
  if (!options.rules) return {};
  const auto rules = TRY(profiles.hardware.rules());
  const auto verdicts = TRY(classify(chip, rules));
  const double tpp = total_processing_performance(chip);
  const std::optional<double> density = performance_density(chip);
  Section section{"Export rules of the United States (thresholds, not a ruling)", {}, {}};
  section.rows.push_back(
      {"TPP", fmt::format("{}", with_commas(static_cast<std::int64_t>(tpp))), "", ""});
  section.rows.push_back({"performance density",
                          density ? fmt::format("{:.2f} TPP/mm2", *density) : "die area not public",
                          "", ""});
  Json list = Json::array();
  for (const RuleVerdict& verdict : verdicts) {
    std::string remark = verdict.why;
    if (!verdict.exception.empty()) remark += "; licence exception " + verdict.exception;
    if (!verdict.uncertain.empty()) remark += "; uncertain: " + verdict.uncertain;
    section.rows.push_back({verdict.rule, verdict.result, verdict.date, remark});
    list.push(to_json(verdict));
  }
  view.sections.push_back(std::move(section));
  view.data.set("tpp", tpp);
  view.data.set("performance_density", Json(density));
  view.data.set("rules", std::move(list));
  return {};
}

}  // namespace narrows
