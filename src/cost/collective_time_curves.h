// Published NCCL curves (time over bytes for 2, 4 and 8 GPUs of one node) and how they are read for
// other sizes, groups and chips. Data: hwprofiles/collectives/*.json. Interpolation between rows
// has a lower leave-one-out error than a fit of latency, bandwidth and half size to each curve: the
// curves have steps where NCCL changes protocol.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/embedded.h"
#include "base/result.h"
#include "cost/estimate.h"
#include "model/op.h"

namespace narrows {

struct CurvePoint {
  Bytes bytes;
  Seconds time;
};

// One collective among `ranks` GPUs. Bytes are nccl-tests' size: the gathered buffer, or what a
// rank sends in total with its own part. Points ascend in bytes and never fall in time
// (lower_envelope).
struct CollectiveCurve {
  CollectiveKind what = CollectiveKind::AllReduce;
  int ranks = 0;
  bool in_network_reduction = false;
  std::vector<CurvePoint> points;
};

struct ChipCurves {
  std::string chip;
  std::string architecture;
  Bandwidth link;                  // nominal, one direction
  std::string larger_groups_like;  // a chip whose curves serve groups above its own, "" = none
  double error_median = 0;         // leave one row out, relative
  double error_p90 = 0;
  std::vector<CollectiveCurve> curves;
};

struct CurveTable {
  std::vector<ChipCurves> chips;
};

// Reads hwprofiles/collectives/*.json. The error names file and place.
Result<CurveTable> parse_curves(const std::vector<EmbeddedFile>& files);
// The table that is compiled in.
const CurveTable& published_curves();

// Times that never fall with size: each is at most any later one. What was slower than a larger
// message was disturbed.
std::vector<double> lower_envelope(std::vector<double> values);
// Linear between points, constant below the first, the last slope above the last.
Seconds time_at(const CollectiveCurve& curve, Bytes bytes);

// What the time of a collective inside a domain depends on.
struct DomainQuery {
  CollectiveKind what =
      CollectiveKind::AllReduce;  // AllReduce, AllGather, ReduceScatter or AllToAll
  int ranks = 2;
  Bytes bytes;
  std::string chip;
  std::string like;  // Chip::kernels_like
  std::string architecture;
  Bandwidth link;
  bool in_network_reduction = false;
};

// Own curves if the chip has some, else those of `like`, else those of the same architecture (then
// of any) whose link is nearest. A link of another rate moves `bytes` over the same time: latency
// stays, bandwidth scales.
Estimate domain_time(const DomainQuery& query, const CurveTable& table);

}  // namespace narrows
