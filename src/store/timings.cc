// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "base/text.h"
#include "store/device_names.h"
#include "store/foreign_logs.h"
#include "store/lines.h"
#include "store/op_text.h"
#include "store/timing_words.h"

namespace narrows {
namespace {

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
    const TimingRow row(columns_, fields);
    const std::optional<double> median = TRY(time("us", row.either("us", "us_median")));
    if (!median || *median <= 0) {
      ++unread_[fmt::format("{} without a time", row["op"])];
      return {};
    }
    const TimingWords words = words_of_row(row);
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
  static bool known_recipe(const TimingWords& words) {
    return words.direction.empty() || recipe_of(words.recipe).has_value();
  }

  // A table may hold several chips, each with its own batch.
  Result<std::reference_wrapper<Batch>> batch_of(const TimingRow& row) {
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
  return read_lines(text, Reader(name, hints));
}

}  // namespace narrows
