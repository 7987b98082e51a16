// SPDX-License-Identifier: Apache-2.0
#include "store/topology.h"

#include <fmt/format.h>

#include "hardware/cluster_json.h"
#include "tests/store/fixture.h"

namespace narrows {
namespace {

const ProfileLibrary& library() {
  static const ProfileLibrary profiles = value_of(ProfileLibrary::open({}));
  return profiles;
}

// `nvidia-smi topo -m`: GPUs a and b are joined by `links(a, b)`, "NV18" or "SYS".
template <typename Links>
std::string matrix(int gpus, Links links) {
  std::string text;
  for (int a = 0; a < gpus; ++a) text += fmt::format("\tGPU{}", a);
  text += "\tNIC0\tCPU Affinity\tNUMA Affinity\n";
  for (int a = 0; a < gpus; ++a) {
    text += fmt::format("GPU{}", a);
    for (int b = 0; b < gpus; ++b) text += a == b ? std::string("\t X ") : "\t" + links(a, b);
    text += "\tPIX\t0-55\t0\n";
  }
  return text + "NIC0\tPIX\t X\n\nLegend:\n\n  X    = Self\n  NIC0: mlx5_0\n";
}

std::string nvswitch(int, int) { return "NV18"; }

Cluster cluster(const Topology& topology, const std::string& chip, int nodes = 1) {
  return value_of(cluster_of(topology, "topo", chip, nodes, library()));
}

std::string system_xml(int gpus, const std::string& device, int links, double speed) {
  std::string text = "<system version=\"1\">\n  <cpu numaid=\"0\" arch=\"x86_64\">\n";
  for (int i = 0; i < gpus; ++i) {
    text += fmt::format(
        "    <pci busid=\"0000:1{0}:00.0\" class=\"0x060400\" vendor=\"0x1000\">\n"
        "      <pci busid=\"0000:2{0}:00.0\" class=\"0x030200\" vendor=\"0x10de\" device=\"{1}\" "
        "link_speed=\"32.0 GT/s PCIe\" link_width=\"16\">\n"
        "        <gpu dev=\"{0}\" sm=\"90\" rank=\"{0}\" gdr=\"1\">\n",
        i, device);
    if (links > 0)
      text += fmt::format(
          "          <nvlink target=\"0000:c4:00.0\" count=\"{}\" "
          "tclass=\"0x068000\"/>\n",
          links);
    text += fmt::format(
        "        </gpu>\n      </pci>\n"
        "      <nic><net name=\"mlx5_{}\" dev=\"0\" speed=\"{}\" port=\"1\" gdr=\"1\"/></nic>\n"
        "    </pci>\n",
        i, speed);
  }
  return text + "  </cpu>\n</system>\n";
}

}  // namespace

TEST_CASE("topology: eight GPUs on a switch are one level at the chip's rate") {
  const Topology topology = value_of(read_topology_matrix(matrix(8, nvswitch), "t"));
  CHECK(topology.gpus == 8);
  CHECK(topology.joined == 8);
  const Cluster made = cluster(topology, "h100-sxm5");
  REQUIRE(made.levels.size() == 1);
  CHECK(made.levels[0].nominal.value / (GB / sec) == Approx(450));
  CHECK(made.levels[0].group == 8);
  const Cluster node = value_of(library().cluster("h100:8"));
  CHECK(made.levels[0].usable.value == node.levels[0].usable.value);
  CHECK(made.levels[0].usable.mark == "derived");
}

TEST_CASE("topology: fewer links are a slower level") {
  const auto bonded = [](int, int) { return std::string("NV8"); };
  const Cluster made = cluster(value_of(read_topology_matrix(matrix(8, bonded), "t")), "h800-sxm5");
  CHECK(made.levels[0].nominal.value / (GB / sec) == Approx(200));
  const auto pair = [](int, int) { return std::string("NV4"); };
  const Cluster two = cluster(value_of(read_topology_matrix(matrix(2, pair), "t")), "h100-sxm5");
  CHECK(two.levels[0].nominal.value / (GB / sec) == Approx(100));
}

TEST_CASE("topology: bridged pairs are a level inside PCIe") {
  const auto bridged = [](int a, int b) { return std::string(a / 2 == b / 2 ? "NV4" : "SYS"); };
  const Topology topology = value_of(read_topology_matrix(matrix(4, bridged), "t"));
  CHECK(topology.joined == 2);
  const Cluster made = cluster(topology, "a100-sxm4-80gb");
  REQUIRE(made.levels.size() == 2);
  CHECK(made.levels[0].name == "nvlink");
  CHECK(made.levels[0].group == 2);
  CHECK(made.levels[1].name == "pcie");
  CHECK(made.levels[1].group == 4);
  const auto none = [](int, int) { return std::string("PHB"); };
  const Cluster plain =
      cluster(value_of(read_topology_matrix(matrix(4, none), "t")), "a100-sxm4-80gb");
  REQUIRE(plain.levels.size() == 1);
  CHECK(plain.levels[0].name == "pcie");
}

TEST_CASE("topology: a mesh that is no hierarchy is refused") {
  const auto ring = [](int a, int b) {
    return std::string((a + 1) % 4 == b || (b + 1) % 4 == a ? "NV4" : "SYS");
  };
  CHECK(contains(refusal_of(read_topology_matrix(matrix(4, ring), "t")), "NVLink joins GPU 0"));
}

TEST_CASE("topology: a table that is cut off or odd is refused") {
  const std::string whole = matrix(4, nvswitch);
  const std::size_t last_row = whole.find("\nGPU3\t") + 1;
  CHECK(contains(refusal_of(read_topology_matrix(whole.substr(0, last_row), "t")),
                 "expected rows of 4 GPUs, found 3"));
  CHECK(contains(refusal_of(read_topology_matrix(whole.substr(0, last_row + 12), "t")),
                 "expected the row of GPU 3"));
  std::string odd = whole;
  odd.replace(odd.find("NV18"), 4, "WARP");
  CHECK(contains(refusal_of(read_topology_matrix(odd, "t")), "found \"WARP\""));
}

TEST_CASE("topology: NCCL's document tells the chip, its links and its ports") {
  const Topology topology = value_of(read_nccl_topology(system_xml(8, "0x2330", 18, 400000), "t"));
  CHECK(topology.chip == "h100-sxm5");
  CHECK(topology.gpus == 8);
  CHECK(topology.joined == 8);
  CHECK(topology.nvlinks == 18);
  CHECK(topology.network / (GB / sec) == Approx(400));
  const Cluster made = cluster(topology, "", 4);
  CHECK(made.gpus == 32);
  REQUIRE(made.levels.size() == 2);
  CHECK(made.levels[1].nominal.value / (GB / sec) == Approx(50));
  CHECK(made.levels[1].group == 32);
  CHECK(contains(refusal_of(cluster_of(topology, "t", "a100-sxm4-80gb", 1, library())),
                 "has GPUs of chip h100-sxm5"));
}

TEST_CASE("topology: what a document does not say is asked for, what is broken refused") {
  const Topology unknown = value_of(read_nccl_topology(system_xml(8, "0xffff", 18, 0), "t"));
  CHECK(contains(refusal_of(cluster_of(unknown, "t", "", 1, library())), "--chip NAME"));
  CHECK(contains(refusal_of(cluster_of(unknown, "t", "h100-sxm5", 2, library())),
                 "does not say how fast its network ports are"));
  CHECK(contains(refusal_of(cluster_of(unknown, "t", "h1000", 1, library())), "h100"));
  const std::string whole = system_xml(2, "0x2330", 18, 400000);
  for (std::size_t length = 0; length + 12 < whole.size(); ++length) {
    INFO(length);
    CHECK(!read_nccl_topology(whole.substr(0, length), "t").has_value());
  }
  CHECK(contains(refusal_of(read_nccl_topology("<system><cpu></system>", "t")), "expected </cpu>"));
}

TEST_CASE("topology: a cluster that was made reads back from its file") {
  const Topology topology = value_of(read_nccl_topology(system_xml(8, "0x2324", 8, 400000), "t"));
  const Cluster made = cluster(topology, "", 16);
  const Json json = value_of(parse_json(to_json(made).text(), "made.json"));
  JsonObject object = value_of(JsonObject::of(json, "made.json"));
  CHECK(value_of(cluster_from_json(object)) == made);
}

TEST_CASE("topology: ports are counted by whichever names the driver gives them") {
  const std::string text =
      "\t\x1b[4mGPU0\tGPU1\tmlx5_0\tmlx5_1\tCPU Affinity\x1b[0m\n"
      "GPU0\t X \tNV6\tPIX\tSYS\t0-23,48-71\nGPU1\tNV6\t X \tSYS\tPIX\t0-23,48-71\n"
      "mlx5_0\tPIX\tSYS\t X \tSYS\t\nmlx5_1\tSYS\tPIX\tSYS\t X \t\n\nLegend:\n";
  const Topology topology = value_of(read_topology_matrix(text, "topo"));
  CHECK(topology.ports == 2);
  CHECK(topology.gpus == 2);
  CHECK(topology.nvlinks == 6);
}

}  // namespace narrows
