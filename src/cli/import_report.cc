// SPDX-License-Identifier: Apache-2.0
#include "cli/import_report.h"

#include <fmt/format.h>

#include "base/text.h"

namespace narrows {
namespace {

constexpr std::size_t kShownReasons = 8;

std::string device_words(const Machine& machine) {
  if (machine.device.empty() && machine.chip.empty()) return "of an unknown chip";
  if (machine.device.empty()) return "on " + machine.chip;
  return fmt::format("on {} ({})", machine.device,
                     machine.chip.empty() ? "of an unknown chip" : machine.chip);
}

std::string added_words(const Added& added) {
  if (added.known > 0 && added.kernels + added.links == 0)
    return counted(added.known, "row") + " the store had already";
  std::string words = counted(added.kernels, "kernel") + ", " + counted(added.links, "link");
  if (added.known > 0) words += ", " + counted(added.known, "row") + " it had already";
  return words;
}

std::string unread_words(const std::vector<Unread>& unread) {
  if (unread.empty()) return "";
  std::int64_t count = 0;
  Seconds time;
  for (const Unread& left : unread) {
    count += left.count;
    time += left.time;
  }
  const auto line = [](const Unread& left) {
    const std::string took =
        left.time > Seconds() ? fmt::format("{:>10.3f} ms", left.time / ms) : "             ";
    return fmt::format("    {:>8} {}  {}\n", with_commas(left.count), took, left.why);
  };
  std::string words = fmt::format("  not understood: {}{}\n", with_commas(count),
                                  time > Seconds() ? fmt::format(", {:.3f} ms", time / ms) : "");
  for (std::size_t i = 0; i < unread.size() && i < kShownReasons; ++i) words += line(unread[i]);
  if (unread.size() > kShownReasons)
    words +=
        fmt::format("    and {} reasons more (--json lists them)\n", unread.size() - kShownReasons);
  return words;
}

Json added_json(const Added& added) {
  Json object = Json::object();
  object.set("kernels", added.kernels).set("links", added.links).set("known", added.known);
  return object;
}

Json batch_json(const Batch& batch, const Added& added) {
  Json object = added_json(added);
  object.set("device", batch.machine.device).set("chip", batch.machine.chip);
  Json unread = Json::array();
  for (const Unread& left : batch.unread) {
    Json reason = Json::object();
    reason.set("why", left.why).set("count", left.count).set("seconds", left.time / sec);
    unread.push(std::move(reason));
  }
  object.set("unread", std::move(unread));
  return object;
}

}  // namespace

std::string counted(std::int64_t n, const char* what) {
  return fmt::format("{} {}{}", with_commas(n), what, n == 1 ? "" : "s");
}

ImportReport report_of(std::span<const ReadFile> files, std::span<const Added> added) {
  ImportReport report;
  std::size_t stores_from = 0;
  for (const ReadFile& file : files) stores_from += file.batches.size();
  std::size_t next = 0;
  for (const ReadFile& file : files) {
    Json entry = Json::object();
    entry.set("file", file.path).set("kind", to_string(file.kind));
    Json batches = Json::array();
    for (const Batch& batch : file.batches) {
      report.text += fmt::format("{}: {} {}: {}\n", file.path, to_string(file.kind),
                                 device_words(batch.machine), added_words(added[next]));
      report.text += unread_words(batch.unread);
      batches.push(batch_json(batch, added[next++]));
    }
    if (file.store) {
      const Added& of_store = added[stores_from + *file.store];
      report.text +=
          fmt::format("{}: {}: {}\n", file.path, to_string(file.kind), added_words(of_store));
      batches.push(added_json(of_store));
    }
    if (!file.words.empty()) {
      report.text += fmt::format("{}: {}\n", file.path, file.words);
      entry.set("words", file.words);
    }
    entry.set("batches", std::move(batches));
    report.files.push(std::move(entry));
  }
  return report;
}

std::string unknown_chips(std::span<const ReadFile> files) {
  std::string words;
  for (const ReadFile& file : files) {
    for (const Batch& batch : file.batches) {
      if (!batch.machine.chip.empty()) continue;
      words += fmt::format(
          "{}: no profile is known for {}: plans cannot use it; --chip NAME says which it is\n",
          file.path,
          batch.machine.device.empty() ? "its chip" : "\"" + batch.machine.device + "\"");
      break;
    }
  }
  return words;
}

}  // namespace narrows
