// SPDX-License-Identifier: Apache-2.0
#include "hardware/profile_library.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/file.h"
#include "hardware/chip_json.h"
#include "hardware/cluster_json.h"

using namespace narrows;

namespace {

const ProfileLibrary& library() {
  static const ProfileLibrary opened = *ProfileLibrary::open({});
  return opened;
}

// What is said of a cluster, or its levels: "nvlink 8, infiniband 1024".
std::string levels_of(const std::string& spec, std::optional<int> gpus = {}) {
  const Result<Cluster> cluster = library().cluster(spec, gpus);
  if (!cluster) return cluster.error().message;
  std::string text;
  for (const Level& level : cluster->levels) {
    text += (text.empty() ? "" : ", ") + level.name + " " + std::to_string(level.group);
  }
  return text;
}

// A folder of profiles that is gone with the test.
class Folder {
 public:
  Folder() {
    char pattern[] = "/tmp/narrows-profiles-XXXXXX";
    path_ = ::mkdtemp(pattern);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }

  Folder& add(const std::string& path, const std::string& text) {
    const std::filesystem::path whole = std::filesystem::path(path_) / path;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << text;
    return *this;
  }
  const std::string& path() const { return path_; }
  // What opening it says, its path cut off.
  std::string complaint() const {
    const Result<ProfileLibrary> opened = ProfileLibrary::open(path_);
    if (opened) return "accepted";
    const std::string& message = opened.error().message;
    return message.starts_with(path_) ? message.substr(path_.size() + 1) : message;
  }

 private:
  std::string path_;
};

std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

// A chip in eight lines, right as it stands.
const std::string kChip = R"({
  "name": "x1",
  "peak": {"bf16": {"value": "100 TFLOP/s", "source": "ours"}},
  "memory": {"value": "80 GB", "source": "ours"},
  "memory_reported": {"value": "79 GiB", "source": "ours"},
  "memory_bandwidth": {"value": "2 TB/s", "source": "ours"},
  "clock": {"value": "1410 MHz", "source": "ours"}
})";

const std::string kCluster = R"({
  "name": "c1",
  "node": "h100",
  "gpus": 64
})";

const std::string kLevels = R"({
  "name": "c2",
  "chip": "h20-96gb",
  "gpus": 64,
  "gpus_per_node": 8,
  "levels": [
    {"name": "nvlink", "group": 8, "nominal": {"value": "450 GB/s", "source": "a"}, "usable": {"value": "370 GB/s", "source": "a"}, "latency": {"value": "3 us", "source": "a"}},
    {"name": "roce", "group": 64, "nominal": {"value": "50 GB/s", "source": "a"}, "usable": {"value": "44 GB/s", "source": "a"}, "latency": {"value": "5 us", "source": "a"}}
  ]
})";

// Every {"value", "source"} below a node.
void collect_sources(const Json& node, std::set<std::string>& ids) {
  if (const Json* source = node.find("source")) ids.insert(source->string());
  if (node.is_object()) {
    for (const Json::Member& member : node.members()) collect_sources(member.second, ids);
  }
  if (node.is_array()) {
    for (const Json& item : node.items()) collect_sources(item, ids);
  }
}

}  // namespace

TEST_CASE("profiles: every chip, node type and cluster of the program reads") {
  CHECK(library().chips().size() >= 70);
  for (const std::string& name : library().chips()) {
    const Result<Chip> chip = library().chip(name);
    INFO((chip ? name : chip.error().message));
    CHECK(chip.has_value());
  }
  for (const std::string& name : library().nodes()) {
    const Result<Cluster> node = library().node(name);
    INFO((node ? name : node.error().message));
    CHECK(node.has_value());
  }
  CHECK(library().clusters() ==
        std::vector<std::string>{"fire-flyer-10k", "h800-2048", "llama3-24k", "selene-a100"});
  for (const std::string& name : library().clusters()) {
    const Result<Cluster> cluster = library().cluster(name);
    INFO((cluster ? name : cluster.error().message));
    CHECK(cluster.has_value());
  }
}

