// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <span>
#include <utility>

#include "base/text.h"
#include "store/device_names.h"
#include "store/foreign_logs.h"
#include "store/lines.h"
#include "store/op_text.h"

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

// One row's fields by column name; a missing one is "".
class Row {
 public:
  Row(const std::vector<std::string>& columns, std::vector<std::string_view> fields)
      : columns_(columns), fields_(std::move(fields)) {}
  std::string_view operator[](std::string_view column) const {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i] == column) return trimmed(fields_[i]);
    }
    return {};
  }
  std::string_view either(std::string_view first, std::string_view second) const {
    const std::string_view value = (*this)[first];
    return value.empty() ? (*this)[second] : value;
  }

 private:
  const std::vector<std::string>& columns_;
  std::vector<std::string_view> fields_;
};

// What the op is, in the store's words. Empty `shape` parts are left out.
struct Words {
  std::string op, direction, recipe, shape;
};

// Whether the FLOPs that a row gives for an attention are those of a causal one. A forward pass has
// 2 b h s² (qk + v) of them, half if causal; a backward pass 2.5 times that.
std::optional<bool> causal_of(const std::map<std::string, std::string>& shape, bool forward,
                              std::string_view flops) {
  const auto extent = [&](const char* key) {
    const auto found = shape.find(key);
    return found == shape.end() ? 0.0 : number_in(found->second).value_or(0);
  };
  const std::optional<double> given = number_in(flops);
  const double whole = 2 * extent("batch") * extent("heads") * extent("seq") * extent("seq") *
                       (extent("qk_dim") + extent("v_dim")) * (forward ? 1 : 2.5);
  if (!given || !(whole > 0)) return std::nullopt;
  const double share = *given / whole;
  if (share > 0.99 && share < 1.01) return false;
  if (share > 0.495 && share < 0.505) return true;
  return std::nullopt;
}

Words words_of_row(const Row& row) {
  Words words;
  const std::string_view op = row["op"];
  words.op = renamed(op, kOps);
  const bool link = is_collective(words.op);
  words.direction = link ? "" : renamed(row["direction"], kDirections);
  const std::string_view recipe = row.either("recipe", "dtype");
  words.recipe = link ? recipe : renamed(recipe, kRecipes);
  // In the order of their coming; the store's own order is put on when they are written.
  std::vector<std::pair<std::string, std::string>> parts;
  std::map<std::string, std::string> by_name;
  const auto add = [&](std::string_view key, std::string_view value) {
    if (value.empty()) return;
    parts.emplace_back(key, value);
    by_name.emplace(key, value);
  };
  const bool moves = words.op != "matmul" && words.op != "attention" && !link;
  for (const std::string_view part : fields_of(row["shape"], ';')) {
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) {
      if (!part.empty()) parts.emplace_back(part, "");
      continue;
    }
    const std::string_view key = part.substr(0, equals);
    const std::string_view value = part.substr(equals + 1);
    const bool extent_only =
        moves && (key == "rows" || key == "cols" || key == "vocab" || key == "numel");
    if (extent_only || (key == "uneven" && value == "0")) continue;
    add(renamed(key, kExtents), value);
  }
  for (const std::string_view column : kShapeColumns) add(column, row[column]);
  if ((moves || link) && by_name.count("bytes") == 0) add("bytes", row["bytes"]);
  if (words.op == "attention" && by_name.count("causal") == 0) {
    const auto causal = causal_of(by_name, words.direction == "forward", row["flops"]);
    if (causal) add("causal", *causal ? "1" : "0");
  }
  for (const auto& [key, value] : parts)
    words.shape += fmt::format("{}{}={}", words.shape.empty() ? "" : ";", key, value);
  return words;
}

class Reader {
 public:
  Reader(const std::string& name, const ImportHints& hints) : name_(name), hints_(hints) {
    start_section();
  }

  Status line(std::string_view text) {
    ++number_;
    if (text.find_first_not_of(" \t,") == std::string_view::npos) return {};
    if (text.front() == '#') return comment(trimmed(text.substr(1)));
    const std::vector<std::string_view> fields = fields_of(text, ',');
    if (columns_.empty()) return header(fields);
    return row(fields);
  }

  Result<std::vector<Batch>> finish() {
    if (columns_.empty()) return refuse("expected a line that names the columns, found none");
    std::vector<Batch> batches;
    for (auto& [key, batch] : batches_) {
      for (const auto& [why, count] : key == batches_.begin()->first ? unread_ : Counts{})
        batch.unread.push_back({why, count, Seconds()});
      batches.push_back(std::move(batch));
    }
    if (batches.empty()) return refuse("expected rows with times, found none");
    return batches;
  }

 private:
  using Counts = std::map<std::string, std::int64_t>;

  tl::unexpected<Error> refuse(const std::string& why) const {
    return invalid(fmt::format("{}:{}: {}", name_, number_, why));
  }

  void start_section() {
    machine_ = {};
    machine_.chip = hints_.chip;
    columns_.clear();
    ++section_;
  }

  Status clock(std::string_view key, std::string_view value, Frequency& out) {
    const Result<Frequency> rate = parse_frequency(value);
    if (!rate) return refuse(fmt::format("{}: {}", key, rate.error().message));
    out = *rate;
    return {};
  }

