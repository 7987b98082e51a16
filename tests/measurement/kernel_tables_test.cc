// SPDX-License-Identifier: Apache-2.0
#include "measurement/kernel_tables.h"

#include <catch2/catch.hpp>

namespace narrows {
namespace {

const char* const kChips =
    "family,chip\ncolumns,chip,architecture,bf16,fp8,fp4,gbps,multiprocessors\n"
    "h100-sxm5,hopper,989.4,1978.9,0,3350,132\n";

// The message of a table that is refused, "" if it is taken.
std::string refusal(const std::string& text) {
  const Result<KernelTables> tables = KernelTables::read({{"chips.csv", kChips}, {"t.csv", text}});
  return tables ? "" : tables.error().message;
}

std::string matmul(const std::string& columns, const std::string& row) {
  return "# "
         "prose\nfamily,matmul\nchip,h100-sxm5\nsource,S-X\nrecipe,bf16\ndirection,"
         "forward\ncolumns," +
         columns + "\n" + row + "\n";
}

TEST_CASE("kernel tables: constants and columns make a row") {
  const Result<KernelTables> tables = KernelTables::read(
      {{"t.csv", matmul("groups,m,n,k,us", "4,32768,4096,7168,1430.5")}, {"c", kChips}});
  REQUIRE(tables.has_value());
  const std::span<const Measurement> rows = tables->rows(KernelFamily::Matmul, "h100-sxm5");
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].matmul == MatmulShape{exactly(32768), 4096, 7168, 4});
  CHECK(rows[0].time / us == 1430.5);
  CHECK(rows[0].source == "S-X");
  CHECK(rows[0].direction == Direction::Forward);
  CHECK(tables->rows(KernelFamily::Attention).empty());
  CHECK(tables->rows(KernelFamily::Matmul, "h100").empty());
}

TEST_CASE("kernel tables: a bad row is refused with file and line") {
  CHECK(refusal(matmul("m,n,k,us", "1,2,3")) == "t.csv:8: expected 4 values, found 3");
  CHECK(refusal(matmul("m,n,k,us", "1,2,3,x")) == "t.csv:8: us: \"x\" is not a value of it");
  CHECK(refusal(matmul("m,n,k,us", "1,2,3,-4")) == "t.csv:8: us: \"-4\" is not a value of it");
  CHECK(refusal(matmul("m,n,k,us", "1,2,3,nan")) == "t.csv:8: us: \"nan\" is not a value of it");
  CHECK(refusal(matmul("m,n,k,us", "1,2.5,3,4")) == "t.csv:8: n: \"2.5\" is not a value of it");
  CHECK(refusal(matmul("m,n,k,us", "1,2,0,4")) == "t.csv:8: k: \"0\" is not a value of it");
  CHECK(refusal(matmul("m,n,k,us", "1,2,3,4 ")) == "t.csv:8: us: \"4 \" is not a value of it");
  CHECK(refusal(matmul("m,n,k,us,recipe", "1,2,3,4,bf17")) ==
        "t.csv:7: column \"recipe\" is given twice");
}

TEST_CASE("kernel tables: a bad header is refused with file and line") {
  CHECK(refusal(matmul("m,n,us", "1,2,3")) == "t.csv:7: column \"k\" is missing");
  CHECK(refusal(matmul("m,n,k,ms", "1,2,3,4")) == "t.csv:7: unknown column \"ms\"");
  CHECK(refusal("familie,matmul\n") == "t.csv:1: unknown name \"familie\"");
  CHECK(refusal("family,matmuls\n") == "t.csv:1: family: \"matmuls\" is not a value of it");
  CHECK(refusal("columns,m\n") == "t.csv:1: expected a line \"family,…\" above");
  CHECK(refusal("family,matmul\n") ==
        "t.csv:1: expected a line that begins with \"columns,\", found none");
  CHECK(refusal("family,matmul\nchip,a,b\n") == "t.csv:2: chip: expected one value, found 2");
  CHECK(refusal("family,matmul\nrecipe,int8\n") ==
        "t.csv:2: recipe: \"int8\" is not a value of it");
}

