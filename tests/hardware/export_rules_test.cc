// SPDX-License-Identifier: Apache-2.0
#include "hardware/export_rules.h"

#include <catch2/catch.hpp>
#include <map>
#include <sstream>

#include "base/file.h"
#include "base/text.h"
#include "hardware/profile_library.h"

using namespace narrows;

namespace {

const ProfileLibrary& library() {
  static const ProfileLibrary opened = *ProfileLibrary::open({});
  return opened;
}

std::map<std::string, RuleVerdict> verdicts_of(const Chip& chip) {
  std::map<std::string, RuleVerdict> by_rule;
  const std::vector<RuleVerdict> verdicts = *classify(chip, *library().rules());
  for (const RuleVerdict& verdict : verdicts) by_rule[verdict.rule] = verdict;
  return by_rule;
}
std::map<std::string, RuleVerdict> verdicts_of(const std::string& name) {
  return verdicts_of(*library().chip(name));
}

// The rows of export_checks.csv by column name.
std::vector<std::map<std::string, std::string>> checks() {
  std::istringstream file(
      *read_file(std::string(NARROWS_SOURCE_DIR) + "/tests/hardware/export_checks.csv"));
  std::vector<std::string> header;
  std::vector<std::map<std::string, std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) continue;
    std::vector<std::string> cells(1);
    for (const char c : line) {
      if (c == ',') {
        cells.emplace_back();
      } else {
        cells.back() += c;
      }
    }
    if (header.empty()) {
      header = cells;
      continue;
    }
    REQUIRE(cells.size() == header.size());
    rows.emplace_back();
    for (std::size_t i = 0; i < header.size(); ++i) rows.back()[header[i]] = cells[i];
  }
  return rows;
}

}  // namespace

TEST_CASE("export rules: the figures of every chip are those of the published table") {
  CHECK(checks().size() == 73);
  for (const auto& row : checks()) {
    INFO(row.at("chip"));
    const Result<Chip> chip = library().chip(row.at("chip"));
    REQUIRE(chip.has_value());
    CHECK(total_processing_performance(*chip) == Approx(*parse_number(row.at("tpp"))));
    CHECK(*input_output_bandwidth(*chip) / (GB / sec) == Approx(*parse_number(row.at("io"))));
    CHECK(chip->memory_bandwidth.value / (GB / sec) == Approx(*parse_number(row.at("dram"))));
    const std::optional<double> density = performance_density(*chip);
    REQUIRE(density.has_value() == !row.at("density").empty());
    if (density)
      CHECK(*density == Approx(*parse_number(row.at("density"))).margin(0.00501).epsilon(0));
  }
}

TEST_CASE("export rules: the class of every chip is that of the published table") {
  for (const auto& row : checks()) {
    INFO(row.at("chip"));
    const std::map<std::string, RuleVerdict> verdicts = verdicts_of(row.at("chip"));
    CHECK(verdicts.at("2022-10-07").result == row.at("class_2022"));
    CHECK(verdicts.at("2023-11-17").result == row.at("class_2023"));
    CHECK(verdicts.at("2023-11-17").exception == row.at("exception_2023"));
    CHECK(verdicts.at("2024-12-02").result == "not-applicable");
    CHECK(verdicts.at("2025-04-09-letters").result == row.at("letters_2025"));
    // The table calls the review of 2026 not applicable where the class of 2023 is unknown; unknown
    // stays unknown here.
    const bool unknown = row.at("class_2023") == "unknown";
    CHECK(verdicts.at("2026-01-15").result == (unknown ? "unknown" : row.at("review_2026")));
  }
}

TEST_CASE(
    "export rules: what is known of real parts comes out, but for two whose figures are not "
    "public") {
  std::vector<std::string> differ;
  for (const auto& row : checks()) {
    const std::map<std::string, RuleVerdict> verdicts = verdicts_of(row.at("chip"));
    const std::string& known_2022 = row.at("known_2022");
    if (!known_2022.empty()) {
      INFO(row.at("chip"));
      CHECK((verdicts.at("2022-10-07").result == "3A090.a") == (known_2022 == "controlled"));
    }
    const std::string& known_2023 = row.at("known_2023");
    const std::string expected = known_2023 == "free" ? "not-controlled" : known_2023;
    if (!known_2023.empty() && verdicts.at("2023-11-17").result != expected)
      differ.push_back(row.at("chip"));
  }
  CHECK(differ == std::vector<std::string>{"mi308x", "gaudi3-hl328"});
}

TEST_CASE("export rules: the MI308X and the Gaudi 3 for China say why they are uncertain") {
  const RuleVerdict mi308x = verdicts_of("mi308x").at("2023-11-17");
  CHECK(mi308x.result == "3A090.b");
  CHECK(mi308x.uncertain.ends_with("with a die area of 2400 mm2 it is not-controlled"));
  const RuleVerdict hl328 = verdicts_of("gaudi3-hl328").at("2023-11-17");
  CHECK(hl328.result == "unknown");
  CHECK(hl328.why == "TPP 2,400, performance density not public");
  CHECK(verdicts_of("gaudi3-hl328").at("2026-01-15").why ==
        "its class under 2023-11-17 is unknown: TPP 2,400, performance density not public");
}

