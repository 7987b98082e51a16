// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "report/comparison_view.h"
#include "report/text_table.h"

namespace narrows {
namespace {

struct MemoryPart {
  const char* name;
  Bytes RankMemory::*part;
};
constexpr MemoryPart kParts[] = {
    {"parameters", &RankMemory::parameters}, {"gradients", &RankMemory::gradients},
    {"optimizer", &RankMemory::optimizer},   {"kept", &RankMemory::kept},
    {"transient", &RankMemory::transient},   {"comm_buffers", &RankMemory::comm_buffers},
    {"context", &RankMemory::context},       {"allocator", &RankMemory::allocator}};

std::string spaced(std::string name) {
  for (char& c : name) {
    if (c == '_') c = ' ';
  }
  return name;
}

Json both(Json first, Json second) {
  Json pair = Json::object();
  pair.set("first", std::move(first));
  pair.set("second", std::move(second));
  return pair;
}

Seconds part_of(const Forecast& forecast, const std::string& name) {
  for (const auto& [part, time] : forecast.breakdown) {
    if (part == name) return time;
  }
  return {};
}

std::string fields_text(const DifferenceView& view) {
  if (view.fields.empty()) return "The plans decide the same.\n";
  TextTable table("lll");
  for (const FieldDifference& field : view.fields)
    table.row({field.field, field.first.empty() ? "-" : field.first,
               field.second.empty() ? "-" : field.second});
  return "Fields that differ\n" + table.text();
}

std::string steps_text(const DifferenceView& view) {
  TextTable table("lrrr");
  const auto row = [&](const std::string& name, Seconds a, Seconds b) {
    const bool less = b < a;
    table.row({spaced(name), duration_text(a), duration_text(b),
               fmt::format("{}{}", less ? "-" : "+", duration_text(less ? a - b : b - a))});
  };
  row("step", view.first.step, view.second.step);
  for (const auto& [name, time] : view.first.breakdown) row(name, time, part_of(view.second, name));
  return "\nThe step\n" + table.text();
}

std::string memory_text(const DifferenceView& view) {
  TextTable table("lrr");
  for (const MemoryPart& part : kParts)
    table.row({spaced(part.name), gib_text(view.first_memory.*part.part),
               gib_text(view.second_memory.*part.part)});
  table.row({"together", gib_text(total(view.first_memory)), gib_text(total(view.second_memory))});
  table.row(
      {"capacity", gib_text(view.first.memory_capacity), gib_text(view.second.memory_capacity)});
  return "\nMemory of the fullest GPU\n" + table.text();
}

}  // namespace

Json to_json(const DifferenceView& view) {
  Json root = Json::object();
  root.set("first", view.first_name);
  root.set("second", view.second_name);
  Json fields = Json::object();
  for (const FieldDifference& field : view.fields)
    fields.set(field.field, both(field.first.empty() ? Json() : Json(field.first),
                                 field.second.empty() ? Json() : Json(field.second)));
  root.set("fields", std::move(fields));
  root.set("step_seconds", both(view.first.step / sec, view.second.step / sec));
  Json breakdown = Json::object();
  for (const auto& [name, time] : view.first.breakdown)
    breakdown.set(name, both(time / sec, part_of(view.second, name) / sec));
  root.set("breakdown", std::move(breakdown));
  root.set("memory", both(to_json(view.first_memory), to_json(view.second_memory)));
  Json why = Json::array();
  for (const std::string& line : view.why) why.push(line);
  root.set("why", std::move(why));
  return root;
}

std::string text_of(const DifferenceView& view) {
  std::string out = fmt::format("{}  against  {}\n\n", view.first_name, view.second_name);
  for (const std::string& line : view.why) out += wrapped(line);
  return out + "\n" + fields_text(view) + steps_text(view) + memory_text(view);
}

}  // namespace narrows
