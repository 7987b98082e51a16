// SPDX-License-Identifier: Apache-2.0
#include "store/profile_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "store/op_text.h"

namespace narrows {
namespace {

// What all rows of one op come to.
struct Sum {
  std::vector<double> times;  // us, as p10 and p90
  double p10 = 0;
  double p90 = 0;
  std::int64_t samples = 0;
};

using Table = std::map<OpText, Sum>;

void add(Table& table, const OpText& op, Seconds time, const Spread& spread) {
  Sum& sum = table[op];
  sum.times.push_back(time / us);
  if (spread.p10 > Seconds()) {
    sum.p10 = sum.p10 > 0 ? std::min(sum.p10, spread.p10 / us) : spread.p10 / us;
    sum.p90 = std::max(sum.p90, spread.p90 / us);
  }
  sum.samples += spread.samples;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

// Six digits: finer than any clock, and short.
std::string number_or_nothing(double value) {
  return value > 0 ? fmt::format("{:.6g}", value) : "";
}

// A value on one line, so that it reads back.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return text;
}

void add_head(std::string& out, const Machine& machine) {
  const auto line = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) out += fmt::format("# {}: {}\n", key, one_line(value));
  };
  const auto clock = [](Frequency rate) {
    return rate > Frequency() ? fmt::format("{} MHz", rate / MHz) : std::string();
  };
  out += "# narrows profile\n";
  line("device", machine.device);
  line("chip", machine.chip);
  line("clock", clock(machine.clock));
  line("memory clock", clock(machine.memory_clock));
  line("driver", machine.driver);
  line("libraries", machine.libraries);
}

void add_table(std::string& out, const Table& table) {
  out += "op,direction,recipe,shape,us,us_p10,us_p90,samples\n";
  for (const auto& [op, sum] : table) {
    out += fmt::format("{},{},{},{},{:.6g},{},{},{}\n", op.op, op.direction, op.recipe, op.shape,
                       median(sum.times), number_or_nothing(sum.p10), number_or_nothing(sum.p90),
                       sum.samples > 0 ? fmt::format("{}", sum.samples) : "");
  }
}

}  // namespace

Result<std::string> profile_text(const Store& store, std::string_view chip) {
  const std::vector<Batch> batches = TRY(store.batches(chip));
  std::string out;
  for (std::size_t i = 0; i < batches.size();) {
    const Machine& machine = batches[i].machine;
    Table table;
    for (; i < batches.size() && batches[i].machine == machine; ++i) {
      for (const KernelObservation& row : batches[i].kernels)
        add(table, op_text(row.what), row.what.time, row.spread);
      for (const LinkObservation& row : batches[i].links)
        add(table, op_text(row.what), row.what.time, row.spread);
    }
    if (table.empty()) continue;
    if (!out.empty()) out += "\n";
    add_head(out, machine);
    add_table(out, table);
  }
  if (out.empty()) {
    return not_found(chip.empty() ? std::string("the store holds no measurements")
                                  : fmt::format("the store holds no measurements of {}", chip));
  }
  return out;
}

}  // namespace narrows