TEST_CASE("export rules: a verdict names the figures that decide") {
  CHECK(verdicts_of("h800-sxm5").at("2022-10-07").why == "TPP 15,831, I/O 528 GB/s");
  CHECK(verdicts_of("h100-sxm5").at("2022-10-07").why ==
        "TPP 15,831 (at least 4,800), I/O 1,028 GB/s (at least 600)");
  CHECK(verdicts_of("l40").at("2023-11-17").why ==
        "TPP 2,896 (at least 2,400, below 4,800), performance density 4.76 (at least 1.6, below "
        "5.92); "
        "TPP 2,896 (at least 1,600), performance density 4.76 (at least 3.2, below 5.92)");
  CHECK(verdicts_of("h20-96gb").at("2025-04-09-letters").why ==
        "DRAM 4,000 GB/s (at least 1,400); I/O and DRAM 5,028 GB/s (at least 1,700)");
  CHECK(verdicts_of("rtx-4090d").at("2023-11-17").why ==
        "Note 2: not designed or marketed for data centres, TPP below 4800 (TPP 4,707)");
  CHECK(verdicts_of("h200-sxm").at("2026-01-15").why ==
        "TPP 15,831 (below 21,000), DRAM 4,800 GB/s (below 6,500); 25% tariff (Section 232)");
  CHECK(verdicts_of("h20-96gb").at("2023-11-17").uncertain.empty());
  CHECK(verdicts_of("h100-sxm5").at("2023-11-17").uncertain.empty());
}

TEST_CASE("export rules: a chip on the threshold is in, just below it is out and says so") {
  Chip chip = *library().chip("h100-sxm5");
  chip.peak = {{"fp8", {600 * (TFLOP / sec), "test", "", ""}}};  // TPP 4,800 exactly
  chip.die_area->value = 4800 * mm2;
  CHECK(verdicts_of(chip).at("2023-11-17").result == "3A090.a");
  chip.peak["fp8"].value = 599 * (TFLOP / sec);
  CHECK(verdicts_of(chip).at("2023-11-17").result == "not-controlled");
  CHECK(verdicts_of(chip).at("2023-11-17").uncertain ==
        "TPP 4,792 is within 0.5% of a threshold to 3A090.a");
  chip.die_area.reset();
  CHECK(verdicts_of(chip).at("2023-11-17").result == "unknown");
  chip.data_centre = false;
  CHECK(verdicts_of(chip).at("2023-11-17").result == "not-controlled");
}

TEST_CASE(
    "export rules: without any link rate the rule of 2022 cannot tell, unless the rate is small") {
  Chip chip = *library().chip("h100-sxm5");
  chip.link.reset();
  chip.pcie.reset();
  CHECK(verdicts_of(chip).at("2022-10-07").result == "unknown");
  CHECK(verdicts_of(chip).at("2025-04-09-letters").result == "licence");
  chip.peak = {{"bf16", {100 * (TFLOP / sec), "test", "", ""}}};
  CHECK(verdicts_of(chip).at("2022-10-07").result == "not-controlled");
}

TEST_CASE("export rules: a day picks those in force, an id one") {
  const Chip chip = *library().chip("a800-sxm4-80gb");
  const std::vector<ExportRule> rules = *library().rules();
  const auto ids = [&](const std::string& which) {
    const Result<std::vector<RuleVerdict>> verdicts = classify(chip, rules, which);
    if (!verdicts) return verdicts.error().message;
    std::string text;
    for (const RuleVerdict& verdict : *verdicts) text += verdict.rule + " ";
    return text;
  };
  CHECK(ids("2022-10-06") == "");
  CHECK(ids("2023-11-16") == "2022-10-07 ");
  CHECK(ids("2023-11-17") == "2023-11-17 ");
  CHECK(ids("2025-05-01") == "2023-11-17 2024-12-02 2025-04-09-letters ");
  CHECK(ids("2025-04-09-letters") == "2025-04-09-letters ");
  CHECK(ids("2025-04-09-leters") ==
        "rules 2025-04-09-leters: expected a day such as 2023-11-17 or one of 2022-10-07, "
        "2023-11-17, 2024-12-02, "
        "2025-04-09-letters, 2026-01-15; did you mean 2025-04-09-letters?");
}

TEST_CASE("export rules: a wrong rule is refused with its place") {
  const auto said = [](const std::string& text) {
    const Json root = *parse_json(text, "r.json");
    JsonObject object = *JsonObject::of(root, "r.json");
    const Result<ExportRule> rule = export_rule_from_json(object);
    return rule ? "accepted" : rule.error().message;
  };
  const std::string head =
      R"({"id": "x", "title": "t", "citation": "c", "date": "2026-01-15", "status": "s", "source": "S",)";
  CHECK(said(head + R"("clauses": [], "otherwise": "denial"})") == "accepted");
  CHECK(said(head + R"("clauses": [], "otherwise": "forbidden"})") ==
        "r.json:1: otherwise: expected one of not-controlled 3A090.a 3A090.b 3A090.c licence "
        "case-by-case denial "
        "not-applicable unknown, found \"forbidden\"");
  CHECK(
      said(
          head +
          R"("clauses": [{"class": "licence", "any": [{"io_at_least": 600}]}], "otherwise": "denial"})") ==
      "r.json:1: any[0].io_at_least: expected a bandwidth such as \"3.35 TB/s\", found the number "
      "600");
  CHECK(said(head + R"("clauses": [{"class": "licence", "any": [{}]}], "otherwise": "denial"})") ==
        "r.json:1: any[0]: expected a threshold such as \"tpp_at_least\", found none");
}
