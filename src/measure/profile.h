// `narrows profile`: times ops and links of this machine on all of its ranks, and hands every
// result on as soon as it is known, so that an interruption loses nothing. What `known` names is
// left out: a second run goes on where the first one stopped.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "measure/bench.h"
#include "measure/op_case.h"
#include "measurement/observation.h"

namespace narrows {

struct ProfileOptions {
  int ranks = 1;                            // threads; an MPI job has its own number
  SampleRules rules;                        // of ops and links together
  std::vector<OpCase> cases;                // ops to time; empty = none
  bool links = true;                        // collectives among the ranks
  std::string method;                       // of messages: "threads", "mpi"
  Bytes largest = 16 * MiB;                 // message
  double links_share = 0.3;                 // of the budget, at most
  Bytes range = 64 * MiB;                   // that memory rotates around: what a step keeps
  std::set<std::string> known;              // key_of of ops, link_key of links
  const std::atomic<bool>* stop = nullptr;  // borrows
};

struct ProfileEvents {
  // Called on the first rank's thread.
  std::function<void(const std::string& what, const BenchProgress& progress)> progress;
  std::function<Status(const KernelObservation& kernel)> kernel;
  std::function<Status(const LinkObservation& link)> link;
};

struct ProfileSummary {
  int cases = 0;     // ops and links that there are
  int known = 0;     // … left out
  int measured = 0;  // finished in this run
  Seconds elapsed;
  MachinePace pace;  // of the ops' ranks; else of the links'
};

// Makes the backend of a rank, in its thread.
using MakeBackend = std::function<std::unique_ptr<Backend>()>;

Result<ProfileSummary> profile_machine(const ProfileOptions& options, const MakeBackend& backend,
                                       const ProfileEvents& events);

std::string link_key(const LinkMeasurement& link);

// The machine's pace as rows of the store, classes "calibration" and "slowest calibration": what a
// training holds its own calibrations against, and what its ranks wait for.
std::vector<KernelObservation> pace_rows(const MachinePace& pace);
// From rows of the machine; no calibration where it was never profiled.
MachinePace pace_in(std::span<const Measurement> rows);

}  // namespace narrows
