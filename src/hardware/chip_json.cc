// SPDX-License-Identifier: Apache-2.0
#include "hardware/chip_json.h"

#include <fmt/format.h>

#include "base/text.h"
#include "hardware/figure_json.h"

namespace narrows {
namespace {

Status read_peaks(JsonObject& object, Chip& chip) {
  JsonObject peaks = TRY(object.object("peak"));
  for (const std::string& format : peak_formats()) {
    if (peaks.has(format)) chip.peak[format] = TRY(read_figure<FlopRate>(peaks, format));
  }
  TRY(peaks.finish());
  if (!chip.peak.empty()) return {};
  return invalid(
      fmt::format("{}: expected the rate of at least one format, found none", peaks.place()));
}

Status read_memory(JsonObject& object, Chip& chip) {
  chip.memory = TRY(read_figure<Bytes>(object, "memory"));
  chip.memory_reported = TRY(read_figure<Bytes>(object, "memory_reported"));
  chip.memory_bandwidth = TRY(read_figure<Bandwidth>(object, "memory_bandwidth"));
  chip.memory_type = TRY(object.string_or("memory_type", ""));
  chip.l2_cache = TRY(read_optional_figure<Bytes>(object, "l2_cache"));
  // Sold in GB, reported in GiB less what the driver keeps: never over a tenth more than sold.
  if (chip.memory_reported.value <= 1.1 * chip.memory.value) return {};
  return invalid(fmt::format("{}: expected at most 1.1 times the memory as sold ({}), found {}",
                             object.place("memory_reported"), exact_text(chip.memory.value),
                             exact_text(chip.memory_reported.value)));
}

Status read_links(JsonObject& object, Chip& chip) {
  chip.link = TRY(read_optional_figure<Bandwidth>(object, "link"));
  chip.link_type = TRY(object.string_or("link_type", ""));
  chip.link_bridge = TRY(object.string_or("link_bridge", ""));
  chip.link_pair = TRY(read_optional_figure<Bandwidth>(object, "link_pair"));
  chip.pcie = TRY(read_optional_figure<Bandwidth>(object, "pcie"));
  return {};
}

Status read_silicon(JsonObject& object, Chip& chip) {
  chip.matrix_rate = TRY(read_optional_figure<FlopRate>(object, "matrix_rate"));
  chip.sustained_rate = TRY(read_optional_figure<FlopRate>(object, "sustained_rate"));
  if (object.has("multiprocessors"))
    chip.multiprocessors = TRY(read_number_figure(object, "multiprocessors"));
  chip.clock = TRY(read_optional_figure<Frequency>(object, "clock"));
  if (object.has("exponentials"))
    chip.exponentials = TRY(read_number_figure(object, "exponentials"));
  if (object.has("spread")) chip.spread = TRY(read_number_figure(object, "spread"));
  chip.power = TRY(read_optional_figure<Watts>(object, "power"));
  chip.die_area = TRY(read_optional_figure<Area>(object, "die_area"));
  chip.die_area_alternative = TRY(read_optional_figure<Area>(object, "die_area_alternative"));
  if (object.has("launch")) chip.launch = TRY(read_date_figure(object, "launch"));
  return {};
}

template <typename Q>
void set_optional(Json& object, const char* key, const std::optional<Figure<Q>>& figure) {
  if (figure) object.set(key, to_json(*figure));
}

void set_text(Json& object, const char* key, const std::string& text) {
  if (!text.empty()) object.set(key, text);
}

void set_number(Json& object, const char* key, const std::optional<Figure<double>>& figure) {
  if (figure)
    object.set(key, figure_json(figure->value, figure->source, figure->mark, figure->note));
}

void set_silicon(Json& object, const Chip& chip) {
  set_optional(object, "matrix_rate", chip.matrix_rate);
  set_optional(object, "sustained_rate", chip.sustained_rate);
  set_number(object, "multiprocessors", chip.multiprocessors);
  set_optional(object, "clock", chip.clock);
  set_number(object, "exponentials", chip.exponentials);
  set_number(object, "spread", chip.spread);
}

}  // namespace

Result<Chip> chip_from_json(JsonObject& object) {
  Chip chip;
  chip.name = TRY(read_name(object, "name"));
  chip.title = TRY(object.string_or("title", chip.name));
  chip.vendor = TRY(object.string_or("vendor", ""));
  chip.architecture = TRY(object.string_or("architecture", ""));
  TRY(read_peaks(object, chip));
  TRY(read_silicon(object, chip));
  TRY(read_memory(object, chip));
  TRY(read_links(object, chip));
  chip.data_centre = TRY(object.boolean_or("data_centre", true));
  chip.kernels_like = TRY(object.string_or("kernels_like", ""));
  chip.export_note = TRY(object.string_or("export_note", ""));
  chip.notes = TRY(object.string_or("notes", ""));
  TRY(object.finish());
  return chip;
}

Json to_json(const Chip& chip) {
  Json object = Json::object();
  object.set("name", chip.name).set("title", chip.title);
  set_text(object, "vendor", chip.vendor);
  set_text(object, "architecture", chip.architecture);
  Json peaks = Json::object();
  for (const std::string& format : peak_formats()) {
    const auto found = chip.peak.find(format);
    if (found != chip.peak.end()) peaks.set(format, to_json(found->second));
  }
  object.set("peak", std::move(peaks));
  set_silicon(object, chip);
  object.set("memory", to_json(chip.memory)).set("memory_reported", to_json(chip.memory_reported));
  object.set("memory_bandwidth", to_json(chip.memory_bandwidth));
  set_text(object, "memory_type", chip.memory_type);
  set_optional(object, "l2_cache", chip.l2_cache);
  set_optional(object, "power", chip.power);
  set_optional(object, "die_area", chip.die_area);
  set_optional(object, "die_area_alternative", chip.die_area_alternative);
  set_optional(object, "link", chip.link);
  set_text(object, "link_type", chip.link_type);
  set_text(object, "link_bridge", chip.link_bridge);
  set_optional(object, "link_pair", chip.link_pair);
  set_optional(object, "pcie", chip.pcie);
  if (chip.launch) {
    object.set("launch", figure_json(chip.launch->value, chip.launch->source, chip.launch->mark,
                                     chip.launch->note));
  }
  object.set("data_centre", chip.data_centre);
  set_text(object, "kernels_like", chip.kernels_like);
  set_text(object, "export_note", chip.export_note);
  set_text(object, "notes", chip.notes);
  return object;
}

}  // namespace narrows
