// SPDX-License-Identifier: Apache-2.0
#include "report/perfetto.h"

#include <fmt/format.h>

#include "base/json.h"

namespace narrows {
namespace {

double microseconds(Tick t) { return static_cast<double>(t.ns) / 1000; }

// "F3&b1" -> "F&B": what colours slices of one kind alike.
std::string kind_of(const std::string& name) {
  std::string kind;
  for (const char c : name) {
    const bool lower = c >= 'a' && c <= 'z';
    if (c == '.') break;
    if (lower || (c >= 'A' && c <= 'Z') || c == '&')
      kind += lower ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return kind;
}

Json event(const char* phase, const std::string& name, int rank) {
  Json json = Json::object();
  json.set("name", name);
  json.set("ph", phase);
  json.set("pid", rank);
  return json;
}

Json metadata(const char* what, const std::string& value, int rank) {
  Json arguments = Json::object();
  arguments.set("name", value);
  Json json = event("M", what, rank);
  json.set("args", std::move(arguments));
  return json;
}

Json slice(const TimeSpan& span) {
  Json json = event("X", span.name, span.rank);
  json.set("cat", kind_of(span.name));
  json.set("tid", span.stream);
  json.set("ts", microseconds(span.start));
  json.set("dur", microseconds(span.end - span.start));
  return json;
}

// Nested in the slice of its instruction.
Json slice(const OpSpan& span, const OpLabel& label) {
  Json arguments = Json::object();
  if (label.layer >= 0) arguments.set("layer", std::int64_t{label.layer});
  if (!label.block.empty()) arguments.set("block", label.block);
  if (!label.shape.empty()) arguments.set("shape", fmt::format("{}x{}", span.rows, label.shape));
  if (!label.format.empty()) arguments.set("format", label.format);
  Json json = event("X", label.direction.empty() ? label.name : label.name + " " + label.direction,
                    span.rank);
  json.set("cat", label.kind);
  json.set("tid", std::int64_t{0});
  json.set("ts", microseconds(span.start));
  json.set("dur", microseconds(span.end - span.start));
  json.set("args", std::move(arguments));
  return json;
}

Json counter(const MemorySample& sample) {
  Json arguments = Json::object();
  arguments.set("GiB", sample.bytes / GiB);
  Json json = event("C", "memory", sample.rank);
  json.set("ts", microseconds(sample.at));
  json.set("args", std::move(arguments));
  return json;
}

// The events of one timeline; its processes are numbered from `first`.
void add_events(const Timeline& timeline, const std::string& prefix, int first,
                std::vector<Json>& all) {
  const std::size_t begin = all.size();
  for (int rank = 0; rank < timeline.ranks; ++rank) {
    all.push_back(metadata("process_name", fmt::format("{}pipeline rank {}", prefix, rank), rank));
    for (std::size_t stream = 0; stream < timeline.streams.size(); ++stream) {
      all.push_back(metadata("thread_name", timeline.streams[stream], rank));
      all.back().set("tid", static_cast<std::int64_t>(stream));
    }
  }
  for (const TimeSpan& span : timeline.spans) all.push_back(slice(span));
  for (const OpSpan& op : timeline.ops) {
    all.push_back(slice(op, timeline.op_labels[static_cast<std::size_t>(op.label)]));
  }
  for (const MemorySample& sample : timeline.memory) all.push_back(counter(sample));
  for (std::size_t i = begin; i < all.size() && first > 0; ++i)
    all[i].set("pid", first + all[i].find("pid")->integer());
}

std::string file_of(const std::vector<Json>& events, const std::string& title) {
  std::string out = fmt::format(
      "{{\"displayTimeUnit\": \"ms\",\n\"otherData\": {{\"title\": {}}},\n\"traceEvents\": [\n",
      Json(title).compact());
  for (std::size_t i = 0; i < events.size(); ++i)
    out += events[i].compact() + (i + 1 < events.size() ? ",\n" : "\n");
  return out + "]}\n";
}

}  // namespace

std::string perfetto_trace(const Timeline& timeline, const std::string& title) {
  std::vector<Json> events;
  add_events(timeline, "", 0, events);
  return file_of(events, title);
}

std::string perfetto_trace(const std::vector<TracePart>& parts, const std::string& title) {
  std::vector<Json> events;
  int first = 0;
  for (const TracePart& part : parts) {
    add_events(part.timeline, part.name + ", ", first, events);
    first += part.timeline.ranks;
  }
  return file_of(events, title);
}

}  // namespace narrows
