// Ranks as processes of an MPI job, under mpirun or srun. Only MPI's messages are used: collectives
// are the programs of program.h, as between threads. Each rank tells the others twice a second that
// it is alive, so that one that hangs is noticed; a rank that is killed is noticed by the launcher,
// which ends the job.
//
// Where the build found no MPI, `open` is Unsupported.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "base/units.h"
#include "comm/communicator.h"
#include "comm/links.h"

namespace narrows {

struct MpiWorldOptions {
  std::vector<LinkLevel> levels;  // who shares a node; bandwidths are the network's own
  Seconds silence = 10 * sec;
};

class MpiWorld {
 public:
  // Whether this process was started as one of an MPI job.
  static bool is_launched();
  // This process's rank as its launcher says, before `open`; 0 where it was not launched.
  static int launched_rank();
  // … and how many processes the job has; 1 where the launcher does not say.
  static int launched_size();

  // Once in a process. Device where MPI does not start.
  static Result<std::unique_ptr<MpiWorld>> open(const MpiWorldOptions& options);
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;
  // Leaves the job in order; all Communicators must be gone, and every rank does it.
  ~MpiWorld();

  int rank() const;
  int size() const;
  std::unique_ptr<Communicator> communicator();

  // Tells the other ranks of this rank's error, so that theirs names it. After a failure the caller
  // does not destroy this (leaving in order waits for ranks that may be gone) but ends the process.
  void fail(const Error& error);
  // After a failure: whether this is the rank that says it, the lowest of those that found it.
  // Gives the speaker time before the job's launcher, which ends all when one ends, can notice the
  // others.
  bool speaks();

  struct State;

 private:
  explicit MpiWorld(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace narrows
