// Published training runs: what was trained on what, how it was laid out, and how long a step took.
// A file holds one JSON record a line in the schema of validation/README.md; the reader takes its
// numbers and its `norm` object, never its prose, and ignores keys that it does not know. What a
// source does not say is absent here; run_job.h decides what stands in for it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "model/spec.h"

namespace narrows {

// The layout as the record prints it.
struct RunLayout {
  std::optional<int> tp, pp, vpp, ep, etp, cp;
  std::optional<int> zero;         // ZeRO stage
  std::optional<int> shard;        // ranks of the ZeRO/FSDP group
  std::optional<int> micro_batch;  // sequences
  std::optional<bool> sequence_parallel;
  std::optional<bool> sharded_optimizer;  // any sharding of the optimiser's state
  std::optional<bool> tp_overlap;         // tensor-parallel collectives under compute
  bool compiled = false;                  // torch.compile, where the record says so
  // Names of the vocabulary in validation/README.md; "" = not stated.
  std::string schedule;
  std::string recipe;
  std::string recompute;

  friend bool operator==(const RunLayout&, const RunLayout&) = default;
};

struct RunHardware {
  std::string chip;  // "" = the source hides it
  std::optional<int> gpus;
  std::optional<int> gpus_per_node;
  std::optional<int> nvlink_domain;
  std::optional<Bandwidth> nic;  // one GPU, one direction

  friend bool operator==(const RunHardware&, const RunHardware&) = default;
};

// What a source's figure of memory counts: what the framework's allocator had handed out at its
// peak, what it had taken from the driver (fragmentation included), or all that the process holds
// (context and communication buffers too).
enum class MemoryCount { Allocated, Reserved, Process };

struct Run {
  std::string id;
  std::string group;               // the publication
  std::string task;                // "pretrain", "sft", "lora"
  std::optional<ModelSpec> model;  // absent: the source does not print its shape
  std::optional<std::int64_t> sequence;
  std::optional<std::int64_t> global_batch;  // sequences
  RunHardware hardware;
  RunLayout layout;
  std::string routing;           // "" = not stated
  std::string software;          // short family name
  std::string software_date;     // YYYY-MM
  std::string software_version;  // of its container or benchmark, "26.02.01"; "" = not printed
  std::string source;            // where it is printed
  std::optional<Seconds> step;   // measured
  std::optional<Bytes> memory;   // measured, of the rank that the source names
  // What that counts. A figure that a source only prints is a framework's own, of its allocator.
  MemoryCount memory_count = MemoryCount::Reserved;
  std::string excluded;  // why it must not be scored; "" = it may

  friend bool operator==(const Run&, const Run&) = default;
};

// Whether the run has a step time to be compared with.
inline bool is_scored(const Run& run) { return run.step.has_value() && run.excluded.empty(); }

// Records of a file's text, in its order; `name` is the file's name for messages. `exclusions` is
// the text of its exclude.json (an object: id -> reason), "" = none. InvalidInput names the line.
Result<std::vector<Run>> parse_runs(std::string_view text, const std::string& name,
                                    std::string_view exclusions = {});
// A file, with the exclude.json in the same folder if there is one. "-" is stdin.
Result<std::vector<Run>> read_runs(const std::string& path);
// Those that the program carries.
Result<std::vector<Run>> published_runs();

}  // namespace narrows
