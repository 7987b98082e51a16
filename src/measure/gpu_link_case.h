// Collectives and messages of a GPU by NCCL, and copies between it and the host or within it, by
// size: what is timed of the links that a GPU has. As nccl-tests does, several are started in a row
// and waited for together, so that the host's share of each shows only where messages are short.
// Bytes are CollectiveShape's; a copy is a message of one rank.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "measure/bench.h"
#include "measurement/observation.h"
#include "runtime/gpu_module.h"

namespace narrows {

struct GpuLinkCase {
  LinkMeasurement what;  // without its time
  BenchTask task;
  int parts = 1;  // that one run of the task starts
};

// `method` of copies' rows.
inline constexpr const char* kCopyToDevice = "copy to device";
inline constexpr const char* kCopyToHost = "copy to host";
inline constexpr const char* kCopyOnDevice = "copy on device";

// A rank's place in a group of neighbours.
struct GpuGroup {
  int ranks = 1;
  int rank = 0;
};

// The memory that the cases of one GPU use; outlives them. Sizes from 256 bytes to `largest`, each
// four times the one before.
class GpuLinkBench {
 public:
  // `gpu` is borrowed.
  static Result<std::unique_ptr<GpuLinkBench>> make(Gpu& gpu, Bytes largest);
  ~GpuLinkBench();
  GpuLinkBench(const GpuLinkBench&) = delete;
  GpuLinkBench& operator=(const GpuLinkBench&) = delete;

  std::vector<GpuLinkCase> copies();
  // Of the group that the Gpu has joined.
  std::vector<GpuLinkCase> collectives(const GpuGroup& group);

 private:
  GpuLinkBench(Gpu& gpu, GpuMemory from, GpuMemory to, void* host)
      : gpu_(gpu), from_(std::move(from)), to_(std::move(to)), host_(host) {}
  template <typename Op>
  GpuLinkCase case_of(const LinkMeasurement& what, const Op& op);

  Gpu& gpu_;
  GpuMemory from_, to_;
  void* host_;  // pinned
};

}  // namespace narrows
