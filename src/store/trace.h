// A profiler's trace, whichever program wrote it: operators on threads and kernels on streams. The
// kernels that an operator launched itself are its time; operators that `understand` names become
// measurements, with percentiles over all their runs. Left out, and counted with their time: what
// nobody can name, and what ran while another stream of the device was busy, since that is no time
// of the op alone. Collectives keep their wait for other ranks (`waits`).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "measurement/observation.h"
#include "store/torch_op.h"

namespace narrows {

// Times are in nanoseconds of one clock.
struct TraceOp {
  TorchOp op;
  std::int64_t thread = 0;
  std::int64_t start = 0;
  std::int64_t end = 0;
  std::int64_t sequence = -1;  // that ties a backward operator to its forward one; -1 = none
};

struct TraceKernel {
  std::string name;
  std::int64_t device = 0;
  std::int64_t stream = 0;
  std::int64_t start = 0;
  std::int64_t end = 0;
  std::optional<std::size_t> op;        // that launched it
  std::optional<LinkMeasurement> link;  // of a collective: what the trace says of it, without time
};

// Where and when a kernel was launched, for traces that do not name the operator.
struct Launch {
  std::size_t kernel = 0;
  std::int64_t thread = 0;
  std::int64_t time = 0;
};

struct Trace {
  std::vector<TraceOp> ops;
  std::vector<TraceKernel> kernels;
};

// Ties each launch to the innermost operator of its thread at its time.
void tie(Trace& trace, std::vector<Launch> launches);

// Appends what the trace holds to the batch.
void describe(const Trace& trace, Batch& batch);

}  // namespace narrows
