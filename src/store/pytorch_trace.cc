// The PyTorch profiler writes Chrome trace events: operators ("cat": "cpu_op") with the sizes and
// types of their inputs if it was asked to record shapes, and kernels ("cat": "kernel") that name
// the operator which launched them ("External id"). Names of members have changed over the
// versions; both spellings are read. Times are in microseconds, with a fraction.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <map>

#include "base/json.h"
#include "store/device_names.h"
#include "store/foreign_logs.h"
#include "store/json_scan.h"
#include "store/lines.h"
#include "store/trace.h"

namespace narrows {
namespace {

const Json* either(const Json& object, std::string_view first, std::string_view second) {
  const Json* found = object.find(first);
  return found != nullptr ? found : object.find(second);
}

double number_or(const Json* node, double otherwise) {
  if (node == nullptr) return otherwise;
  if (node->is_number()) return node->number();
  return node->is_string() ? number_in(node->string()).value_or(otherwise) : otherwise;
}

// A whole number that is no more than a count or an id.
std::int64_t whole_or(const Json* node, std::int64_t otherwise) {
  const double value = number_or(node, static_cast<double>(otherwise));
  return value >= -1 && value < 9e15 ? static_cast<std::int64_t>(value) : otherwise;
}

// A number, or the words in its place: as a key.
std::string words_of_node(const Json* node) {
  if (node == nullptr) return "";
  return node->is_string() ? node->string() : node->compact();
}

std::vector<std::vector<std::int64_t>> sizes_of(const Json* node) {
  std::vector<std::vector<std::int64_t>> sizes;
  if (node == nullptr || !node->is_array()) return sizes;
  for (const Json& input : node->items()) {
    std::vector<std::int64_t>& extents = sizes.emplace_back();
    if (!input.is_array()) continue;
    for (const Json& extent : input.items()) {
      // A list of tensors has sizes of sizes: no operator that is read takes one.
      const std::int64_t length = extent.kind() == Json::Kind::Integer ? extent.integer() : 0;
      extents.push_back(length > 0 && length <= kLongestExtent ? length : 0);
    }
  }
  return sizes;
}

std::vector<std::string> strings_of(const Json* node) {
  std::vector<std::string> strings;
  if (node == nullptr || !node->is_array()) return strings;
  for (const Json& item : node->items()) strings.push_back(item.is_string() ? item.string() : "");
  return strings;
}

struct CollectiveName {
  std::string_view name;
  CollectiveKind what;
  bool of_output;  // CollectiveShape counts what is received
};
constexpr std::array<CollectiveName, 12> kCollectives{{
    {"allreduce", CollectiveKind::AllReduce, false},
    {"all_reduce", CollectiveKind::AllReduce, false},
    {"allgather", CollectiveKind::AllGather, true},
    {"all_gather", CollectiveKind::AllGather, true},
    {"_allgather_base", CollectiveKind::AllGather, true},
    {"allgather_into_tensor_coalesced", CollectiveKind::AllGather, true},
    {"reduce_scatter", CollectiveKind::ReduceScatter, false},
    {"_reduce_scatter_base", CollectiveKind::ReduceScatter, false},
    {"reduce_scatter_tensor_coalesced", CollectiveKind::ReduceScatter, false},
    {"all_to_all", CollectiveKind::AllToAll, false},
    {"all_to_allv", CollectiveKind::AllToAll, false},
    {"broadcast", CollectiveKind::Broadcast, false},
}};

int bytes_of_dtype(std::string_view dtype) {
  using Name = std::pair<std::string_view, int>;
  static constexpr std::array<Name, 9> kNames{{{"Float", 4},
                                               {"BFloat16", 2},
                                               {"Half", 2},
                                               {"Byte", 1},
                                               {"Char", 1},
                                               {"Int", 4},
                                               {"Long", 8},
                                               {"Double", 8},
                                               {"Float8_e4m3fn", 1}}};
  for (const Name& known : kNames) {
    if (known.first == dtype) return known.second;
  }
  return 0;
}

// What the arguments of a collective's kernel say of it; nothing if that is not all.
std::optional<LinkMeasurement> link_of(const Json& args) {
  const Json* name = args.find("Collective name");
  const Json* dtype = args.find("dtype");
  const double ranks = number_or(args.find("Group size"), 0);
  if (name == nullptr || !name->is_string() || dtype == nullptr || !dtype->is_string() ||
      ranks < 2 || ranks > 1e7)
    return std::nullopt;
  for (const CollectiveName& known : kCollectives) {
    if (known.name != name->string()) continue;
    const double count =
        number_or(args.find(known.of_output ? "Out msg nelems" : "In msg nelems"), 0);
    const int size = bytes_of_dtype(dtype->string());
    if (!(count >= 1) || size == 0) return std::nullopt;
    LinkMeasurement link;
    link.what = known.what;
    link.ranks = static_cast<int>(ranks);
    link.bytes = count * size * byte;
    link.dtype = dtype->string();
    link.method = "nccl";
    link.waits = true;
    return link;
  }
  return std::nullopt;
}

class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  // One element of traceEvents.
  Status event(std::string_view text) {
    ++number_;
    // Most events are of no use here, and most of the time would go into reading them.
    if (text.find("\"kernel\"") == std::string_view::npos &&
        text.find("\"Kernel\"") == std::string_view::npos &&
        text.find("\"cpu_op\"") == std::string_view::npos &&
        text.find("\"Operator\"") == std::string_view::npos)
      return {};
    const Json event = TRY(parse_json(text, fmt::format("{}: event {}", name_, number_)));
    const Json* cat = event.is_object() ? event.find("cat") : nullptr;
    const Json* name = event.is_object() ? event.find("name") : nullptr;
    if (cat == nullptr || !cat->is_string() || name == nullptr || !name->is_string()) return {};
    const std::string& kind = cat->string();
    const bool kernel = kind == "kernel" || kind == "Kernel";
    if (!kernel && kind != "cpu_op" && kind != "Operator") return {};
    const double start = number_or(event.find("ts"), -1);
    const double duration = number_or(event.find("dur"), -1);
    if (start < 0 || duration < 0 || start > 9e15 || duration > 9e12) return {};
    const auto from = static_cast<std::int64_t>(start * 1000 + 0.5);
    const Span_ns span{from, from + static_cast<std::int64_t>(duration * 1000 + 0.5)};
    static const Json kNoArgs = Json::object();
    const Json* args = event.find("args");
    if (args == nullptr || !args->is_object()) args = &kNoArgs;
    return kernel ? add_kernel(name->string(), span, *args)
                  : add_op(name->string(), event, span, *args);
  }

