// Leave-one-out residuals of every table: rows are taken out of the text, the rest is read, and
// what it says about them is compared with what they said. Grids lose a whole (n, k) at a time,
// other tables one row.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "cost/kernel_time.h"
#include "cost/kernel_time_fixture.h"
#include "measurement/table_text.h"

namespace narrows {
namespace embedded {
std::vector<EmbeddedFile> kernels();
}

namespace {

struct Case {
  std::string file;                 // rows are left out of this one
  std::vector<std::string> others;  // tables read besides
  double median;                    // the bound
  std::string generation;
};

struct Residuals {
  std::vector<double> values;
  double at(double share) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    return values[std::min(values.size() - 1,
                           static_cast<std::size_t>(share * static_cast<double>(values.size())))];
  }
};

class Tables {
 public:
  Tables() : files_(embedded::kernels()) {}

  const std::string& text(const std::string& name) const {
    for (const EmbeddedFile& file : files_) {
      if (file.path == "hwprofiles/kernels/" + name) return file.content;
    }
    FAIL("no table " << name);
    return files_[0].content;
  }

  KernelTables with(const Case& what, const std::string& text_of_file) const {
    std::vector<EmbeddedFile> files{{"chips.csv", text("chips.csv")}, {what.file, text_of_file}};
    for (const std::string& other : what.others) files.push_back({other, text(other)});
    Result<KernelTables> tables = KernelTables::read(files);
    if (!tables) FAIL(tables.error().message);
    return std::move(*tables);
  }

 private:
  std::vector<EmbeddedFile> files_;
};

std::vector<Measurement> rows_of(const std::string& text) {
  std::vector<Measurement> rows;
  std::vector<MeasuredChip> chips;
  REQUIRE(read_table(text, "t", rows, chips).has_value());
  return rows;
}

// The text without the rows (counted from 0) that are named.
std::string without(const std::string& text, const std::function<bool(std::size_t)>& out) {
  std::string kept;
  bool data = false;
  std::size_t row = 0;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size() - 1) + 1;
    const std::string line = text.substr(start, end - start);
    if (!data || !out(row)) kept += line;
    if (data) ++row;
    if (line.rfind("columns,", 0) == 0) data = true;
    start = end;
  }
  return kept;
}

Seconds time_of(const KernelTimes& times, const Measurement& row) {
  return row.family == KernelFamily::Matmul
             ? times.matmul(row.recipe, row.direction, row.matmul).time
             : times.attention(row.recipe, row.direction, row.attention).time;
}

// Rows that are left out together with row i.
bool together(const Measurement& a, const Measurement& b) {
  if (a.family == KernelFamily::Attention)
    return a.attention == b.attention && a.direction == b.direction;
  const bool pair =
      a.matmul.n == b.matmul.n && a.matmul.k == b.matmul.k && a.direction == b.direction;
  return a.grid ? pair : pair && a.matmul == b.matmul;
}

Residuals residuals(const Tables& tables, const Case& what) {
  const std::string& text = tables.text(what.file);
  const std::vector<Measurement> rows = rows_of(text);
  const KernelTables whole = tables.with(what, text);
  std::vector<bool> done(rows.size(), false);
  Residuals result;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (done[i]) continue;
    const KernelTables rest =
        tables.with(what, without(text, [&](std::size_t j) { return together(rows[i], rows[j]); }));
    const Chip chip = measured_chip(whole, rows[i].chip);
    const KernelTimes with(whole, chip, what.generation);
    const KernelTimes left(rest, chip, what.generation);
    for (std::size_t j = i; j < rows.size(); ++j) {
      if (!together(rows[i], rows[j]) || rows[j].chip != rows[i].chip) continue;
      done[j] = true;
      if (rows[j].grid && rows[j].matmul.m.expected < 512) continue;
      const double ratio = time_of(left, rows[j]) / time_of(with, rows[j]);
      result.values.push_back(ratio < 1 ? 1 / ratio - 1 : ratio - 1);
    }
  }
  return result;
}

