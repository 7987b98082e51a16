// OSU micro-benchmarks print a title ("# OSU MPI-CUDA Allreduce Latency Test v7.4"), a header whose
// columns are named "Avg Latency(us)", "Bandwidth (MB/s)" and so on, and a row a size. A size is
// what one rank gives to one other: an all-gather gathers ranks times as much, an all-to-all sends
// ranks times as much; osu_reduce_scatter counts the whole buffer.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "store/foreign_logs.h"
#include "store/lines.h"

namespace narrows {
namespace {

enum class Size { Buffer, EachRank };

struct Test {
  std::string_view title;  // without "# OSU MPI…" and version
  CollectiveKind what;
  Size size;
  bool pair;
  bool rate;  // MB/s instead of us
};

constexpr std::array<Test, 9> kTests{{
    {"Latency Test", CollectiveKind::SendRecv, Size::Buffer, true, false},
    {"Bandwidth Test", CollectiveKind::SendRecv, Size::Buffer, true, true},
    {"Broadcast Latency Test", CollectiveKind::Broadcast, Size::Buffer, false, false},
    {"Allreduce Latency Test", CollectiveKind::AllReduce, Size::Buffer, false, false},
    {"Allgather Latency Test", CollectiveKind::AllGather, Size::EachRank, false, false},
    {"Reduce_scatter Latency Test", CollectiveKind::ReduceScatter, Size::Buffer, false, false},
    {"Alltoall Latency Test", CollectiveKind::AllToAll, Size::EachRank, false, false},
    {"All-to-All Personalized Exchange Latency Test", CollectiveKind::AllToAll, Size::EachRank,
     false, false},
    {"All-to-All Latency Test", CollectiveKind::AllToAll, Size::EachRank, false, false},
}};

// "OSU MPI-CUDA Allreduce Latency Test v7.4": what stands after the first two words and before the
// version, "(Version 2.0)" in old ones.
std::string_view test_title(std::string_view title) {
  title.remove_prefix(std::min(title.find(' ', 4), title.size()));
  title = title.substr(0, title.find(" (Version"));
  const std::size_t version = title.rfind(" v");
  if (version != std::string_view::npos && version + 2 < title.size() &&
      std::isdigit(static_cast<unsigned char>(title[version + 2])) != 0)
    title = title.substr(0, version);
  return trimmed(title);
}

const Test* test_of(std::string_view title) {
  for (const Test& test : kTests) {
    if (test.title == title) return &test;
  }
  return nullptr;
}

class Reader {
 public:
  Reader(const std::string& name, const ImportHints& hints) : name_(name), hints_(hints) {}

  Status line(std::string_view text) {
    ++number_;
    text = trimmed(without_label(text));
    if (text.starts_with('#')) {
      text = trimmed(text.substr(1));
      if (text.starts_with("OSU ")) return title(text);
      if (test_ != nullptr && text.starts_with("Size")) return header(text);
      return {};
    }
    const bool digits = !text.empty() && text.front() >= '0' && text.front() <= '9';
    return digits && columns_ > 0 ? row(words_of(text)) : Status{};
  }

  Result<std::vector<Batch>> finish() {
    TRY(close());
    if (!batches_.empty()) {
      batches_.front().unread = std::move(unread_);
      return std::move(batches_);
    }
    if (unread_.empty())
      return refuse("expected a table of an OSU test with rows, found none: the log is cut off");
    return unsupported(fmt::format("{}: {}", name_, unread_.front().why));
  }

 private:
  tl::unexpected<Error> refuse(const std::string& why) const {
    return invalid(fmt::format("{}:{}: {}", name_, number_, why));
  }

  Status title(std::string_view text) {
    TRY(close());
    const std::string_view words = test_title(text);
    test_ = test_of(words);
    const std::size_t second = text.find(' ', 4);
    program_ = text.substr(0, std::min(second, text.size()));
    if (test_ == nullptr) {
      // Others of the same log may be of use.
      unread_.push_back(
          {fmt::format("\"{}\" is an OSU test that narrows does not use", words.substr(0, 80)),
           1,
           {}});
      return {};
    }
    if (test_->pair && hints_.ranks.value_or(2) != 2)
      return refuse(fmt::format("--ranks {}: a test of a pair has two", *hints_.ranks));
    if (!test_->pair && !hints_.ranks) {
      return refuse(
          "OSU's output does not say how many ranks took part; --ranks N says how many there were");
    }
    return {};
  }

  // "Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)  Iterations": names end with
  // their unit, so columns are counted by what stands in brackets.
  Status header(std::string_view text) {
    const std::string_view unit = test_->rate ? "(MB/s)" : "(us)";
    const std::size_t first = text.find('(');
    if (first == std::string_view::npos || text.substr(first, unit.size()) != unit)
      return refuse(fmt::format("expected a first column in {}", unit));
    columns_ = 2;
    return {};
  }

  Status row(const std::vector<std::string_view>& words) {
    const std::optional<double> size = number_in(words[0]);
    const std::optional<double> value = words.size() > 1 ? number_in(words[1]) : std::nullopt;
    if (!size || !value || *value <= 0) return refuse("expected a size and a number above 0");
    if (*size == 0) return {};  // an empty message is no measurement of bytes
    LinkMeasurement link;
    link.what = test_->what;
    link.ranks = test_->pair ? 2 : *hints_.ranks;
    link.bytes = *size * (test_->size == Size::EachRank ? link.ranks : 1) * byte;
    link.method = "mpi";
    link.streamed = test_->rate;
    link.time = test_->rate ? (*size * byte) / (*value * MB / sec) : *value * us;
    batch_.links.push_back({link, {}});
    return {};
  }

  Status close() {
    if (!batch_.links.empty()) {
      batch_.machine.chip = hints_.chip;
      batch_.machine.libraries = program_ == "OSU MPI" ? "" : program_;
      batch_.origin.kind = "osu";
      batch_.origin.part = batches_.empty() ? "" : fmt::format("{}", batches_.size() + 1);
      batches_.push_back(std::move(batch_));
    }
    batch_ = {};
    columns_ = 0;
    return {};
  }

  const std::string& name_;
  const ImportHints& hints_;
  int number_ = 0;
  const Test* test_ = nullptr;
  std::string program_;
  std::size_t columns_ = 0;
  Batch batch_;
  std::vector<Batch> batches_;
  std::vector<Unread> unread_;
};

}  // namespace

Result<std::vector<Batch>> read_osu(std::string_view text, const std::string& name,
                                    const ImportHints& hints) {
  return read_lines(text, Reader(name, hints));
}

}  // namespace narrows