TEST_CASE("kernel tables: rows of a chip without rated peaks are refused") {
  const Result<KernelTables> tables =
      KernelTables::read({{"t.csv", matmul("m,n,k,us", "1,2,3,4")}});
  REQUIRE_FALSE(tables.has_value());
  CHECK(tables.error().message ==
        "kernel tables: chip \"h100-sxm5\" has rows but no rated peaks (family chip)");
}

TEST_CASE("kernel tables: the published ones are whole and physical") {
  const Result<KernelTables> tables = KernelTables::published();
  if (!tables) FAIL(tables.error().message);
  CHECK(tables->rows(KernelFamily::Matmul).size() == 9725);
  CHECK(tables->rows(KernelFamily::Attention).size() == 302);
  CHECK(tables->rows(KernelFamily::Memory).size() == 76);
  CHECK(tables->rows(KernelFamily::Matmul, "h800-sxm5").size() == 69);
  for (const Measurement& row : tables->rows(KernelFamily::Matmul)) {
    const MeasuredChip& chip = *tables->chip(row.chip);
    const FlopRate peak = row.recipe == Recipe::Bf16    ? chip.bf16
                          : row.recipe == Recipe::Nvfp4 ? chip.fp4
                                                        : chip.fp8;
    const double flops =
        2 * row.matmul.m.expected * static_cast<double>(row.matmul.n * row.matmul.k);
    INFO(row.chip << " " << row.matmul.m.expected << " " << row.matmul.n << " " << row.matmul.k);
    CHECK(flops * flop / row.time < peak);
  }
  for (const Measurement& row : tables->rows(KernelFamily::Memory)) {
    CHECK(row.traffic / row.time < tables->chip(row.chip)->bandwidth);
  }
}

TEST_CASE("kernel tables: a user's own rows replace the published ones of their kind, no others") {
  const Result<KernelTables> published = KernelTables::published();
  REQUIRE(published.has_value());
  Chip chip;
  chip.name = "h800-sxm5";
  Measurement own;
  own.chip = chip.name;
  own.source = "store";
  own.recipe = Recipe::Fp8Block;
  own.matmul = {exactly(4096), 2112, 7168, 1};
  own.time = 99 * us;
  const Result<KernelTables> tables = published->preferring({own}, chip);
  REQUIRE(tables.has_value());
  const auto replaced = [&](const Measurement& row) {
    return row.chip == own.chip && row.recipe == own.recipe && row.direction == own.direction &&
           row.matmul.groups == 1 && !row.grid;
  };
  std::size_t kept = 0;
  for (const Measurement& row : published->rows(KernelFamily::Matmul)) kept += !replaced(row);
  CHECK(kept < published->rows(KernelFamily::Matmul).size());
  CHECK(tables->rows(KernelFamily::Matmul).size() == kept + 1);
  CHECK(tables->rows(KernelFamily::Attention).size() ==
        published->rows(KernelFamily::Attention).size());
  CHECK(tables->rows(KernelFamily::Matmul, "h100-sxm5").size() ==
        published->rows(KernelFamily::Matmul, "h100-sxm5").size());
  for (const Measurement& row : tables->rows(KernelFamily::Matmul)) {
    if (replaced(row)) CHECK(row.source == "store");
  }
}

TEST_CASE("kernel tables: rows of a chip that nobody measured bring its rated figures along") {
  const Result<KernelTables> tables = KernelTables::read({{"chips.csv", kChips}});
  REQUIRE(tables.has_value());
  Chip chip;
  chip.name = "mine";
  chip.architecture = "hopper";
  chip.peak["bf16"].value = 100 * TFLOP / sec;
  chip.memory_bandwidth.value = 1 * TB / sec;
  Measurement own;
  own.chip = "mine";
  own.time = 1 * us;
  CHECK(tables->preferring({own}, chip).error().code == ErrorCode::Unsupported);
  chip.multiprocessors = Figure<double>{64, "", "", ""};
  const Result<KernelTables> with = tables->preferring({own}, chip);
  REQUIRE(with.has_value());
  REQUIRE(with->chip("mine") != nullptr);
  CHECK(with->chip("mine")->bf16 == 100 * TFLOP / sec);
  CHECK(with->chip("mine")->multiprocessors == 64);
  own.chip = "another";
  CHECK(!tables->preferring({own}, chip).has_value());
}

}  // namespace
}  // namespace narrows
