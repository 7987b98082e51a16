// SPDX-License-Identifier: Apache-2.0
#include "store/timing_words.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <span>
#include <utility>

#include "store/lines.h"

namespace narrows {
namespace {

using Name = std::pair<std::string_view, std::string_view>;

std::string_view renamed(std::string_view name, std::span<const Name> names) {
  for (const Name& known : names) {
    if (known.first == name) return known.second;
  }
  return name;
}

// Other words in use for the same op, direction, recipe or extent.
constexpr std::array<Name, 14> kOps{{{"gemm", "matmul"},
                                     {"grouped_matmul", "matmul"},
                                     {"grouped-matmul", "matmul"},
                                     {"rms_norm", "norm"},
                                     {"swiglu", "activation"},
                                     {"add", "elementwise"},
                                     {"cast", "elementwise"},
                                     {"gather_rows", "permute"},
                                     {"cross_entropy", "loss"},
                                     {"adamw", "optimizer"},
                                     {"all_reduce", "all-reduce"},
                                     {"all_gather", "all-gather"},
                                     {"reduce_scatter", "reduce-scatter"},
                                     {"all_to_all", "all-to-all"}}};
constexpr std::array<Name, 7> kDirections{{{"", "forward"},
                                           {"fwd", "forward"},
                                           {"dgrad", "input-grad"},
                                           {"bwd", "input-grad"},
                                           {"backward", "input-grad"},
                                           {"wgrad", "weight-grad"},
                                           {"step", "forward"}}};
constexpr std::array<Name, 6> kRecipes{{{"bfloat16", "bf16"},
                                        {"float16", "fp16"},
                                        {"half", "fp16"},
                                        {"float32", "f32"},
                                        {"fp32", "f32"},
                                        {"f32->bf16", "bf16"}}};
constexpr std::array<Name, 4> kExtents{
    {{"dqk", "qk_dim"}, {"dv", "v_dim"}, {"kv", "kv_heads"}, {"rows", "m"}}};
// Columns that are parts of the shape.
constexpr std::array<std::string_view, 16> kShapeColumns{
    "m",    "n",      "k",     "groups", "batch",  "heads", "kv_heads", "seq",
    "keys", "qk_dim", "v_dim", "causal", "window", "ranks", "per_node", "method"};

bool is_collective(std::string_view op) {
  for (const std::string_view name : {"all-reduce", "all-gather", "reduce-scatter", "dispatch",
                                      "combine", "all-to-all", "send", "broadcast"}) {
    if (op == name) return true;
  }
  return false;
}

// The parts of a shape in the order of their coming; the store's own order is put on when they are
// written.
struct Shape {
  std::vector<std::pair<std::string, std::string>> parts;

  void add(std::string_view key, std::string_view value) {
    if (!value.empty()) parts.emplace_back(key, value);
  }
  // "" if it is not there.
  std::string_view operator[](std::string_view key) const {
    for (const auto& [name, value] : parts) {
      if (name == key) return value;
    }
    return {};
  }
  bool has(std::string_view key) const { return !(*this)[key].empty(); }
};

// Whether the FLOPs that a row gives for an attention are those of a causal one. A forward pass has
// 2 b h s² (qk + v) of them, half if causal; a backward pass 2.5 times that.
std::optional<bool> causal_of(const Shape& shape, bool forward, std::string_view flops) {
  const auto extent = [&](const char* key) { return number_in(shape[key]).value_or(0); };
  const std::optional<double> given = number_in(flops);
  const double whole = 2 * extent("batch") * extent("heads") * extent("seq") * extent("seq") *
                       (extent("qk_dim") + extent("v_dim")) * (forward ? 1 : 2.5);
  if (!given || !(whole > 0)) return std::nullopt;
  const double share = *given / whole;
  if (share > 0.99 && share < 1.01) return false;
  if (share > 0.495 && share < 0.505) return true;
  return std::nullopt;
}

// "m=4096;n=2112": of an op that only moves bytes its extents say nothing.
void add_shape_column(std::string_view text, bool moves, Shape& shape) {
  for (const std::string_view part : fields_of(text, ';')) {
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) {
      if (!part.empty()) shape.parts.emplace_back(part, "");
      continue;
    }
    const std::string_view key = part.substr(0, equals);
    const std::string_view value = part.substr(equals + 1);
    const bool extent_only =
        moves && (key == "rows" || key == "cols" || key == "vocab" || key == "numel");
    if (extent_only || (key == "uneven" && value == "0")) continue;
    shape.add(renamed(key, kExtents), value);
  }
}

}  // namespace

TimingRow::TimingRow(const std::vector<std::string>& columns, std::vector<std::string_view> fields)
    : columns_(columns), fields_(std::move(fields)) {}

std::string_view TimingRow::operator[](std::string_view column) const {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i] == column) return trimmed(fields_[i]);
  }
  return {};
}

std::string_view TimingRow::either(std::string_view first, std::string_view second) const {
  const std::string_view value = (*this)[first];
  return value.empty() ? (*this)[second] : value;
}

TimingWords words_of_row(const TimingRow& row) {
  TimingWords words;
  words.op = renamed(row["op"], kOps);
  const bool link = is_collective(words.op);
  words.direction = link ? "" : renamed(row["direction"], kDirections);
  const std::string_view recipe = row.either("recipe", "dtype");
  words.recipe = link ? recipe : renamed(recipe, kRecipes);
  const bool moves = words.op != "matmul" && words.op != "attention" && !link;
  Shape shape;
  add_shape_column(row["shape"], moves, shape);
  for (const std::string_view column : kShapeColumns) shape.add(column, row[column]);
  if ((moves || link) && !shape.has("bytes")) shape.add("bytes", row["bytes"]);
  if (words.op == "attention" && !shape.has("causal")) {
    const auto causal = causal_of(shape, words.direction == "forward", row["flops"]);
    if (causal) shape.add("causal", *causal ? "1" : "0");
  }
  for (const auto& [key, value] : shape.parts)
    words.shape += fmt::format("{}{}={}", words.shape.empty() ? "" : ";", key, value);
  return words;
}

}  // namespace narrows
