// SPDX-License-Identifier: Apache-2.0
#include "store/topology.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>

#include "store/device_names.h"
#include "store/lines.h"
#include "store/xml_scan.h"

namespace narrows {
namespace {

constexpr int kMostGpus = 1024;  // of one node

// Links between each two GPUs, by index.
using Matrix = std::vector<std::vector<int>>;

// The size of the groups in which every GPU is joined to every other, which must be equal runs of
// consecutive GPUs; 1 if there are no links.
Result<int> group_size(const Matrix& links, const std::string& name) {
  const auto count = static_cast<int>(links.size());
  const auto joined = [&](int a, int b) {
    return links[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)] > 0;
  };
  int size = 1;
  while (size < count && joined(0, size)) ++size;
  for (int a = 0; a < count; ++a) {
    for (int b = 0; b < count; ++b) {
      if (a == b || joined(a, b) == (a / size == b / size)) continue;
      return unsupported(fmt::format(
          "{}: NVLink joins GPU {} to {} GPUs and is {} between GPUs {} and {}: only equal groups "
          "in which all are joined can be a level of a cluster",
          name, 0, size - 1, joined(a, b) ? "there" : "missing", a, b));
    }
  }
  return size;
}

// What the driver prints of a pair: "NV18" is 18 links, the others are ways over PCIe.
std::optional<int> links_in(std::string_view cell) {
  for (const std::string_view way : {"X", "PIX", "PXB", "PHB", "NODE", "SYS", "SOC"}) {
    if (cell == way) return 0;
  }
  if (!cell.starts_with("NV")) return std::nullopt;
  const std::optional<double> count = number_in(cell.substr(2));
  if (!count || *count < 1 || *count > 64) return std::nullopt;
  return static_cast<int>(*count);
}

int gpu_index(std::string_view word) {
  if (!word.starts_with("GPU")) return -1;
  const std::optional<double> index = number_in(word.substr(3));
  return index && *index >= 0 && *index < kMostGpus ? static_cast<int>(*index) : -1;
}

// Bytes a second of one NVLink, one direction, by generation.
std::optional<Bandwidth> nvlink_rate(const std::string& link_type) {
  constexpr std::array<std::pair<std::string_view, double>, 4> kRates{
      {{"NVLink 2", 25}, {"NVLink 3", 25}, {"NVLink 4", 25}, {"NVLink 5", 50}}};
  for (const auto& [name, rate] : kRates) {
    if (link_type.starts_with(name)) return rate * GB / sec;
  }
  return std::nullopt;
}

unsigned hex_number(std::string_view text) {
  if (text.starts_with("0x")) text.remove_prefix(2);
  unsigned value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

constexpr const char* kSource = "imported topology";

Figure<Bandwidth> derived(Bandwidth value, const std::string& note) {
  return {value, kSource, "derived", note};
}

// A level of `group` GPUs with this rate, like a level of the chip's node type.
Level level_like(const Level& like, const std::string& name, int group, Bandwidth nominal) {
  Level level;
  level.name = name;
  level.group = group;
  level.nominal = {nominal, kSource, "", ""};
  const double share = like.usable.value / like.nominal.value;
  const double relayed = like.forwarded.value / like.nominal.value;
  level.usable = derived(
      share * nominal, fmt::format("{:.2f} of nominal, as {} of its node type", share, like.name));
  level.forwarded =
      derived(relayed * nominal,
              fmt::format("{:.2f} of nominal, as {} of its node type", relayed, like.name));
  level.latency = {like.latency.value, like.latency.source, "derived",
                   fmt::format("as {} of its node type", like.name)};
  level.in_network_reduction = like.in_network_reduction;
  return level;
}

// The way over PCIe, for GPUs that no NVLink joins.
Result<Level> pcie_level(const Chip& chip, int group) {
  if (!chip.pcie) {
    return invalid(fmt::format("chip {}: its profile gives no PCIe rate, which the topology needs",
                               chip.name));
  }
  Level level;
  level.name = "pcie";
  level.group = group;
  level.nominal = {chip.pcie->value, chip.pcie->source, "", ""};
  level.usable = derived(0.8 * chip.pcie->value, "0.80 of line rate: encoding and headers");
  level.forwarded = level.usable;
  level.latency = {5 * us, kSource, "doubtful", "of a copy between GPUs over PCIe"};
  return level;
}

Result<Level> nvlink_level(const Topology& topology, const Chip& chip, const Cluster& node) {
  const std::optional<Bandwidth> rate = nvlink_rate(chip.link_type);
  if (!rate || !chip.link) {
    return invalid(fmt::format("chip {}: its profile has no NVLink, the topology has {} links",
                               chip.name, topology.nvlinks));
  }
  // A switch shows all links to every other GPU.
  const Bandwidth nominal = min(topology.nvlinks * *rate, chip.link->value);
  return level_like(node.levels.front(), "nvlink", topology.joined, nominal);
}

}  // namespace

bool is_topology_matrix(std::string_view text) {
  std::string_view line;
  for (int i = 0; i < 20 && next_line(text, line); ++i) {
    const std::vector<std::string_view> words = words_of(line);
    if (words.size() > 1 && words[0] == "GPU0" && (words[1] == "X" || words[1] == "GPU1"))
      return true;
  }
  return false;
}

bool is_nccl_topology(std::string_view text) {
  return text.substr(0, 4096).find("<system") != std::string_view::npos;
}

Result<Topology> read_topology_matrix(std::string_view text, const std::string& name) {
  Topology topology;
  topology.kind = "nvidia-smi topo";
  std::vector<int> columns;  // the GPU of each column, -1 = none
  Matrix links;
  std::string_view line;
  for (int number = 1; next_line(text, line); ++number) {
    // The header may be underlined by terminal codes.
    std::string plain;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\x1b') {
        while (i < line.size() && line[i] != 'm') ++i;
      } else {
        plain += line[i];
      }
    }
    const std::vector<std::string_view> words = words_of(plain);
    if (words.empty()) continue;
    if (columns.empty()) {
      if (gpu_index(words[0]) != 0) continue;
      for (const std::string_view word : words) {
        if (gpu_index(word) < 0) break;
        columns.push_back(gpu_index(word));
      }
      continue;
    }
    // Ports are called NIC0 or, by older drivers, by their own names.
    const bool is_port = words[0].starts_with("NIC") || words[0].starts_with("mlx");
    if (is_port && words[0].find(':') == std::string_view::npos) ++topology.ports;
    if (gpu_index(words[0]) < 0) continue;
    if (gpu_index(words[0]) != static_cast<int>(links.size()) ||
        words.size() < columns.size() + 1) {
      return invalid(fmt::format("{}:{}: expected the row of GPU {} with {} columns", name, number,
                                 links.size(), columns.size()));
    }
    std::vector<int>& row = links.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::optional<int> count = links_in(words[i + 1]);
      if (!count) {
        return invalid(
            fmt::format("{}:{}: expected a kind of link such as NV18 or SYS, found \"{}\"", name,
                        number, words[i + 1]));
      }
      row.push_back(*count);
    }
  }
  if (links.empty() || links.size() != columns.size()) {
    return invalid(fmt::format("{}: expected rows of {} GPUs, found {}: the table is cut off", name,
                               columns.size(), links.size()));
  }
  topology.gpus = static_cast<int>(links.size());
  topology.joined = TRY(group_size(links, name));
  if (topology.joined > 1) {
    for (const int count : links.front()) topology.nvlinks += count;
  }
  return topology;
}