  // A member beside traceEvents.
  Status member(std::string_view key, std::string_view value) {
    if (key == "cuda_runtime_version") cuda_ = trimmed(value);
    if (key == "cuda_driver_version") driver_ = trimmed(value);
    if (key != "deviceProperties") return {};
    const Json devices = TRY(parse_json(value, name_ + ": deviceProperties"));
    if (!devices.is_array()) return {};
    for (const Json& device : devices.items()) {
      const Json* title = device.is_object() ? device.find("name") : nullptr;
      if (title != nullptr && title->is_string() && device_.empty()) device_ = title->string();
    }
    return {};
  }

  Result<Batch> finish() {
    if (trace_.kernels.empty()) {
      return invalid(fmt::format(
          "{}: expected kernels in the trace, found none among {} events: was the GPU profiled?",
          name_, number_));
    }
    for (std::size_t i = 0; i < trace_.kernels.size(); ++i) {
      const auto op = by_id_.find(kernel_ids_[i]);
      if (op != by_id_.end()) trace_.kernels[i].op = op->second;
    }
    Batch batch;
    batch.machine.device = device_;
    batch.machine.chip = chip_of_device(device_);
    if (!cuda_.empty()) batch.machine.libraries = fmt::format("cuda {}", cuda_);
    if (!driver_.empty()) batch.machine.driver = fmt::format("cuda {}", driver_);
    batch.origin.kind = "pytorch-trace";
    describe(trace_, batch);
    return batch;
  }

 private:
  struct Span_ns {
    std::int64_t start, end;
  };

  Status add_kernel(const std::string& name, Span_ns span, const Json& args) {
    TraceKernel kernel;
    kernel.name = name;
    kernel.device = whole_or(args.find("device"), 0);
    kernel.stream = whole_or(args.find("stream"), 0);
    kernel.start = span.start;
    kernel.end = span.end;
    if (name.starts_with("nccl")) kernel.link = link_of(args);
    trace_.kernels.push_back(std::move(kernel));
    kernel_ids_.push_back(words_of_node(either(args, "External id", "external id")));
    return {};
  }

  Status add_op(const std::string& name, const Json& event, Span_ns span, const Json& args) {
    TraceOp op;
    op.op.name = name;
    op.op.sizes = sizes_of(either(args, "Input Dims", "Input dims"));
    op.op.types = strings_of(either(args, "Input type", "Input types"));
    op.op.values = strings_of(args.find("Concrete Inputs"));
    op.thread = thread_of(event);
    op.start = span.start;
    op.end = span.end;
    op.sequence = whole_or(args.find("Sequence number"), -1);
    const std::string id = words_of_node(either(args, "External id", "external id"));
    if (!id.empty()) by_id_[id] = trace_.ops.size();
    trace_.ops.push_back(std::move(op));
    return {};
  }

  std::int64_t thread_of(const Json& event) {
    const std::string key =
        words_of_node(event.find("pid")) + " " + words_of_node(event.find("tid"));
    return threads_.emplace(key, static_cast<std::int64_t>(threads_.size())).first->second;
  }

  const std::string& name_;
  std::int64_t number_ = 0;
  std::string device_, cuda_, driver_;
  Trace trace_;
  std::vector<std::string> kernel_ids_;
  std::map<std::string, std::size_t> by_id_;
  std::map<std::string, std::int64_t> threads_;
};

Status read_events(Reader& reader, std::string_view array, const std::string& name) {
  JsonScan events = TRY(JsonScan::of(array, name));
  while (TRY(events.next())) TRY(reader.event(events.value()));
  return {};
}

}  // namespace

Result<std::vector<Batch>> read_pytorch_trace(std::string_view text, const std::string& name,
                                              const ImportHints&) {
  Reader reader(name);
  JsonScan whole = TRY(JsonScan::of(text, name));
  if (whole.is_object()) {
    while (TRY(whole.next())) {
      const bool events = whole.key() == "traceEvents";
      TRY(events ? read_events(reader, whole.value(), name)
                 : reader.member(whole.key(), whole.value()));
    }
  } else {
    TRY(read_events(reader, text, name));
  }
  std::vector<Batch> batches;
  batches.push_back(TRY(reader.finish()));
  return batches;
}

}  // namespace narrows