const std::vector<Case> kCases{
    {"matmul-bf16-a100-sxm4-80gb.csv", {}, 0.045, ""},
    {"matmul-bf16-h100-sxm5.csv", {}, 0.03, ""},
    {"matmul-bf16-h200-sxm.csv", {}, 0.055, ""},
    {"matmul-bf16-b200.csv", {}, 0.04, ""},
    {"matmul-bf16-b300.csv", {}, 0.045, ""},
    {"matmul-bf16-gb200.csv", {}, 0.05, ""},
    {"matmul-bf16-gb300.csv", {}, 0.035, ""},
    {"matmul-bf16-l40s.csv", {}, 0.04, ""},
    {"matmul-fp8-row-h100-sxm5.csv", {}, 0.035, ""},
    {"matmul-fp8-block-h100-sxm5.csv", {}, 0.03, ""},
    {"matmul-fp8-row-b200.csv", {}, 0.05, ""},
    {"matmul-fp8-block-b200.csv", {}, 0.035, ""},
    {"matmul-nvfp4-b200.csv", {}, 0.04, ""},
    {"matmul-fp8-block-gb200.csv", {}, 0.035, ""},
    {"matmul-fp8-block-gb300.csv", {}, 0.025, ""},
    {"matmul-nvfp4-gb300.csv", {}, 0.075, ""},
    {"matmul-deepgemm.csv", {"matmul-fp8-block-h100-sxm5.csv"}, 0.045, ""},
    {"matmul-trace-h800.csv", {"matmul-fp8-block-h100-sxm5.csv"}, 0.055, "dsv3-2024"},
    {"matmul-training-a100-pcie-80gb.csv", {"matmul-bf16-a100-sxm4-80gb.csv"}, 0.015, ""},
    {"matmul-training-b200.csv", {"matmul-bf16-b200.csv"}, 0.045, ""},
    {"grouped-b200.csv", {"matmul-bf16-b200.csv", "matmul-training-b200.csv"}, 0.09, ""},
    {"attention-training.csv", {}, 0.05, ""},
    {"attention-context.csv", {}, 0.02, ""},
};

TEST_CASE("kernel time: leaving rows out, the rest predicts them within the stated medians") {
  const Tables tables;
  for (const Case& what : kCases) {
    Residuals found = residuals(tables, what);
    fmt::print("{:38} {:4} rows  median {:5.1f} %  90th {:5.1f} %\n", what.file,
               found.values.size(), 100 * found.at(0.5), 100 * found.at(0.9));
    INFO(what.file);
    CHECK(found.at(0.5) <= what.median);
  }
}

TEST_CASE("kernel time: the H100's table predicts the H200's") {
  const Tables tables;
  const Case what{"matmul-bf16-h200-sxm.csv", {"matmul-bf16-h100-sxm5.csv"}, 0, ""};
  const KernelTables whole = tables.with(what, tables.text(what.file));
  const KernelTables rest =
      tables.with(what, without(tables.text(what.file), [](std::size_t) { return true; }));
  const Chip chip = measured_chip(whole, "h200-sxm", "h100-sxm5");
  const KernelTimes with(whole, chip);
  const KernelTimes transferred(rest, chip);
  Residuals found;
  for (const Measurement& row : whole.rows(KernelFamily::Matmul, "h200-sxm")) {
    if (row.matmul.m.expected < 512) continue;
    const double ratio = time_of(transferred, row) / time_of(with, row);
    found.values.push_back(ratio < 1 ? 1 / ratio - 1 : ratio - 1);
  }
  fmt::print("H200 from H100: median {:.1f} %, 90th {:.1f} %\n", 100 * found.at(0.5),
             100 * found.at(0.9));
  CHECK(found.at(0.5) <= 0.05);
}

}  // namespace
}  // namespace narrows
