// nccl-tests prints a comment line for each rank with its host and device, a header that names the
// columns, and a row a size: bytes, elements, type, operation, root, then time (us), algorithm and
// bus bandwidth (GB/s) and errors, out of place and in place. The size is the larger of what a rank
// sends and receives in all: CollectiveShape's bytes.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "measurement/link_rates.h"
#include "store/device_names.h"
#include "store/foreign_logs.h"
#include "store/lines.h"

namespace narrows {
namespace {

struct Program {
  std::string_view name;
  CollectiveKind what;
};

constexpr std::array<Program, 6> kPrograms{{
    {"all_reduce_perf", CollectiveKind::AllReduce},
    {"all_gather_perf", CollectiveKind::AllGather},
    {"reduce_scatter_perf", CollectiveKind::ReduceScatter},
    {"alltoall_perf", CollectiveKind::AllToAll},
    {"broadcast_perf", CollectiveKind::Broadcast},
    {"sendrecv_perf", CollectiveKind::SendRecv},
}};

const Program* program_in(std::string_view text) {
  for (const Program& program : kPrograms) {
    if (text.find(program.name) != std::string_view::npos) return &program;
  }
  return nullptr;
}

// Where a row's words are; npos = absent.
struct Columns {
  std::size_t count = 0;
  std::size_t type = std::string_view::npos;
  std::vector<std::size_t> times;  // out of place, in place
};

class Reader {
 public:
  Reader(const std::string& name, const ImportHints& hints) : name_(name), hints_(hints) {
    const std::size_t slash = name.rfind('/');
    program_ = program_in(slash == std::string::npos ? name : name.substr(slash + 1));
  }

  Status line(std::string_view text) {
    ++number_;
    text = trimmed(without_label(text));
    if (text.starts_with('#')) return comment(trimmed(text.substr(1)));
    if (text.empty() || text.front() < '0' || text.front() > '9') {
      if (const Program* program = program_in(text)) program_ = program;
      return {};
    }
    return columns_.count > 0 ? row(words_of(text)) : Status{};
  }

  Result<std::vector<Batch>> finish() {
    TRY(close());
    if (batches_.empty())
      return refuse("expected a table of nccl-tests with rows, found none: the log is cut off");
    return std::move(batches_);
  }

 private:
  tl::unexpected<Error> refuse(const std::string& why) const {
    return invalid(fmt::format("{}:{}: {}", name_, number_, why));
  }

  Status comment(std::string_view text) {
    if (text.starts_with("nThread") && !batch_.links.empty()) TRY(close());
    if (const std::size_t at = text.find("nccl-library="); at != std::string_view::npos) {
      const std::string_view version = text.substr(at + 13);
      library_ = version.substr(0, version.find_first_of(" \t"));
    }
    if (const Program* program = program_in(text)) program_ = program;
    if (text.starts_with("Rank ")) return rank(text);
    if (text.starts_with("Out of bounds values") && text.ends_with("FAILED"))
      return refuse("the collective gave wrong values, so its times mean nothing");
    if (text.starts_with("Out of bounds values")) concluded_ = true;
    const std::vector<std::string_view> words = words_of(text);
    if (!words.empty() && words[0] == "size") return header(words);
    return {};
  }

  // Rank  0 Group  0 Pid  123 on  host device  0 [0x07] NVIDIA H100 80GB HBM3
  Status rank(std::string_view text) {
    const std::size_t on = text.find(" on ");
    const std::size_t device = text.rfind(" device ");
    const std::size_t bracket = text.rfind("] ");
    if (on == std::string_view::npos || device == std::string_view::npos ||
        bracket == std::string_view::npos || device < on + 4)
      return refuse("expected a rank with host and device");
    if (!batch_.links.empty()) TRY(close());
    ++hosts_[std::string(trimmed(text.substr(on + 4, device - on - 4)))];
    ++devices_[std::string(trimmed(text.substr(bracket + 2)))];
    return {};
  }

