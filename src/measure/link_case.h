// Collectives and messages among the ranks of a group, by size: what is timed of a machine's links.
// The world is cut into groups of `ranks` neighbours that all talk at the same time, as the groups
// of a layout do. Bytes are CollectiveShape's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "base/large_memory.h"
#include "comm/communicator.h"
#include "measure/bench.h"
#include "measurement/observation.h"

namespace narrows {

struct LinkCase {
  LinkMeasurement what;  // without its time
  BenchTask task;
};

// The groups and buffers that the cases of one rank use; outlives them.
class LinkBench {
 public:
  // Every rank of the world calls it alike. Sizes from 256 bytes to `largest`, each four times the
  // one before.
  static Result<std::unique_ptr<LinkBench>> make(Communicator& world, Bytes largest,
                                                 const std::string& method);

  const std::vector<LinkCase>& cases() const { return cases_; }

 private:
  LinkBench() = default;
  void add_cases(Communicator& group, Bytes largest, const std::string& method);
  BenchTask task_of(Communicator& group, const LinkMeasurement& what);

  std::vector<std::unique_ptr<Communicator>> groups_;
  LargeVector<float> from_, to_;
  std::vector<LinkCase> cases_;
};

}  // namespace narrows