Result<Topology> read_nccl_topology(std::string_view text, const std::string& name) {
  const std::vector<XmlTag> tags = TRY(xml_tags(text, name));
  Topology topology;
  topology.kind = "nccl-topology";
  std::map<std::string_view, double> rate_of_port;  // Mb/s by name
  std::map<std::string, int> gpu_of_bus;
  struct Peer {
    int gpu;
    std::string target;
    int count;
  };
  std::vector<Peer> peers;
  std::set<std::string> chips;
  std::vector<const XmlTag*> pci;  // open ones
  for (const XmlTag& tag : tags) {
    if (tag.name == "pci") {
      if (tag.kind == XmlTag::Kind::Open) pci.push_back(&tag);
      if (tag.kind == XmlTag::Kind::Close) pci.pop_back();
    } else if (tag.name == "gpu" && tag.kind != XmlTag::Kind::Close) {
      if (pci.empty() || topology.gpus >= kMostGpus)
        return invalid(fmt::format("{}:{}: expected at most {} gpus, each inside a pci", name,
                                   tag.line, kMostGpus));
      gpu_of_bus[std::string((*pci.back())["busid"])] = topology.gpus++;
      chips.insert(
          chip_of_pci(hex_number((*pci.back())["vendor"]), hex_number((*pci.back())["device"])));
    } else if (tag.name == "nvlink" && tag.kind != XmlTag::Kind::Close) {
      const std::optional<double> count = number_in(tag["count"]);
      if (!count || *count < 1 || *count > 64)
        return invalid(fmt::format("{}:{}: nvlink: expected a count of links, found \"{}\"", name,
                                   tag.line, tag["count"]));
      peers.push_back({topology.gpus - 1, std::string(tag["target"]), static_cast<int>(*count)});
    } else if (tag.name == "net" && tag.kind != XmlTag::Kind::Close) {
      rate_of_port[tag["name"]] = number_in(tag["speed"]).value_or(0);
    }
  }
  if (topology.gpus == 0)
    return invalid(fmt::format("{}: expected GPUs in the topology, found none", name));
  if (chips.size() == 1) topology.chip = *chips.begin();
  const auto count = static_cast<std::size_t>(topology.gpus);
  Matrix links(count, std::vector<int>(count, 0));
  for (const Peer& peer : peers) {
    const auto a = static_cast<std::size_t>(peer.gpu);
    const auto other = gpu_of_bus.find(peer.target);
    // A target that is no GPU is a switch, which joins all.
    for (std::size_t b = 0; b < count; ++b) {
      if (other == gpu_of_bus.end() || static_cast<std::size_t>(other->second) == b)
        links[a][b] += peer.count;
    }
    if (peer.gpu == 0) topology.nvlinks += peer.count;
  }
  topology.joined = TRY(group_size(links, name));
  for (const auto& [port, rate] : rate_of_port) {
    topology.network += rate * 1e6 / 8 * byte / sec;
    ++topology.ports;
  }
  return topology;
}

