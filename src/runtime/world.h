// Starts the ranks of a training: as threads of this process, or, where this process was itself
// started by mpirun or srun, as processes of that job, of which this is one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "comm/communicator.h"
#include "comm/links.h"

namespace narrows {

struct WorldOptions {
  int ranks = 1;
  std::vector<LinkLevel> levels;  // of the plan's cluster; emulated ones have a bandwidth
  Seconds silence = 10 * sec;     // a rank silent for so long is taken to hang
  Seconds grace = 2 * sec;        // for a rank to end after another has failed
};

// The work of one rank, called in its thread.
using RankWork = std::function<Status(Communicator& world)>;

struct WorldEnd {
  Status status;       // the first failure; of several ranks it names the one to blame
  bool speaks = true;  // of the processes of a job, the one that reports the failure
  // A rank did not end: its thread still runs and may touch what `work` refers to. The process must
  // end without destroying that (std::_Exit). So must a process of an MPI job.
  bool is_broken = false;
};

// Returns when all ranks have ended, or a failure has been noticed and the others have ended.
WorldEnd run_world(const WorldOptions& options, const RankWork& work);

// How many processes the job that this one was started in has; 0 where it was not started in one.
int job_size();

// Whether this process reports for all ranks: it is the first of a job's, or the only one.
bool leads_job();

}  // namespace narrows
