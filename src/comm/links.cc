// SPDX-License-Identifier: Apache-2.0
#include "comm/links.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace narrows {
namespace {

Result<LinkLevel*> level_named(std::string_view name, std::vector<LinkLevel>& levels) {
  std::string known;
  for (LinkLevel& level : levels) {
    if (level.name == name) return &level;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", level.name);
  }
  return invalid(fmt::format("expected a level of the cluster's links ({}), found \"{}\"",
                             known.empty() ? "it has none" : known, name));
}

Status set_figure(std::string_view text, LinkLevel& level) {
  if (const Result<Bandwidth> bandwidth = parse_bandwidth(text)) {
    level.bandwidth = *bandwidth;
    if (level.bandwidth > Bandwidth{}) return {};
  } else if (const Result<Seconds> latency = parse_seconds(text)) {
    level.latency = *latency;
    return {};
  }
  return invalid(
      fmt::format("{}: expected a bandwidth such as \"25 GB/s\" or a latency such as \"5 us\", "
                  "found \"{}\"",
                  level.name, text));
}

}  // namespace

Status emulate_link(const std::string& text, std::vector<LinkLevel>& levels) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    return invalid(fmt::format("expected LEVEL=BANDWIDTH,LATENCY, found \"{}\"", text));
  }
  LinkLevel* const level = TRY(level_named(std::string_view(text).substr(0, equals), levels));
  std::string_view rest = std::string_view(text).substr(equals + 1);
  for (;;) {
    const std::size_t comma = rest.find(',');
    TRY(set_figure(rest.substr(0, comma), *level));
    if (comma == std::string_view::npos) return {};
    rest.remove_prefix(comma + 1);
  }
}

int ranks_per_node(const std::vector<LinkLevel>& levels) {
  for (const LinkLevel& level : levels) {
    if (level.group > 1) return level.group;
  }
  return 1;
}

Links::Links(std::vector<LinkLevel> levels, int ranks) : levels_(std::move(levels)) {
  const std::vector<Port> ports(static_cast<std::size_t>(ranks));
  ports_.assign(levels_.size(), ports);
  for (const LinkLevel& level : levels_) {
    slow_ = slow_ || level.bandwidth > Bandwidth{} || level.latency > Seconds{};
  }
}

std::int64_t Links::arrival(int from, int to, std::size_t bytes, std::int64_t now) {
  if (!slow_ || from == to) return now;
  for (std::size_t l = 0; l < levels_.size(); ++l) {
    const LinkLevel& level = levels_[l];
    if (from / level.group != to / level.group && l + 1 < levels_.size()) continue;
    const std::int64_t latency = round_up(level.latency).ns;
    if (!(level.bandwidth > Bandwidth{})) return now + latency;
    const std::int64_t duration = round_up(static_cast<double>(bytes) * byte / level.bandwidth).ns;
    const std::lock_guard<std::mutex> lock(mutex_);
    std::int64_t& out = ports_[l][static_cast<std::size_t>(from)].out_free;
    std::int64_t& in = ports_[l][static_cast<std::size_t>(to)].in_free;
    const std::int64_t end = std::max({now, out, in}) + duration;
    out = in = end;
    return end + latency;
  }
  return now;
}

}  // namespace narrows