TEST_CASE("profiles: chips and clusters written to JSON read back equal") {
  for (const std::string& name : library().chips()) {
    INFO(name);
    const Chip chip = *library().chip(name);
    const Json written = *parse_json(to_json(chip).text(), "written");
    JsonObject object = *JsonObject::of(written, "written");
    const Result<Chip> read = chip_from_json(object);
    REQUIRE(read.has_value());
    CHECK(*read == chip);
  }
  for (const std::string spec :
       {"h800-2048", "llama3-24k", "gb200-nvl72:144", "fire-flyer:4", "mi300x:16"}) {
    INFO(spec);
    const Cluster cluster = *library().cluster(spec);
    const Json written = *parse_json(to_json(cluster).text(), "written");
    JsonObject object = *JsonObject::of(written, "written");
    const Result<Cluster> read = cluster_from_json(object);
    INFO((read ? "" : read.error().message));
    REQUIRE(read.has_value());
    CHECK(*read == cluster);
  }
}

TEST_CASE(
    "profiles: every source of a figure is listed, and every relative exists and has no relative "
    "of its own") {
  std::set<std::string> ids;
  for (const char* folder : {"chips", "nodes", "clusters", "rules", "prices"}) {
    const std::filesystem::path path =
        std::filesystem::path(NARROWS_SOURCE_DIR) / "hwprofiles" / folder;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      collect_sources(*read_json(entry.path().string()), ids);
    }
  }
  for (const std::string& id : ids) {
    INFO(id);
    CHECK(library().source(id).has_value());
  }
  for (const std::string& name : library().chips()) {
    const std::string relative = library().chip(name)->kernels_like;
    INFO(name << " like " << relative);
    if (!relative.empty()) CHECK(library().chip(relative)->kernels_like.empty());
  }
}

TEST_CASE("profiles: the H800 as DeepSeek describe it") {
  const Cluster cluster = *library().cluster("h800-2048");
  CHECK(cluster.gpus == 2048);
  CHECK(cluster.software == "hai-llm");
  CHECK(cluster.chip.memory_reported.value / byte == 84943110144.0);
  CHECK(*peak_rate(cluster.chip, "bf16") / (TFLOP / sec) == Approx(989.4));
  CHECK(cluster.chip.kernels_like == "h100-sxm5");
  REQUIRE(cluster.levels.size() == 2);
  CHECK(cluster.levels[0].usable.value / (GB / sec) == Approx(160));
  CHECK(cluster.levels[0].forwarded.value / (GB / sec) == Approx(140));
  CHECK(cluster.levels[1].nominal.value / (GB / sec) == Approx(50));
  CHECK(cluster.levels[1].usable.value / (GB / sec) == Approx(44));
  CHECK(cluster.price.value / (usd / hour) == Approx(2));
  CHECK(peak_rate(cluster.chip, "fp4").error().message ==
        "h800-sxm5: expected a format that it computes in (fp64, fp32, tf32, bf16, fp16, fp8, "
        "int8), found fp4");
}

TEST_CASE("profiles: Meta's pods are joined at a seventh of their bandwidth") {
  const Cluster cluster = *library().cluster("llama3-24k");
  CHECK(levels_of("llama3-24k") == "nvlink 8, roce-pod 3072, roce 24576");
  CHECK(cluster.levels[1].oversubscription == 7);
  CHECK(cluster.levels[2].nominal.value / (GB / sec) == Approx(50));
  CHECK(levels_of("llama3-24k", 16384) == "nvlink 8, roce-pod 3072, roce 16384");
  CHECK(levels_of("llama3-24k", 3072) == "nvlink 8, roce-pod 3072");
}

TEST_CASE("clusters: a node type and a count give the levels that are needed") {
  CHECK(levels_of("h100:1024") == "nvlink 8, infiniband 1024");
  CHECK(levels_of("h100:8") == "nvlink 8");
  CHECK(levels_of("h100:3") == "nvlink 3");
  CHECK(levels_of("gb200-nvl72:72") == "nvlink 72");
  CHECK(levels_of("gb200-nvl72:76") == "nvlink 72, infiniband 76");
  CHECK(levels_of("gb200-nvl72:4") == "nvlink 4");
  CHECK(levels_of("h100:64", 16) == "nvlink 8, infiniband 16");
  CHECK(levels_of("h100", 16) == "nvlink 8, infiniband 16");
  CHECK(library().cluster("h100", 16)->name == "h100:16");
  CHECK(library().cluster("fire-flyer:16")->levels[1].nominal.value / (GB / sec) == Approx(3.125));
}