Result<Cluster> cluster_of(const Topology& topology, const std::string& name,
                           const std::string& chip, int nodes, const ProfileLibrary& library) {
  if (!chip.empty() && !topology.chip.empty() && chip != topology.chip) {
    return invalid(fmt::format("--chip {}: {} has GPUs of chip {}", chip, name, topology.chip));
  }
  const std::string named = chip.empty() ? topology.chip : chip;
  if (named.empty())
    return invalid(
        fmt::format("{}: the topology does not say which chip it joins; --chip NAME "
                    "does, such as h100-sxm5",
                    name));
  Cluster cluster;
  cluster.chip = TRY(library.chip(named));
  const Cluster node = TRY(library.node_of(named));
  cluster.name = "imported";
  cluster.title = fmt::format("{} x {} as in {}", topology.gpus * nodes, cluster.chip.title,
                              name.substr(name.rfind('/') + 1));
  cluster.gpus = topology.gpus * nodes;
  cluster.gpus_per_node = topology.gpus;
  cluster.price = node.price;
  cluster.price_date = node.price_date;
  if (topology.joined > 1)
    cluster.levels.push_back(TRY(nvlink_level(topology, cluster.chip, node)));
  if (topology.joined < topology.gpus || topology.gpus == 1)
    cluster.levels.push_back(TRY(pcie_level(cluster.chip, topology.gpus)));
  if (nodes > 1) {
    if (!(topology.network > Bandwidth())) {
      return invalid(
          fmt::format("--nodes {}: {} does not say how fast its network ports are", nodes, name));
    }
    Level network = level_like(node.levels.back(), node.levels.back().name, cluster.gpus,
                               topology.network / topology.gpus);
    network.in_network_reduction = false;
    cluster.levels.push_back(std::move(network));
  }
  return cluster;
}

}  // namespace narrows
