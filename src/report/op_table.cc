// SPDX-License-Identifier: Apache-2.0
#include "report/op_table.h"

#include <fmt/format.h>

#include "report/text_table.h"

namespace narrows {
namespace {

constexpr double kLeastShare = 1e-3;

double seconds_of(const OpTotal& total) { return to_seconds(total.time) / sec; }

double seconds_of(const std::vector<OpTotal>& totals) {
  double sum = 0;
  for (const OpTotal& total : totals) sum += seconds_of(total);
  return sum;
}

// FLOP/s, 0 where it does not multiply.
double rate_of(const OpTotal& total) {
  const double seconds = seconds_of(total);
  return seconds > 0 ? total.label.flops_a_row * total.rows / seconds : 0;
}

double runs_of(const OpTotal& total, double times) {
  return static_cast<double>(total.runs) / times;
}

}  // namespace

std::string op_table(const std::vector<OpTotal>& totals, OpTableScope scope) {
  const double times = static_cast<double>(scope.steps) * scope.ranks;
  const double whole = seconds_of(totals);
  if (whole <= 0) return "";
  TextTable table("llllrrrr");
  table.row({"op", "", "n x k", "format", "runs", "ms", "share", "GFLOP/s"});
  double rest = 0;
  for (const OpTotal& total : totals) {
    const double seconds = seconds_of(total);
    if (seconds < kLeastShare * whole) {
      rest += seconds;
      continue;
    }
    const OpLabel& l = total.label;
    const double rate = rate_of(total);
    table.row({l.block.empty() ? l.name : l.block + ": " + l.name, l.direction, l.shape,
               rate > 0 ? l.format : "", fmt::format("{:.0f}", runs_of(total, times)),
               fmt::format("{:.2f}", seconds / times * 1e3), percent_text(seconds / whole),
               rate > 0 ? fmt::format("{:.0f}", rate / 1e9) : ""});
  }
  if (rest > 0) {
    table.row({"the rest", "", "", "", "", fmt::format("{:.2f}", rest / times * 1e3),
               percent_text(rest / whole), ""});
  }
  table.row({"all", "", "", "", "", fmt::format("{:.2f}", whole / times * 1e3), "", ""});
  return "\nWhere a step's time goes, on average over ranks (F forward, R forward again, I input "
         "gradient, W weight gradient):\n" +
         table.text();
}

Json op_table_json(const std::vector<OpTotal>& totals, OpTableScope scope) {
  const double times = static_cast<double>(scope.steps) * scope.ranks;
  const double whole = seconds_of(totals);
  Json list = Json::array();
  for (const OpTotal& total : totals) {
    Json line = Json::object();
    line.set("op", total.label.name);
    line.set("block", total.label.block);
    line.set("direction", total.label.direction);
    line.set("kind", total.label.kind);
    line.set("shape", total.label.shape);
    line.set("format", total.label.format);
    line.set("runs", runs_of(total, times));
    line.set("seconds", seconds_of(total) / times);
    line.set("share", whole > 0 ? seconds_of(total) / whole : 0);
    line.set("flops", rate_of(total));
    list.push(std::move(line));
  }
  return list;
}

}  // namespace narrows