TEST_CASE("clusters: what is refused, and what to write instead") {
  CHECK(levels_of("h100:12") ==
        "h100:12: expected at most one node of 8 GPUs or a multiple of it, found 12; the nearest "
        "are 8 and 16");
  CHECK(levels_of("gb200-nvl72:2046") ==
        "gb200-nvl72:2046: expected at most one node of 4 GPUs or a multiple of it, found 2,046; "
        "the nearest are 2,044 and 2,048");
  CHECK(levels_of("h800-2048", 2049) == "h800-2048: expected 1 to 2,048 GPUs, found 2,049");
  CHECK(levels_of("h800-2048", 2047) ==
        "h800-2048: expected at most one node of 8 GPUs or a multiple of it, found 2,047; the "
        "nearest are 2,040 and 2,048");
  CHECK(levels_of("h800-2048", 0) == "h800-2048: expected 1 to 2,048 GPUs, found 0");
  CHECK(levels_of("h100") == "h100: expected a number of GPUs after the node type, as in h100:8");
  CHECK(levels_of("h100:abc") ==
        "h100:abc: expected a number of GPUs after the colon, found \"abc\"");
  CHECK(levels_of("h100:-8") == "h100:-8: expected a number of GPUs after the colon, found \"-8\"");
  CHECK(levels_of("h100:1000000000") ==
        "h100:1000000000: expected 1 to 16,777,216 GPUs, found 1,000,000,000");
  CHECK(levels_of("h800-2048:64") ==
        "h800-2048:64: h800-2048 is a whole cluster; take its first GPUs with --gpus 64");
  CHECK(
      levels_of("h8000:64") ==
      "h8000:64: expected a cluster, a node type with a number of GPUs such as h100:64, or a file; "
      "did you mean h800:64?");
  CHECK(levels_of("h800-2408") ==
        "h800-2408: expected a cluster, a node type with a number of GPUs such as h100:64, or a "
        "file; did you mean h800-2048?");
  CHECK(levels_of("none-such.json") == "none-such.json: no such file");
  CHECK(library().cluster("local:2").error().code == ErrorCode::Unsupported);
  CHECK(library().chip("h800-smx5").error().message ==
        "h800-smx5: expected the name of a chip; did you mean h800-sxm5?");
  CHECK(library().node("h10").error().code == ErrorCode::NotFound);
}

TEST_CASE("profiles: the node of a chip, or of its nearest relative with the same links") {
  const auto node = [](const std::string& chip) {
    const Result<Cluster> found = library().node_of(chip);
    return found ? found->name + " with " + found->chip.name : found.error().message;
  };
  CHECK(node("h800-sxm5") == "h800 with h800-sxm5");
  CHECK(node("a100-pcie-40gb") == "fire-flyer with a100-pcie-40gb");
  CHECK(node("h100-sxm5-96gb-hbm2e") == "h100 with h100-sxm5-96gb-hbm2e");
  CHECK(node("h20-141gb") == "h100 with h20-141gb");
  CHECK(node("a800-pcie-80gb") == "a800-pcie-80gb: expected a chip that a node type carries");
}

TEST_CASE("profiles: what is compiled in is what stands in the source tree") {
  const Result<ProfileLibrary> read =
      ProfileLibrary::open(std::string(NARROWS_SOURCE_DIR) + "/hwprofiles");
  INFO((read ? "" : read.error().message));
  REQUIRE(read.has_value());
  REQUIRE(read->chips() == library().chips());
  for (const std::string& name : library().chips())
    CHECK(*read->chip(name) == *library().chip(name));
  REQUIRE(read->nodes() == library().nodes());
  for (const std::string& name : library().nodes())
    CHECK(*read->node(name) == *library().node(name));
}

