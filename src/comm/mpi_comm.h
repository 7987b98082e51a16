// Inside of the MPI ranks: what the groups of one process share, and the communicator of a group.
// Every call of MPI is made under the lock of `progress`. Only where the build found MPI.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mpi.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "comm/mpi_world.h"
#include "comm/progress.h"

namespace narrows {

// Nanoseconds of a clock that only goes forward.
std::int64_t mpi_now_ns();

struct MpiWorld::State {
  explicit State(const MpiWorldOptions& given);

  void beat();  // tells the others that this rank lives, if it is time to
  void hear();  // beats and failures of the others
  void fail(const Error& error);
  bool is_beat_due() const;

  MpiWorldOptions options;
  int rank = 0;
  int size = 1;
  MPI_Comm beats = MPI_COMM_NULL;
  std::int64_t beaten_ns = 0;
  std::int64_t looked_ns = 0;
  std::vector<std::int64_t> heard_ns;  // by rank
  std::optional<Error> failure;
  int first_to_fail = std::numeric_limits<int>::max();  // the lowest of those that found it
  CommProgress progress;                                // last: its thread uses what stands above
};

// One rank's view of the group `comm`, which it owns unless it is the world's; `members` are ranks
// of the world. Borrows the world.
std::unique_ptr<Communicator> mpi_communicator(MpiWorld::State& world, MPI_Comm comm, int rank,
                                               std::vector<int> members);

}  // namespace narrows
