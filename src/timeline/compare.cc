// SPDX-License-Identifier: Apache-2.0
#include "timeline/compare.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace narrows {

namespace {

struct Key {
  int rank = 0;
  std::string stream;
  std::string name;
  friend auto operator<=>(const Key&, const Key&) = default;
};

// Spans by start.
using Runs = std::map<Key, std::vector<const TimeSpan*>>;
using Order = std::map<std::pair<int, std::string>, std::vector<const TimeSpan*>>;

bool starts_before(const TimeSpan* a, const TimeSpan* b) {
  return std::tie(a->start, a->end, a->name) < std::tie(b->start, b->end, b->name);
}

struct Sorted {
  Runs runs;
  Order order;
};

Sorted sorted(const Timeline& timeline) {
  Sorted all;
  for (const TimeSpan& span : timeline.spans) {
    const std::string& stream = timeline.streams[static_cast<std::size_t>(span.stream)];
    all.runs[{span.rank, stream, span.name}].push_back(&span);
    all.order[{span.rank, stream}].push_back(&span);
  }
  for (auto& [key, spans] : all.runs) std::sort(spans.begin(), spans.end(), starts_before);
  for (auto& [key, spans] : all.order) std::sort(spans.begin(), spans.end(), starts_before);
  return all;
}

bool same_names(const Order& a, const Order& b) {
  const auto same = [](const Order::value_type& x, const Order::value_type& y) {
    return x.first == y.first &&
           std::equal(x.second.begin(), x.second.end(), y.second.begin(), y.second.end(),
                      [](const TimeSpan* s, const TimeSpan* t) { return s->name == t->name; });
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

std::string kind_of(const std::string& name) {
  std::string kind;
  for (const char c : name) {
    if ((c >= '0' && c <= '9') || c == '.') continue;
    kind += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return kind;
}

}  // namespace

Comparison compare(const Timeline& predicted, const Timeline& measured) {
  const Sorted expected = sorted(predicted);
  const Sorted found = sorted(measured);
  Comparison comparison{.predicted_end = end_of(predicted),
                        .measured_end = end_of(measured),
                        .kinds = {},
                        .same_order = same_names(expected.order, found.order)};
  std::map<std::string, KindDifference> kinds;
  int pairs = 0;
  for (const auto& [key, spans] : expected.runs) {
    const auto partner = found.runs.find(key);
    if (partner == found.runs.end()) continue;
    KindDifference& kind = kinds[kind_of(key.name)];
    for (std::size_t i = 0; i < std::min(spans.size(), partner->second.size()); ++i) {
      kind.predicted += spans[i]->end - spans[i]->start;
      kind.measured += partner->second[i]->end - partner->second[i]->start;
      ++kind.spans;
      ++pairs;
    }
  }
  for (auto& [name, kind] : kinds) {
    kind.kind = name;
    comparison.kinds.push_back(kind);
  }
  comparison.only_predicted = static_cast<int>(predicted.spans.size()) - pairs;
  comparison.only_measured = static_cast<int>(measured.spans.size()) - pairs;
  return comparison;
}

}  // namespace narrows
