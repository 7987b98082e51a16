// Nsight Systems' SQLite export holds kernels (CUPTI_ACTIVITY_KIND_KERNEL), the calls that launched
// them (CUPTI_ACTIVITY_KIND_RUNTIME, by correlation id), ranges on threads (NVTX_EVENTS) and names
// (StringIds); tables and some columns are there only if something was recorded. PyTorch's ranges
// read "aten::mm, seq = 12, op_id = 34, sizes = [[4096, 7168], [7168, 2112]], input_op_ids = …".
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <map>

#include "store/database.h"
#include "store/device_names.h"
#include "store/foreign_logs.h"
#include "store/lines.h"
#include "store/trace.h"

namespace narrows {
namespace {

// The number after "key = ".
std::int64_t number_after(std::string_view text, std::string_view key) {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return -1;
  text = text.substr(at + key.size());
  const double value =
      number_in(text.substr(0, std::min(text.find(','), text.size()))).value_or(-1);
  return value >= 0 && value < 9e15 ? static_cast<std::int64_t>(value) : -1;
}

// "[[4096, 7168], [], [7168, 2112]]" up to its closing bracket; empty if it is malformed.
std::vector<std::vector<std::int64_t>> sizes_in(std::string_view text) {
  std::vector<std::vector<std::int64_t>> sizes;
  int depth = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '[') {
      if (++depth == 2) sizes.emplace_back();
      if (depth > 2) return {};
      ++at;
    } else if (c == ']') {
      if (--depth == 0) return sizes;
      ++at;
    } else if (c >= '0' && c <= '9' && depth == 2) {
      const std::size_t end = std::min(text.find_first_of(",] ", at), text.size());
      const std::optional<double> extent = number_in(text.substr(at, end - at));
      if (!extent || *extent > static_cast<double>(kLongestExtent)) return {};
      sizes.back().push_back(static_cast<std::int64_t>(*extent));
      at = end;
    } else if (c == ',' || c == ' ') {
      ++at;
    } else {
      return {};
    }
  }
  return {};
}

TraceOp op_of_range(std::string_view text) {
  TraceOp op;
  op.op.name = text.substr(0, std::min(text.find(", "), text.size()));
  op.sequence = number_after(text, "seq = ");
  const std::size_t sizes = text.find("sizes = ");
  if (sizes != std::string_view::npos) op.op.sizes = sizes_in(text.substr(sizes + 8));
  return op;
}

Status read_ranges(const Database& report, Trace& trace) {
  if (!TRY(report.has_table("NVTX_EVENTS"))) return {};
  const bool by_id = TRY(report.has_column("NVTX_EVENTS", "textId"));
  Statement rows = TRY(report.prepare(
      by_id ? "SELECT n.start,n.end,n.globalTid,coalesce(n.text,s.value) FROM NVTX_EVENTS n LEFT "
              "JOIN StringIds s ON s.id=n.textId WHERE n.end>n.start"
            : "SELECT start,end,globalTid,text FROM NVTX_EVENTS WHERE end>start"));
  while (TRY(rows.step())) {
    const std::string_view text = rows.text(3);
    if (!text.starts_with("aten::") && text.find("Backward") == std::string_view::npos) continue;
    TraceOp op = op_of_range(text);
    op.start = rows.integer(0);
    op.end = rows.integer(1);
    op.thread = rows.integer(2);
    trace.ops.push_back(std::move(op));
  }
  return {};
}

// Correlation ids count within a process; globalTid holds the process above its lowest 24 bits.
using Correlation = std::pair<std::int64_t, std::int64_t>;
std::int64_t process_of(std::int64_t global_tid) { return global_tid >> 24; }

Status read_kernels(const Database& report, Trace& trace, std::vector<Launch>& launches) {
  const bool per_process = TRY(report.has_column("CUPTI_ACTIVITY_KIND_KERNEL", "globalPid"));
  const bool demangled = TRY(report.has_column("CUPTI_ACTIVITY_KIND_KERNEL", "demangledName"));
  Statement rows = TRY(report.prepare(fmt::format(
      "SELECT k.start,k.end,k.deviceId,k.streamId,k.correlationId,{},s.value FROM "
      "CUPTI_ACTIVITY_KIND_KERNEL k LEFT JOIN StringIds s ON s.id=k.{} ORDER BY k.start",
      per_process ? "k.globalPid" : "0", demangled ? "demangledName" : "shortName")));
  std::map<Correlation, std::size_t> by_launch;
  while (TRY(rows.step())) {
    TraceKernel kernel;
    kernel.start = rows.integer(0);
    kernel.end = rows.integer(1);
    kernel.device = rows.integer(2);
    kernel.stream = rows.integer(3);
    kernel.name = rows.text(6);
    if (kernel.end < kernel.start) continue;
    by_launch[{process_of(rows.integer(5)), rows.integer(4)}] = trace.kernels.size();
    trace.kernels.push_back(std::move(kernel));
  }
  // cuBLASLt and Triton launch by the driver's calls, which some versions put into a table of their
  // own.
  for (const char* table : {"CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_DRIVER"}) {
    if (!TRY(report.has_table(table))) continue;
    Statement calls =
        TRY(report.prepare(fmt::format("SELECT correlationId,globalTid,start FROM {}", table)));
    while (TRY(calls.step())) {
      const std::int64_t process = per_process ? process_of(calls.integer(1)) : 0;
      const auto kernel = by_launch.find({process, calls.integer(0)});
      if (kernel != by_launch.end())
        launches.push_back({kernel->second, calls.integer(1), calls.integer(2)});
    }
  }
  return {};
}

Result<std::string> device_of(const Database& report) {
  if (!TRY(report.has_table("TARGET_INFO_GPU"))) return std::string();
  Statement rows = TRY(report.prepare("SELECT DISTINCT name FROM TARGET_INFO_GPU ORDER BY name"));
  std::string device;
  while (TRY(rows.step())) {
    if (!device.empty()) return std::string();  // several kinds: nobody knows which
    device = rows.text(0);
  }
  return device;
}

}  // namespace

Result<std::vector<Batch>> read_nsight(const std::string& path, const ImportHints&) {
  const Database report = TRY(Database::open(path, Database::Mode::ReadOnly));
  if (!TRY(report.has_table("CUPTI_ACTIVITY_KIND_KERNEL"))) {
    return invalid(fmt::format(
        "{}: expected kernels in the report (CUPTI_ACTIVITY_KIND_KERNEL), found none: was CUDA "
        "traced?",
        path));
  }
  Trace trace;
  std::vector<Launch> launches;
  TRY(read_ranges(report, trace));
  TRY(read_kernels(report, trace, launches));
  tie(trace, std::move(launches));
  Batch batch;
  batch.machine.device = TRY(device_of(report));
  batch.machine.chip = chip_of_device(batch.machine.device);
  batch.origin.kind = "nsight-systems";
  describe(trace, batch);
  std::vector<Batch> batches;
  batches.push_back(std::move(batch));
  return batches;
}

}  // namespace narrows
