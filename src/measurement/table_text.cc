// SPDX-License-Identifier: Apache-2.0
#include "measurement/table_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

namespace narrows {
namespace {

// One row while it is read; a chip's row fills `chip`.
struct Row {
  std::optional<KernelFamily> family;
  bool is_chip = false;
  Measurement measurement;
  MeasuredChip chip;
};

// Puts the text of a field into the row; false if it is not a value of that field.
using Setter = bool (*)(Row&, std::string_view);

struct Field {
  std::string_view name;
  Setter set;
};

std::optional<double> positive(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(value) || value <= 0) return std::nullopt;
  return value;
}

template <typename Int>
bool set_count(Int& out, std::string_view text) {
  const std::optional<double> value = positive(text);
  if (!value || *value != std::floor(*value) || *value > 1e9) return false;
  out = static_cast<Int>(*value);
  return true;
}

bool set_text(std::string& out, std::string_view text) {
  out = text;
  return !text.empty();
}

template <typename Q>
bool set_rate(Q& out, std::string_view text, Q unit) {
  const std::optional<double> value = text == "0" ? std::optional<double>(0) : positive(text);
  if (value) out = *value * unit;
  return value.has_value();
}

bool set_flag(bool& out, std::string_view text) {
  out = text == "1";
  return text == "0" || text == "1";
}

bool set_family(Row& row, std::string_view text) {
  row.is_chip = text == "chip";
  if (text == "matmul") row.family = KernelFamily::Matmul;
  if (text == "attention") row.family = KernelFamily::Attention;
  if (text == "memory") row.family = KernelFamily::Memory;
  return row.is_chip || row.family.has_value();
}

bool set_recipe(Row& row, std::string_view text) {
  using Name = std::pair<std::string_view, Recipe>;
  static constexpr std::array<Name, 8> kNames{{{"f32", Recipe::F32},
                                               {"fp16", Recipe::Fp16},
                                               {"bf16", Recipe::Bf16},
                                               {"fp8-block", Recipe::Fp8Block},
                                               {"fp8-tensor", Recipe::Fp8Tensor},
                                               {"fp8-row", Recipe::Fp8Row},
                                               {"mxfp8", Recipe::Mxfp8},
                                               {"nvfp4", Recipe::Nvfp4}}};
  for (const Name& known : kNames) {
    if (known.first == text) {
      row.measurement.recipe = known.second;
      return true;
    }
  }
  return false;
}

bool set_direction(Row& row, std::string_view text) {
  Direction& out = row.measurement.direction;
  if (text == "input-grad") out = Direction::InputGrad;
  if (text == "weight-grad") out = Direction::WeightGrad;
  if (text == "forward") out = Direction::Forward;
  return text == "forward" || text == "input-grad" || text == "weight-grad";
}

bool set_m(Row& row, std::string_view text) {
  const std::optional<double> value = positive(text);
  if (value) row.measurement.matmul.m = exactly(*value);
  return value.has_value();
}

bool set_sequence(Row& row, std::string_view text) {
  AttentionShape& shape = row.measurement.attention;
  const bool ok = set_count(shape.queries, text);
  shape.keys = shape.queries;
  return ok;
}

bool set_heads(Row& row, std::string_view text) {
  AttentionShape& shape = row.measurement.attention;
  const bool ok = set_count(shape.heads, text);
  shape.kv_heads = shape.heads;
  return ok;
}

bool set_time(Row& row, std::string_view text) {
  const std::optional<double> value = positive(text);
  if (value) row.measurement.time = *value * us;
  return value.has_value();
}

bool set_traffic(Row& row, std::string_view text) {
  const std::optional<double> value = positive(text);
  if (value) row.measurement.traffic = *value * MB;
  return value.has_value();
}

bool set_multiprocessors(Row& row, std::string_view text) {
  if (row.is_chip) {
    const std::optional<double> value = positive(text);
    row.chip.multiprocessors = value.value_or(0);
    return value.has_value();
  }
  return set_count(row.measurement.multiprocessors, text);
}

bool set_quantise(Row& row, std::string_view text) {
  const std::optional<double> value = positive(text);
  row.measurement.quantise = value.value_or(0);
  return value.has_value() && *value <= 1;
}

bool set_chip(Row& row, std::string_view text) {
  row.chip.name = text;
  return set_text(row.measurement.chip, text);
}

constexpr std::array<Field, 28> kFields{{
    {"family", set_family},
    {"chip", set_chip},
    {"source", [](Row& r, std::string_view t) { return set_text(r.measurement.source, t); }},
    {"generation",
     [](Row& r, std::string_view t) { return set_text(r.measurement.generation, t); }},
    {"recipe", set_recipe},
    {"direction", set_direction},
    {"multiprocessors", set_multiprocessors},
    {"quantise", set_quantise},
    {"grid", [](Row& r, std::string_view t) { return set_flag(r.measurement.grid, t); }},
    {"library", [](Row& r, std::string_view t) { return set_flag(r.measurement.library, t); }},
    {"us", set_time},
    {"groups",
     [](Row& r, std::string_view t) { return set_count(r.measurement.matmul.groups, t); }},
    {"m", set_m},
    {"n", [](Row& r, std::string_view t) { return set_count(r.measurement.matmul.n, t); }},
    {"k", [](Row& r, std::string_view t) { return set_count(r.measurement.matmul.k, t); }},
    {"batch",
     [](Row& r, std::string_view t) { return set_count(r.measurement.attention.batch, t); }},
    {"heads", set_heads},
    {"seq", set_sequence},
    {"qk_dim",
     [](Row& r, std::string_view t) { return set_count(r.measurement.attention.qk_dim, t); }},
    {"v_dim",
     [](Row& r, std::string_view t) { return set_count(r.measurement.attention.v_dim, t); }},
    {"causal",
     [](Row& r, std::string_view t) { return set_flag(r.measurement.attention.causal, t); }},
    {"class", [](Row& r, std::string_view t) { return set_text(r.measurement.memory_class, t); }},
    {"mb", set_traffic},
    {"architecture", [](Row& r, std::string_view t) { return set_text(r.chip.architecture, t); }},
    {"bf16", [](Row& r, std::string_view t) { return set_rate(r.chip.bf16, t, TFLOP / sec); }},
    {"fp8", [](Row& r, std::string_view t) { return set_rate(r.chip.fp8, t, TFLOP / sec); }},
    {"fp4", [](Row& r, std::string_view t) { return set_rate(r.chip.fp4, t, TFLOP / sec); }},
    {"gbps", [](Row& r, std::string_view t) { return set_rate(r.chip.bandwidth, t, GB / sec); }},
}};

const Field* field_of(std::string_view name) {
  for (const Field& field : kFields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> parts;
  for (std::size_t start = 0;;) {
    const std::size_t comma = line.find(',', start);
    parts.push_back(line.substr(start, comma - start));
    if (comma == std::string_view::npos) return parts;
    start = comma + 1;
  }
}

// What every row of a family must have, from constants and columns together.
std::vector<std::string_view> required(const Row& row) {
  if (row.is_chip) return {"chip", "architecture", "bf16", "fp8", "fp4", "gbps", "multiprocessors"};
  switch (*row.family) {
    case KernelFamily::Matmul:
      return {"chip", "source", "recipe", "direction", "m", "n", "k", "us"};
    case KernelFamily::Attention:
      return {"chip", "source", "recipe", "direction", "batch", "heads",
              "seq",  "qk_dim", "v_dim",  "causal",    "us"};
    case KernelFamily::Memory:
      return {"chip", "source", "class", "mb", "us"};
  }
  return {};
}

class Reader {
 public:
  Reader(const std::string& name, std::vector<Measurement>& rows, std::vector<MeasuredChip>& chips)
      : name_(name), rows_(rows), chips_(chips) {}

  Status line(std::string_view text) {
    ++number_;
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    if (text.empty() || text.front() == '#') return {};
    const std::vector<std::string_view> parts = split(text);
    if (!columns_.empty()) return row(parts);
    return parts.front() == "columns" ? header(parts) : constant(parts);
  }

  Status finish() const {
    if (columns_.empty())
      return refuse("expected a line that begins with \"columns,\", found none");
    return {};
  }

 private:
  tl::unexpected<Error> refuse(const std::string& why) const {
    return invalid(fmt::format("{}:{}: {}", name_, number_, why));
  }

  Status set(const Field& field, Row& row, std::string_view value) const {
    if (!field.set(row, value)) {
      return refuse(fmt::format("{}: \"{}\" is not a value of it", field.name, value));
    }
    return {};
  }

  Status constant(const std::vector<std::string_view>& parts) {
    const Field* field = field_of(parts.front());
    if (field == nullptr) return refuse(fmt::format("unknown name \"{}\"", parts.front()));
    if (parts.size() != 2) {
      return refuse(fmt::format("{}: expected one value, found {}", field->name, parts.size() - 1));
    }
    known_.push_back(field->name);
    return set(*field, common_, parts[1]);
  }

  Status header(const std::vector<std::string_view>& parts) {
    for (std::size_t i = 1; i < parts.size(); ++i) {
      const Field* field = field_of(parts[i]);
      if (field == nullptr) return refuse(fmt::format("unknown column \"{}\"", parts[i]));
      for (std::string_view name : known_) {
        if (name == field->name) return refuse(fmt::format("column \"{}\" is given twice", name));
      }
      columns_.push_back(field);
      known_.push_back(field->name);
    }
    if (!common_.family && !common_.is_chip) return refuse("expected a line \"family,…\" above");
    for (std::string_view name : required(common_)) {
      if (std::find(known_.begin(), known_.end(), name) == known_.end()) {
        return refuse(fmt::format("column \"{}\" is missing", name));
      }
    }
    return {};
  }

  Status row(const std::vector<std::string_view>& parts) {
    if (parts.size() != columns_.size()) {
      return refuse(fmt::format("expected {} values, found {}", columns_.size(), parts.size()));
    }
    Row row = common_;
    for (std::size_t i = 0; i < parts.size(); ++i) TRY(set(*columns_[i], row, parts[i]));
    if (row.is_chip) {
      chips_.push_back(std::move(row.chip));
    } else {
      row.measurement.family = *row.family;
      rows_.push_back(std::move(row.measurement));
    }
    return {};
  }

  const std::string& name_;
  std::vector<Measurement>& rows_;
  std::vector<MeasuredChip>& chips_;
  int number_ = 0;
  Row common_;
  std::vector<std::string_view> known_;
  std::vector<const Field*> columns_;
};

}  // namespace

Status read_table(std::string_view text, const std::string& name, std::vector<Measurement>& rows,
                  std::vector<MeasuredChip>& chips) {
  Reader reader(name, rows, chips);
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    TRY(reader.line(text.substr(0, end)));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return reader.finish();
}

}  // namespace narrows
