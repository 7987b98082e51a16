// SPDX-License-Identifier: Apache-2.0
#include "store/import.h"

#include <fmt/format.h>

#include <cstring>
#include <map>

#include "base/random.h"
#include "measurement/table_text.h"
#include "store/database.h"
#include "store/json_scan.h"
#include "store/lines.h"
#include "store/schema.h"

namespace narrows {
namespace {

// How much of a file is looked at to tell what it is.
constexpr std::size_t kHead = 64 << 10;

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// A trace may begin with much else, and may be cut off.
ForeignKind recognise_json(std::string_view text) {
  const std::string name;
  Result<JsonScan> scan = JsonScan::of(text, name);
  if (!scan) return ForeignKind::Unknown;
  if (!scan->is_object()) {
    const Result<bool> first = scan->next();
    const bool event = has(text.substr(0, kHead), "\"ph\"");
    return (!first || *first) && event ? ForeignKind::PytorchTrace : ForeignKind::Unknown;
  }
  for (;;) {
    const Result<bool> more = scan->next();
    if (scan->key() == "traceEvents") return ForeignKind::PytorchTrace;
    if (scan->key() == "model_type" || scan->key() == "architectures")
      return ForeignKind::ModelConfig;
    if (!more || !*more) return ForeignKind::Unknown;
  }
}

ForeignKind recognise_lines(std::string_view text) {
  std::string_view rest = text.substr(0, kHead);
  std::string_view line;
  while (next_line(rest, line)) {
    const std::string_view plain = trimmed(line);
    const std::vector<std::string_view> words = words_of(plain);
    if (has(plain, "# OSU ")) return ForeignKind::Osu;
    if (has(plain, "# nccl-tests version") || has(plain, "# nThread "))
      return ForeignKind::NcclTests;
    if (words.size() > 5 && words[0] == "#" && words[1] == "size" && words[2] == "count")
      return ForeignKind::NcclTests;
    if (plain.starts_with("# narrows profile")) return ForeignKind::Timings;
    if (plain.starts_with("family,")) return ForeignKind::KernelTable;
    if (plain.starts_with('#') || !has(plain, ",")) continue;
    const std::string columns = "," + std::string(plain) + ",";
    if (has(columns, ",op,") && (has(columns, ",us,") || has(columns, ",us_median,")))
      return ForeignKind::Timings;
    return ForeignKind::Unknown;
  }
  return ForeignKind::Unknown;
}

// Rows of hwprofiles/kernels' form, a batch for each chip and source.
Result<std::vector<Batch>> read_kernel_table(std::string_view text, const std::string& name,
                                             const ImportHints& hints) {
  std::vector<Measurement> rows;
  std::vector<MeasuredChip> chips;
  TRY(read_table(text, name, rows, chips));
  if (rows.empty()) return invalid(fmt::format("{}: expected rows of kernels, found none", name));
  std::map<std::pair<std::string, std::string>, Batch> batches;
  for (Measurement& row : rows) {
    if (!hints.chip.empty() && hints.chip != row.chip)
      return invalid(fmt::format("--chip {}: {} has rows of {}", hints.chip, name, row.chip));
    Batch& batch = batches[{row.chip, row.source}];
    batch.machine.chip = row.chip;
    batch.origin.kind = "kernel-table";
    batch.origin.part = row.source;
    batch.kernels.push_back({std::move(row), {}, ""});
  }
  std::vector<Batch> result;
  for (auto& [key, batch] : batches) result.push_back(std::move(batch));
  return result;
}

Result<std::vector<Batch>> read_batches(ForeignKind kind, std::string_view text,
                                        const std::string& path, const ImportHints& hints) {
  switch (kind) {
    case ForeignKind::NcclTests:
      return read_nccl_tests(text, path, hints);
    case ForeignKind::Osu:
      return read_osu(text, path, hints);
    case ForeignKind::PytorchTrace:
      return read_pytorch_trace(text, path, hints);
    case ForeignKind::Nsight:
      return read_nsight(path, hints);
    case ForeignKind::Timings:
      return read_timings(text, path, hints);
    case ForeignKind::KernelTable:
      return read_kernel_table(text, path, hints);
    default:
      return invalid(fmt::format("{}: no log of measurements", path));
  }
}

}  // namespace

std::string to_string(ForeignKind kind) {
  switch (kind) {
    case ForeignKind::Unknown:
      return "unknown";
    case ForeignKind::NcclTests:
      return "nccl-tests log";
    case ForeignKind::Osu:
      return "OSU micro-benchmarks log";
    case ForeignKind::PytorchTrace:
      return "PyTorch profiler trace";
    case ForeignKind::Nsight:
      return "Nsight Systems report";
    case ForeignKind::Store:
      return "store of measurements";
    case ForeignKind::Timings:
      return "table of timings";
    case ForeignKind::KernelTable:
      return "kernel table";
    case ForeignKind::TopologyMatrix:
      return "nvidia-smi topology";
    case ForeignKind::NcclTopology:
      return "NCCL topology";
    case ForeignKind::ModelConfig:
      return "model config";
    case ForeignKind::Compressed:
      return "compressed file";
  }
  return "";
}

bool is_sqlite(std::string_view text) {
  return text.starts_with(std::string_view("SQLite format 3\0", 16));
}

ForeignKind recognise(std::string_view text) {
  if (text.starts_with("\x1f\x8b") || text.starts_with("PK\x03\x04") ||
      text.starts_with("\x28\xb5\x2f\xfd"))
    return ForeignKind::Compressed;
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return ForeignKind::Unknown;
  if (text[first] == '{' || text[first] == '[') return recognise_json(text.substr(first));
  if (text[first] == '<')
    return is_nccl_topology(text) ? ForeignKind::NcclTopology : ForeignKind::Unknown;
  if (is_topology_matrix(text)) return ForeignKind::TopologyMatrix;
  return recognise_lines(text);
}

Result<ForeignKind> recognise_database(const std::string& path) {
  const Database database = TRY(Database::open(path, Database::Mode::ReadOnly));
  if (TRY(is_store(database))) return ForeignKind::Store;
  const bool strings = TRY(database.has_table("StringIds"));
  const bool kernels = TRY(database.has_table("CUPTI_ACTIVITY_KIND_KERNEL"));
  if (strings || kernels) return ForeignKind::Nsight;
  return invalid(fmt::format(
      "{}: expected a store of measurements or an Nsight Systems report, found another SQLite "
      "database",
      path));
}

std::string content_hash(std::string_view content) {
  std::uint64_t hash = mix(content.size() + 1);
  while (!content.empty()) {
    std::uint64_t word = 0;
    const std::size_t count = std::min<std::size_t>(8, content.size());
    for (std::size_t i = 0; i < count; ++i)
      word |= std::uint64_t{static_cast<unsigned char>(content[i])} << (8 * i);
    hash = mix(hash ^ word) + 0x9E3779B97F4A7C15ull;
    content.remove_prefix(count);
  }
  return fmt::format("{:016x}", hash);
}

Result<std::vector<Batch>> read_log(ForeignKind kind, std::string_view text,
                                    const std::string& path, const ImportHints& hints,
                                    const std::string& date) {
  std::vector<Batch> batches = TRY(read_batches(kind, text, path, hints));
  const std::string hash = content_hash(text);
  for (Batch& batch : batches) {
    if (!hints.chip.empty() && !batch.machine.chip.empty() && batch.machine.chip != hints.chip) {
      return invalid(fmt::format("--chip {}: {} was taken on {} ({})", hints.chip, path,
                                 batch.machine.chip, batch.machine.device));
    }
    if (batch.machine.chip.empty()) batch.machine.chip = hints.chip;
    batch.origin.name = path.substr(path.rfind('/') + 1);
    batch.origin.hash = hash;
    batch.origin.date = date;
  }
  return batches;
}

}  // namespace narrows
