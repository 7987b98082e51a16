// Accelerator chips: peak rates, memory and links, each figure with its source. Read from hwprofiles/chips/*.json.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace narrows {

// A number with where it comes from. `mark` says why to doubt it ("" = no doubt; "from-memory", "doubtful", …).
template <typename T>
struct Figure {
  T value{};
  std::string source;
  std::string mark;
};

struct Chip {
  std::string name;    // "h800-sxm5"
  std::string title;   // "H800 SXM5"
  std::string vendor;
  std::string architecture;  // "hopper", "ampere", "blackwell", …
  // Dense peak by format: "fp64" "fp32" "tf32" "fp16" "bf16" "fp8" "int8" "fp4" "int4".
  std::map<std::string, Figure<FlopRate>> peak;
  std::optional<Figure<double>> multiprocessors;  // SMs, CUs or cores
  std::optional<Figure<Frequency>> clock;         // at which the peaks are rated
  Figure<Bytes> memory;                           // as sold
  Figure<Bytes> memory_reported;                  // total as the driver reports it
  Figure<Bandwidth> memory_bandwidth;
  std::optional<Figure<Bytes>> l2_cache;
  std::optional<Figure<Watts>> power;             // thermal design power
  std::optional<Figure<Area>> die_area;           // all logic dies together
  std::optional<Figure<Bandwidth>> link;          // scale-up link, one direction; absent = PCIe only
  std::optional<Figure<Bandwidth>> pcie;          // one direction
  std::optional<Figure<std::string>> launch;      // ISO date
  bool data_centre = true;                        // designed or marketed for data centres
  std::string kernels_like;                       // a relative whose kernel tables are used, "" = its own
  std::string notes;
};

// The dense peak of the format; Unsupported if the chip has none.
Result<FlopRate> peak_rate(const Chip& chip, const std::string& format);

}  // namespace narrows
