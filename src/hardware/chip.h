// Accelerator chips: peak rates, memory and links, each figure with its source. Read from
// hwprofiles/chips/*.json.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace narrows {

// A number with where it comes from: an id of hwprofiles/sources.json, or words in a user's own
// file. `mark` says why to doubt it: "" = no doubt, "from-memory", "doubtful", "derived" (from
// other figures, how: `note`), "measured elsewhere".
template <typename T>
struct Figure {
  T value{};
  std::string source;
  std::string mark;
  std::string note;

  friend bool operator==(const Figure&, const Figure&) = default;
};

struct Chip {
  std::string name;   // "h800-sxm5"
  std::string title;  // "H800 SXM5"
  std::string vendor;
  std::string architecture;  // "hopper", "ampere", "blackwell", …
  // Dense peak by format: "fp64" "fp32" "tf32" "fp16" "bf16" "fp8" "int8" "fp4" "int4"; also
  // "fp64-tensor", and "fp16-acc16" "fp8-acc16" of consumer cards, which accumulate in 16 bits
  // (training needs 32; export rules count them).
  std::map<std::string, Figure<FlopRate>> peak;
  std::optional<Figure<FlopRate>>
      matrix_rate;  // 16 bits, without the vector units that `peak` includes (Ascend)
  std::optional<Figure<FlopRate>>
      sustained_rate;  // bf16 at the clock held under tensor load, where it is known
  std::optional<Figure<double>> multiprocessors;  // SMs, CUs or cores
  std::optional<Figure<Frequency>> clock;         // at which the peaks are rated
  // Exponentials per clock and multiprocessor, over what its architecture's first chips do: what a
  // softmax takes beside the matmuls of attention. None = as they.
  std::optional<Figure<double>> exponentials;
  // How the pace of chips of one kind differs: standard deviation over mean, under load.
  std::optional<Figure<double>> spread;
  Figure<Bytes> memory;           // as sold
  Figure<Bytes> memory_reported;  // total as the driver reports it
  Figure<Bandwidth> memory_bandwidth;
  std::string memory_type;  // "HBM3"
  std::optional<Figure<Bytes>> l2_cache;
  std::optional<Figure<Watts>> power;                // thermal design power
  std::optional<Figure<Area>> die_area;              // all logic dies together
  std::optional<Figure<Area>> die_area_alternative;  // another published count of the dies
  std::optional<Figure<Bandwidth>>
      link;                 // scale-up links together, one direction; absent = PCIe only
  std::string link_type;    // "NVLink 4"
  std::string link_bridge;  // "" = all GPUs of a node, else the bridge that is needed
  std::optional<Figure<Bandwidth>>
      link_pair;  // between two GPUs of a mesh, one direction; absent = as `link`
  std::optional<Figure<Bandwidth>> pcie;  // one direction, line rate of all lanes before encoding
  std::optional<Figure<std::string>> launch;  // ISO date, or its year or month
  bool data_centre = true;                    // designed or marketed for data centres
  std::string kernels_like;  // a relative whose kernel tables are used, "" = its own
  std::string export_note;   // what to know where an export rule is applied to it
  std::string notes;

  friend bool operator==(const Chip&, const Chip&) = default;
};

// The formats that `peak` may hold, in the order in which they are shown.
const std::vector<std::string>& peak_formats();

// The dense peak of the format; Unsupported if the chip has none.
Result<FlopRate> peak_rate(const Chip& chip, const std::string& format);

}  // namespace narrows