TEST_CASE("profiles: a folder replaces and adds by path") {
  Folder folder;
  folder.add("chips/x1.json", kChip)
      .add("clusters/c1.json", kCluster)
      .add("clusters/c2.json", kLevels);
  folder.add("nodes/h100.json",
             with(*read_file(std::string(NARROWS_SOURCE_DIR) + "/hwprofiles/nodes/h100.json"),
                  "\"h100-sxm5\"", "\"x1\""));
  folder.add("software/mine.json", "not looked at");
  const Result<ProfileLibrary> opened = ProfileLibrary::open(folder.path());
  INFO((opened ? "" : opened.error().message));
  REQUIRE(opened.has_value());
  CHECK(opened->chips().size() == library().chips().size() + 1);
  CHECK(opened->cluster("h100:8")->chip.name == "x1");
  CHECK(opened->cluster("c1")->chip.name == "x1");
  CHECK(opened->cluster("c1")->levels[1].group == 64);
  CHECK(opened->cluster("c2", 8)->levels.size() == 1);
  CHECK(opened->cluster(folder.path() + "/clusters/c2.json")->chip.name == "h20-96gb");
  CHECK(opened->cluster("c2")->levels[0].forwarded.value ==
        opened->cluster("c2")->levels[0].usable.value);
  CHECK(library().cluster("h100:8")->chip.name == "h100-sxm5");
  CHECK(ProfileLibrary::open("/none/such").error().message ==
        "/none/such: expected a folder of profiles, found none");
}

TEST_CASE("profiles: a wrong chip is refused with its place") {
  const auto said = [](const std::string& from, const std::string& to) {
    return Folder().add("chips/x1.json", with(kChip, from, to)).complaint();
  };
  CHECK(said("\"x1\"", "\"x1\"") == "accepted");
  CHECK(said("\"name\": \"x1\"", "\"name\": \"x2\"") ==
        "chips/x1.json:2: name: expected \"x1\" as the file is called, found \"x2\"");
  CHECK(said("\"name\": \"x1\"", "\"name\": \"X 1\"") ==
        "chips/x1.json:2: name: expected a name of lower-case letters, digits and dashes, found "
        "\"X 1\"");
  CHECK(said("\"bf16\"", "\"bf61\"") ==
        "chips/x1.json:3: peak.bf61: unknown key; did you mean \"bf16\"?");
  CHECK(said("{\"bf16\": {\"value\": \"100 TFLOP/s\", \"source\": \"ours\"}}", "{}") ==
        "chips/x1.json:3: peak: expected the rate of at least one format, found none");
  CHECK(said("\"100 TFLOP/s\"", "100") ==
        "chips/x1.json:3: peak.bf16.value: expected a rate such as \"989.4 TFLOP/s\", found the "
        "number 100");
  CHECK(said("100 TFLOP/s", "100 TB/s") ==
        "chips/x1.json:3: peak.bf16.value: expected a rate such as \"989.4 TFLOP/s\", found \"100 "
        "TB/s\"");
  CHECK(said("2 TB/s", "0 TB/s") ==
        "chips/x1.json:6: memory_bandwidth.value: expected a bandwidth such as \"3.35 TB/s\" above "
        "zero, found \"0 TB/s\"");
  CHECK(said("2 TB/s", "-2 TB/s") ==
        "chips/x1.json:6: memory_bandwidth.value: expected a bandwidth such as \"3.35 TB/s\", "
        "found \"-2 TB/s\"");
  CHECK(said("2 TB/s", "nan TB/s") ==
        "chips/x1.json:6: memory_bandwidth.value: expected a bandwidth such as \"3.35 TB/s\", "
        "found \"nan TB/s\"");
  CHECK(said("{\"value\": \"2 TB/s\", \"source\": \"ours\"}", "{\"value\": \"2 TB/s\"}") ==
        "chips/x1.json:6: memory_bandwidth.source: expected a string, found no such key");
  CHECK(
      said("\"2 TB/s\", \"source\": \"ours\"", "\"2 TB/s\", \"source\": \"\"") ==
      "chips/x1.json:6: memory_bandwidth.source: expected where the figure comes from, found \"\"");
  CHECK(said("79 GiB", "790 GiB") ==
        "chips/x1.json:5: memory_reported: expected at most 1.1 times the memory as sold (80 GB), "
        "found 790 GiB");
  CHECK(said("  \"memory\": {\"value\": \"80 GB\", \"source\": \"ours\"},\n", "") ==
        "chips/x1.json:1: memory: expected an object, found no such key");
  CHECK(said("1410 MHz", "1410 mhz") ==
        "chips/x1.json:7: clock.value: expected a frequency such as \"1830 MHz\", found \"1410 "
        "mhz\"");
  CHECK(said("\"clock\"", "\"colck\"") ==
        "chips/x1.json:7: colck: unknown key; did you mean \"clock\"?");
  CHECK(said("\"clock\": {\"value\": \"1410 MHz\"", "\"launch\": {\"value\": \"2023-13-01\"") ==
        "chips/x1.json:7: launch.value: expected a date such as \"2023-03-21\", found "
        "\"2023-13-01\"");
}

