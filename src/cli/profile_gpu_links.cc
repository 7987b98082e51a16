// SPDX-License-Identifier: Apache-2.0
#include "cli/profile_gpu_links.h"

#include <fmt/format.h>

#include "base/text.h"
#include "measurement/link_rates.h"

namespace narrows {
namespace {

std::string size_text(Bytes bytes) {
  if (bytes >= 1 * MiB) return fmt::format("{:.4g} MiB", bytes / MiB);
  return bytes >= 1 * KiB ? fmt::format("{:.4g} KiB", bytes / KiB)
                          : fmt::format("{:.0f} B", bytes / byte);
}

bool is_copy(const LinkMeasurement& link) { return link.ranks == 1; }

std::string line_of(const LinkMeasurement& link) {
  constexpr Bandwidth kGigabytes = 1 * GB / sec;
  const double rate = algorithm_bandwidth(link) / kGigabytes;
  const std::string size = size_text(link.bytes);
  if (is_copy(link))
    return fmt::format("{:16}{:>12}{:>12.1f} us{:>9.2f} GB/s\n", link.method, size, link.time / us,
                       rate);
  return fmt::format("{:16}{:>12}{:>12.1f} us{:>9.2f} GB/s, {:.2f} on the bus\n",
                     fmt::format("{} of {}", to_string(link.what), link.ranks), size,
                     link.time / us, rate, bus_bandwidth(link) / kGigabytes);
}

}  // namespace

void LargestLinks::add(const LinkMeasurement& link) {
  const std::string key = fmt::format("{:04} {} {}", link.ranks, link.method, to_string(link.what));
  const auto at = links_.find(key);
  if (at == links_.end() || at->second.bytes < link.bytes) links_[key] = link;
}

std::string LargestLinks::text() const {
  std::string out;
  for (const auto& [key, link] : links_) out += line_of(link);
  return out;
}

std::string text_of(const GpuLinkSummary& done) {
  std::string out = fmt::format(
      "{} of {} copies and messages among {} timed in {:.0f} s, {} known "
      "before\n",
      with_commas(done.measured), with_commas(done.cases - done.known),
      done.gpus == 1 ? "1 GPU" : fmt::format("{} GPUs", done.gpus), done.elapsed / sec,
      with_commas(done.known));
  if (!done.no_collectives.empty())
    out += fmt::format("no collectives timed: {}\n", done.no_collectives);
  return out;
}

}  // namespace narrows
