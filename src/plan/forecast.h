// What a plan is expected to do: the predicted step, its parts, the memory of every pipeline rank,
// and what the whole training costs. Filled by the simulator and by economics; written into plan
// files and `--json`.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/units.h"

namespace narrows {

// The memory of one rank of a pipeline rank, at its peak.
struct RankMemory {
  Bytes parameters;
  Bytes gradients;
  Bytes optimizer;
  Bytes kept;       // activations that wait for their backward
  Bytes transient;  // of the instruction that runs
  Bytes comm_buffers;
  Bytes context;
  Bytes allocator;  // fragmentation

  friend bool operator==(const RankMemory&, const RankMemory&) = default;
};
Bytes total(const RankMemory& memory);

// Shares of the step's time by what its estimates rest on; they sum to 1.
struct BasisShares {
  double measured = 0;
  double interpolated = 0;
  double transferred = 0;
  double roofline = 0;

  friend bool operator==(const BasisShares&, const BasisShares&) = default;
};

struct Forecast {
  Seconds step;
  Seconds step_low;  // the 90 % interval
  Seconds step_high;
  double tokens_per_second_per_gpu = 0;
  double model_tflops_per_gpu = 0;
  std::string flops_convention;  // "deepseek", "megatron", …
  double mfu = 0;                // against the dense bf16 peak
  double peak_tflops = 0;        // that peak
  Bytes memory_peak;             // of the fullest rank
  Bytes memory_capacity;         // as the driver reports it
  // Parts of the step on the critical rank, in order; they sum to `step`.
  std::vector<std::pair<std::string, Seconds>> breakdown;
  // How an average pipeline rank spends the makespan, by kind of instruction: "F", "I", "W", "B",
  // "FB", "bubble". What DeepSeek's phase table shows (isca2025, Table 4).
  std::vector<std::pair<std::string, Seconds>> phases;
  // Of the whole training; absent where not asked for or not known.
  std::optional<double> gpu_hours;
  std::optional<double> days;
  std::optional<double> cost_usd;
  std::optional<double> energy_mwh;
  std::optional<double> goodput;
  BasisShares basis;
  std::vector<RankMemory> memory;  // by pipeline rank

  friend bool operator==(const Forecast&, const Forecast&) = default;
};

// The object "forecast", cli.md's names; "basis" and "memory" are its last members.
Json to_json(const Forecast& forecast);
Json to_json(const BasisShares& basis);
Json to_json(const RankMemory& memory);
Result<Forecast> forecast_from_json(JsonObject& object);

}  // namespace narrows