  Status header(const std::vector<std::string_view>& words) {
    columns_ = {};
    columns_.count = words.size();
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] == "type") columns_.type = i;
      if (words[i] == "time" && i + 2 < words.size()) columns_.times.push_back(i);
    }
    if (columns_.times.empty() || columns_.type >= words.size())
      return refuse("expected columns \"type\" and \"time\" (device times), found none");
    return {};
  }

  Status row(const std::vector<std::string_view>& words) {
    if (words.size() < columns_.count)
      return refuse(fmt::format("expected {} columns, found {}", columns_.count, words.size()));
    const std::optional<double> bytes = number_in(words[0]);
    if (!bytes || *bytes < 0) return refuse("size: expected a number of bytes");
    if (*bytes == 0) return {};
    if (program_ == nullptr) {
      return refuse(
          "the log does not say which collective ran; call the file after its program, such as "
          "all_reduce_perf.log");
    }
    const int ranks = TRY(ranks_of_log());
    for (std::size_t i = 0; i < columns_.times.size(); ++i) {
      const std::size_t at = columns_.times[i];
      if (words[at] == "N/A") continue;
      const std::optional<double> time = number_in(words[at]);
      const std::optional<double> rate = number_in(words[at + 1]);
      const std::optional<double> bus = number_in(words[at + 2]);
      if (!time || !rate || !bus || *time <= 0)
        return refuse("expected time, algbw and busbw as numbers");
      TRY(check_ratio(*rate, *bus, ranks));
      LinkMeasurement link;
      link.what = program_->what;
      link.ranks = ranks;
      link.ranks_per_node = per_node();
      link.bytes = *bytes * byte;
      link.dtype = words[columns_.type];
      link.method = "nccl";
      link.in_place = i > 0;
      link.time = *time * us;
      batch_.links.push_back({link, {}});
    }
    return {};
  }

  // Two printed decimals bound what the ratio may be.
  Status check_ratio(double rate, double bus, int ranks) const {
    const double wanted = bus_share(program_->what, ranks);
    const double slack = 0.006 * (1 + wanted);
    if (bus > wanted * rate + slack || bus < wanted * rate - slack) {
      const double relative = rate > 0 ? bus / rate : 0;
      if (relative > 0.99 * wanted && relative < 1.01 * wanted) return {};
      return refuse(fmt::format("busbw / algbw: expected {:.3f} of {} on {} ranks, found {:.3f}",
                                wanted, program_->name, ranks, relative));
    }
    return {};
  }

  Result<int> ranks_of_log() const {
    int ranks = 0;
    for (const auto& [host, count] : hosts_) ranks += count;
    if (ranks == 0) {
      if (hints_.ranks) return *hints_.ranks;
      return refuse("the log does not list its ranks; --ranks N says how many there were");
    }
    if (hints_.ranks && *hints_.ranks != ranks)
      return refuse(fmt::format("--ranks {}: the log lists {}", *hints_.ranks, ranks));
    return ranks;
  }

  int per_node() const {
    int each = 0;
    for (const auto& [host, count] : hosts_) {
      if (each != 0 && each != count) return 0;
      each = count;
    }
    return each;
  }

  Status close() {
    if (!batch_.links.empty()) {
      if (devices_.size() > 1) return refuse("expected ranks on one kind of device, found several");
      if (!devices_.empty()) batch_.machine.device = devices_.begin()->first;
      batch_.machine.chip = chip_of_device(batch_.machine.device);
      if (!library_.empty()) batch_.machine.libraries = fmt::format("nccl {}", library_);
      batch_.origin.kind = "nccl-tests";
      batch_.origin.part = batches_.empty() ? "" : fmt::format("{}", batches_.size() + 1);
      batches_.push_back(std::move(batch_));
    }
    batch_ = {};
    hosts_.clear();
    devices_.clear();
    columns_ = {};
    return {};
  }

  const std::string& name_;
  const ImportHints& hints_;
  int number_ = 0;
  const Program* program_ = nullptr;
  std::string library_;
  bool concluded_ = false;
  std::map<std::string, int> hosts_;
  std::map<std::string, int> devices_;
  Columns columns_;
  Batch batch_;
  std::vector<Batch> batches_;
};

}  // namespace

Result<std::vector<Batch>> read_nccl_tests(std::string_view text, const std::string& name,
                                           const ImportHints& hints) {
  return read_lines(text, Reader(name, hints));
}

}  // namespace narrows