TEST_CASE("profiles: a wrong cluster is refused with its place") {
  const auto said = [](const std::string& text, const std::string& from, const std::string& to) {
    const std::string path = "clusters/" + std::string(text == kCluster ? "c1" : "c2") + ".json";
    return Folder().add(path, with(text, from, to)).complaint();
  };
  CHECK(said(kCluster, "64", "12") ==
        "c1: expected at most one node of 8 GPUs or a multiple of it, found 12; the nearest is 8");
  CHECK(said(kCluster, "64", "64.5") ==
        "clusters/c1.json:4: gpus: expected a whole number from 1 to 16777216, found the number "
        "64.5");
  CHECK(said(kCluster, "\"h100\"", "\"h101\"") ==
        "clusters/c1.json:3: node: h101: expected the name of a node type; did you mean h100?");
  CHECK(said(kCluster, "\"node\": \"h100\",\n", "") ==
        "clusters/c1.json:1: chip: expected an object, found no such key");
  CHECK(said(kLevels, "\"h20-96gb\"", "\"h20\"") ==
        "clusters/c2.json:3: chip: h20: expected the name of a chip; did you mean h20-141gb or "
        "h20-96gb?");
  CHECK(said(kLevels, "\"group\": 64", "\"group\": 32") ==
        "clusters/c2.json:6: levels: expected an outermost level that joins all 64 GPUs, found 32");
  CHECK(said(kLevels, "\"group\": 64", "\"group\": 8") ==
        "clusters/c2.json:8: levels[1].group: expected a group of more than 8 GPUs, found 8");
  CHECK(said(kLevels, "\"group\": 8, ", "") ==
        "clusters/c2.json:7: levels[0].group: expected a group of more than 0 GPUs, found none");
  CHECK(
      said(kLevels, "44 GB/s", "444 GB/s") ==
      "clusters/c2.json:8: levels[1].usable: expected at most the nominal 50 GB/s, found 444 GB/s");
  CHECK(said(kLevels, "5 us", "5 GB") ==
        "clusters/c2.json:8: levels[1].latency.value: expected a time such as \"3.7 us\", found "
        "\"5 GB\"");
  CHECK(said(kLevels, "\"gpus\": 64", "\"gpsu\": 64") ==
        "clusters/c2.json:1: gpus: expected a whole number from 1 to 16777216, found no such key");
  CHECK(Folder().add("clusters/c1.json", "[]").complaint() ==
        "clusters/c1.json:1: expected an object, found an array");
}

TEST_CASE("prices: each has a date, a source and an order") {
  const std::vector<Price> prices = *library().prices();
  CHECK(prices.size() > 60);
  for (const Price& price : prices) {
    INFO(price.item);
    CHECK(price.low <= price.high);
    CHECK(library().source(price.source).has_value());
  }
  CHECK(library().ownership()->at("pue").value == Approx(1.25));
  CHECK(*library().newest_date() >= "2026-11-21");
  Folder folder;
  folder.add(
      "prices/rent.json",
      R"({"kind": "rent", "prices": [{"item": "x", "low": 3, "high": 2, "unit": "USD/h", "date": "2026", "source": "a"}]})");
  CHECK(folder.complaint() ==
        "prices/rent.json:1: prices[0].high: expected a number from 3 to 1000000000000, found the "
        "number 2");
}