  // "# key: value" of a profile; or the line of a table whose first words are the device:
  // "# NVIDIA H100 80GB HBM3; torch 2.11; …".
  Status comment(std::string_view text) {
    if (text.starts_with("narrows profile")) {
      start_section();
      return {};
    }
    const std::size_t colon = text.find(": ");
    const std::string_view key = text.substr(0, std::min(colon, text.size()));
    const std::string_view value =
        colon == std::string_view::npos ? std::string_view() : trimmed(text.substr(colon + 2));
    if (key == "device") machine_.device = value;
    if (key == "driver") machine_.driver = value;
    if (key == "libraries") machine_.libraries = value;
    if (key == "clock") TRY(clock(key, value, machine_.clock));
    if (key == "memory clock") TRY(clock(key, value, machine_.memory_clock));
    if (key == "chip") TRY(set_chip(std::string(value)));
    const std::string_view first = trimmed(text.substr(0, std::min(text.find(';'), text.size())));
    if (machine_.device.empty() && !chip_of_device(first).empty()) {
      machine_.device = first;
      const std::vector<std::string_view> parts = fields_of(text, ';');
      for (std::size_t i = 1; i < parts.size(); ++i) {
        const std::string_view part = trimmed(parts[i]);
        if (part.starts_with("torch ") || part.starts_with("cuda "))
          machine_.libraries += fmt::format("{}{}", machine_.libraries.empty() ? "" : ", ", part);
      }
    }
    if (machine_.chip.empty()) machine_.chip = chip_of_device(machine_.device);
    return {};
  }

  Status set_chip(const std::string& chip) {
    if (!hints_.chip.empty() && hints_.chip != chip)
      return refuse(fmt::format("--chip {}: the file says {}", hints_.chip, chip));
    machine_.chip = chip;
    return {};
  }

  Status header(const std::vector<std::string_view>& fields) {
    for (const std::string_view field : fields) {
      std::string column(trimmed(field));
      if (std::find(columns_.begin(), columns_.end(), column) != columns_.end())
        return refuse(fmt::format("column \"{}\" is given twice", column));
      columns_.push_back(std::move(column));
    }
    const auto has = [&](std::string_view name) {
      return std::find(columns_.begin(), columns_.end(), name) != columns_.end();
    };
    if (!has("op")) return refuse("expected a column \"op\", found none");
    if (!has("us") && !has("us_median"))
      return refuse("expected a column \"us\" (or \"us_median\"), found none");
    return {};
  }

  // A time in microseconds; nothing where the field is empty.
  Result<std::optional<double>> time(std::string_view column, std::string_view text) const {
    if (text.empty()) return std::nullopt;
    const std::optional<double> value = number_in(text);
    if (!value || *value < 0 || *value > 1e13)
      return refuse(fmt::format("{}: expected microseconds, found \"{}\"", column, text));
    return value;
  }

  Status row(const std::vector<std::string_view>& fields) {
    if (fields.size() < columns_.size())
      return refuse(fmt::format("expected {} values, found {}", columns_.size(), fields.size()));
    const Row row(columns_, fields);
    const std::optional<double> median = TRY(time("us", row.either("us", "us_median")));
    if (!median || *median <= 0) {
      ++unread_[fmt::format("{} without a time", row["op"])];
      return {};
    }
    const Words words = words_of_row(row);
    if (words.shape.find("uneven=1") != std::string::npos) {
      ++unread_[fmt::format("{} of uneven groups", row["op"])];
      return {};
    }
    const Result<AnyOp> op = read_op(words.op, words.direction, words.recipe, words.shape);
    if (!op && known_recipe(words)) return refuse(op.error().message);
    if (!op) {
      ++unread_[fmt::format("{} in {}", row["op"], words.recipe)];
      return {};
    }
    const Spread spread{
        TRY(time("us_p10", row["us_p10"])).value_or(0) * us,
        TRY(time("us_p90", row["us_p90"])).value_or(0) * us,
        static_cast<int>(std::clamp(number_in(row["samples"]).value_or(0), 0.0, 1e9))};
    Batch& batch = TRY(batch_of(row));
    if (const auto* link = std::get_if<LinkMeasurement>(&*op)) {
      batch.links.push_back({*link, spread});
      batch.links.back().what.time = *median * us;
    } else {
      batch.kernels.push_back({std::get<Measurement>(*op), spread, std::string(row["kernel"])});
      batch.kernels.back().what.time = *median * us;
    }
    return {};
  }

  // A row in a format that narrows has no name for is left out and counted; any other fault refuses
  // the file.
  static bool known_recipe(const Words& words) {
    return words.direction.empty() || recipe_of(words.recipe).has_value();
  }

  // A table may hold several chips, each with its own batch.
  Result<std::reference_wrapper<Batch>> batch_of(const Row& row) {
    Machine machine = machine_;
    const std::string chip(row["chip"]);
    if (!chip.empty()) {
      if (!hints_.chip.empty() && hints_.chip != chip)
        return refuse(fmt::format("--chip {}: the row says {}", hints_.chip, chip));
      machine.chip = chip;
    }
    Batch& batch = batches_[{section_, chip}];
    batch.machine = std::move(machine);
    batch.origin.kind = "timings";
    batch.origin.part = section_ > 1 ? fmt::format("{}", section_) : "";
    return batch;
  }

  const std::string& name_;
  const ImportHints& hints_;
  int number_ = 0;
  int section_ = 0;
  Machine machine_;
  std::vector<std::string> columns_;
  Counts unread_;
  std::map<std::pair<int, std::string>, Batch> batches_;
};

}  // namespace

Result<std::vector<Batch>> read_timings(std::string_view text, const std::string& name,
                                        const ImportHints& hints) {
  Reader reader(name, hints);
  std::string_view line;
  while (next_line(text, line)) TRY(reader.line(line));
  return reader.finish();
}

}  // namespace narrows
