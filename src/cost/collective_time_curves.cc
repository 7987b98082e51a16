// SPDX-License-Identifier: Apache-2.0
#include "cost/collective_time_curves.h"

#include <algorithm>

#include "base/json.h"

namespace narrows {

namespace embedded {
std::vector<EmbeddedFile> collectives();
}  // namespace embedded

namespace {

// Errors of curves carried to another chip, from carrying each published chip to each other
// (docs/models/collective.md).
constexpr double kErrorSameArchitecture = 0.05;
constexpr double kErrorOtherArchitecture = 0.27;
// Groups without a curve of their own: the law of growth from 2, 4 to 8 ranks is read on.
constexpr double kErrorOtherRanks = 0.10;

Result<CollectiveKind> kind_of(const std::string& name, const std::string& place) {
  if (name == "all_reduce") return CollectiveKind::AllReduce;
  if (name == "all_gather") return CollectiveKind::AllGather;
  if (name == "reduce_scatter") return CollectiveKind::ReduceScatter;
  if (name == "alltoall") return CollectiveKind::AllToAll;
  return invalid(place + ": expected all_reduce, all_gather, reduce_scatter or alltoall, found \"" +
                 name + "\"");
}

struct Sizes {
  Bytes first;
  double factor = 2;
  Seconds unit;
};

Result<Sizes> read_sizes(JsonObject object) {
  Sizes sizes;
  sizes.first = TRY(object.quantity<Bytes>("first"));
  sizes.factor = TRY(object.number("factor", 1.01, 1024));
  const std::string unit = TRY(object.string("unit"));
  if (unit != "us")
    return invalid(object.place("unit") + ": expected \"us\", found \"" + unit + "\"");
  sizes.unit = us;
  TRY(object.finish());
  return sizes;
}

Result<CollectiveCurve> read_curve(JsonObject object, const Sizes& sizes) {
  CollectiveCurve curve;
  const std::string name = TRY(object.string("collective"));
  curve.what = TRY(kind_of(name, object.place("collective")));
  curve.ranks = static_cast<int>(TRY(object.integer("ranks", 2, 1 << 20)));
  curve.in_network_reduction = TRY(object.boolean("in_network_reduction"));
  std::vector<double> times;
  const Json* list = TRY(object.array("us"));
  for (const Json& item : list->items()) {
    if (!item.is_number()) return invalid(object.place("us") + ": expected numbers");
    times.push_back(item.number());
  }
  if (times.size() < 2) return invalid(object.place("us") + ": expected two or more times");
  TRY(object.finish());
  Bytes bytes = sizes.first;
  for (const double time : lower_envelope(times)) {
    curve.points.push_back({bytes, time * sizes.unit});
    bytes *= sizes.factor;
  }
  return curve;
}

Result<ChipCurves> read_chip(const EmbeddedFile& file) {
  const Json root = TRY(parse_json(file.content, file.path));
  JsonObject object = TRY(JsonObject::of(root, file.path));
  ChipCurves chip;
  chip.chip = TRY(object.string("chip"));
  chip.architecture = TRY(object.string("architecture"));
  chip.link = TRY(object.quantity<Bandwidth>("link"));
  chip.larger_groups_like = TRY(object.string_or("larger_groups_like", ""));
  TRY(object.string("source"));
  TRY(object.string("software"));
  JsonObject residual = TRY(object.object("leave_one_out"));
  chip.error_median = TRY(residual.number("median", 0, 1));
  chip.error_p90 = TRY(residual.number("p90", 0, 1));
  TRY(residual.finish());
  const JsonObject sizes_object = TRY(object.object("sizes"));
  const Sizes sizes = TRY(read_sizes(sizes_object));
  const Json* list = TRY(object.array("curves"));
  for (const Json& item : list->items()) {
    const JsonObject curve = TRY(JsonObject::of(item, file.path, "curves"));
    chip.curves.push_back(TRY(read_curve(curve, sizes)));
  }
  TRY(object.finish());
  return chip;
}

const ChipCurves* find_chip(const CurveTable& table, const std::string& name) {
  for (const ChipCurves& chip : table.chips) {
    if (!name.empty() && chip.chip == name) return &chip;
  }
  return nullptr;
}

double rate_ratio(Bandwidth a, Bandwidth b) { return max(a, b) / min(a, b); }

// Links that differ by more than this are of another kind (PCIe, NVLink): then the rate counts
// before the architecture.
constexpr double kSameKindOfLink = 4;

const ChipCurves& relative_of(const DomainQuery& query, const CurveTable& table) {
  for (const std::string& name : {query.chip, query.like}) {
    const ChipCurves* own = find_chip(table, name);
    if (own != nullptr && rate_ratio(own->link, query.link) < kSameKindOfLink) return *own;
  }
  const ChipCurves* best = nullptr;
  double best_distance = 0;
  for (const ChipCurves& chip : table.chips) {
    const double ratio = rate_ratio(chip.link, query.link);
    const bool kin = chip.architecture == query.architecture && ratio < kSameKindOfLink;
    const double distance = kin ? ratio - kSameKindOfLink : ratio;
    if (best == nullptr || distance < best_distance) best = &chip, best_distance = distance;
  }
  ASSERT(best != nullptr);
  return *best;
}

// The chip's curves of a collective by ascending ranks, with those of larger groups from its
// stand-in.
std::vector<const CollectiveCurve*> curves_of(const ChipCurves& chip, const DomainQuery& query,
                                              const CurveTable& table) {
  std::vector<const CollectiveCurve*> found;
  const auto add = [&](const ChipCurves& from) {
    const int largest = found.empty() ? 0 : found.back()->ranks;
    for (const CollectiveCurve& curve : from.curves) {
      const bool offered = query.in_network_reduction || !curve.in_network_reduction;
      if (curve.what == query.what && offered && curve.ranks > largest) found.push_back(&curve);
    }
    std::sort(found.begin(), found.end(),
              [](const auto* a, const auto* b) { return a->ranks < b->ranks; });
  };
  add(chip);
  const ChipCurves* larger = find_chip(table, chip.larger_groups_like);
  if (larger != nullptr) add(*larger);
  return found;
}

// Bytes through one GPU's link over the bytes of the call.
double wire(CollectiveKind what, int ranks) {
  const double share = (ranks - 1.0) / ranks;
  return what == CollectiveKind::AllReduce ? 2 * share : share;
}

Seconds carried(const CollectiveCurve& curve, int ranks, Bytes bytes) {
  return time_at(curve, bytes * (wire(curve.what, ranks) / wire(curve.what, curve.ranks)));
}

// log2 with straight lines between the powers of two.
double doublings(double ratio) {
  double count = 0;
  for (; ratio >= 2; ratio /= 2) count += 1;
  return count + ratio - 1;
}

Seconds time_of_ranks(const std::vector<const CollectiveCurve*>& curves, int ranks, Bytes bytes) {
  const CollectiveCurve* below = nullptr;
  for (const CollectiveCurve* curve : curves) {
    if (curve->ranks == ranks) return time_at(*curve, bytes);
    if (curve->ranks > ranks) {
      const double share = below == nullptr ? 1.0
                                            : static_cast<double>(ranks - below->ranks) /
                                                  (curve->ranks - below->ranks);
      const Seconds above = carried(*curve, ranks, bytes);
      return below == nullptr ? above : (1 - share) * carried(*below, ranks, bytes) + share * above;
    }
    below = curve;
  }
  // Above the largest group: each doubling adds as much latency as the last one that was measured.
  const CollectiveCurve& last = *curves.back();
  Seconds step;
  if (curves.size() > 1) {
    step = max(Seconds{}, last.points[0].time - curves[curves.size() - 2]->points[0].time);
  }
  return carried(last, ranks, bytes) + doublings(static_cast<double>(ranks) / last.ranks) * step;
}

bool is_point(const CollectiveCurve& curve, Bytes bytes) {
  return std::any_of(curve.points.begin(), curve.points.end(),
                     [bytes](const CurvePoint& point) { return point.bytes == bytes; });
}

}  // namespace

std::vector<double> lower_envelope(std::vector<double> values) {
  for (std::size_t i = values.size(); i-- > 1;) values[i - 1] = std::min(values[i - 1], values[i]);
  return values;
}

Seconds time_at(const CollectiveCurve& curve, Bytes bytes) {
  const std::vector<CurvePoint>& points = curve.points;
  ASSERT(points.size() > 1);
  if (bytes <= points.front().bytes) return points.front().time;
  std::size_t right = 1;
  while (right + 1 < points.size() && points[right].bytes < bytes) ++right;
  const CurvePoint& a = points[right - 1];
  const CurvePoint& b = points[right];
  return a.time + (b.time - a.time) * ((bytes - a.bytes) / (b.bytes - a.bytes));
}

Result<CurveTable> parse_curves(const std::vector<EmbeddedFile>& files) {
  CurveTable table;
  for (const EmbeddedFile& file : files) table.chips.push_back(TRY(read_chip(file)));
  return table;
}

const CurveTable& published_curves() {
  // A constant, parsed once: the files are part of the program.
  static const CurveTable table = [] {
    Result<CurveTable> parsed = parse_curves(embedded::collectives());
    ASSERT(parsed.has_value());
    return std::move(*parsed);
  }();
  return table;
}

Estimate domain_time(const DomainQuery& query, const CurveTable& table) {
  const ChipCurves& chip = relative_of(query, table);
  const std::vector<const CollectiveCurve*> curves = curves_of(chip, query, table);
  ASSERT(!curves.empty());
  const double scale = chip.link / query.link;
  const bool own = chip.chip == query.chip && scale > 0.99 && scale < 1.01;
  const auto exact = std::find_if(curves.begin(), curves.end(), [&](const CollectiveCurve* curve) {
    return curve->ranks == query.ranks;
  });
  const bool has_ranks = exact != curves.end();
  Estimate estimate;
  estimate.time = time_of_ranks(curves, query.ranks, query.bytes * (own ? 1.0 : scale));
  estimate.error = chip.error_median;
  if (!own) {
    estimate.basis = Basis::Transferred;
    estimate.error =
        chip.architecture == query.architecture ? kErrorSameArchitecture : kErrorOtherArchitecture;
  } else if (has_ranks) {
    estimate.basis = is_point(**exact, query.bytes) ? Basis::Measured : Basis::Interpolated;
  } else {
    const bool inside = query.ranks < curves.back()->ranks;
    estimate.basis = inside ? Basis::Interpolated : Basis::Transferred;
  }
  if (!has_ranks) estimate.error += kErrorOtherRanks;
  return estimate;
}

}  // namespace narrows
