// What a machine was seen to do, as a profiler or an importer of foreign logs hands it on: kernels
// and links with the spread of their times, the machine's fingerprint, and where they come from.
// What a log holds and nobody could name is counted with its time, never guessed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "measurement/measurement.h"

namespace narrows {

// Two machines are the same if all of it is. "" and 0 = the log does not say.
struct Machine {
  std::string chip;    // as profiles name it: "h100-sxm5"
  std::string device;  // as its driver does: "NVIDIA H100 80GB HBM3"
  Frequency clock;     // of the multiprocessors, while it was measured
  Frequency memory_clock;
  std::string driver;
  std::string libraries;  // "cuda 12.4, nccl 2.22.3"

  friend bool operator==(const Machine&, const Machine&) = default;
};

// The time of a message or collective, from the first rank's start to the last one's end.
struct LinkMeasurement {
  CollectiveKind what = CollectiveKind::AllReduce;
  int ranks = 2;
  int ranks_per_node = 0;  // 0 = unknown
  Bytes bytes;             // as CollectiveShape counts them
  std::string dtype;       // as the program calls it; "" = bytes
  std::string method;      // which program or library: "nccl", "mpi"
  bool streamed = false;   // many messages in flight: the time is one's share of them
  bool in_place = false;
  bool waits = false;  // the time holds the wait for other ranks, as in a trace of training
  Seconds time;        // the median, or the mean if that is what the program prints

  friend bool operator==(const LinkMeasurement&, const LinkMeasurement&) = default;
};

// 0 = the log does not say.
struct Spread {
  Seconds p10;
  Seconds p90;
  int samples = 0;

  friend bool operator==(const Spread&, const Spread&) = default;
};

struct KernelObservation {
  Measurement what;  // its time is the median
  Spread spread;
  std::string kernel;  // the name of the kernel that ran longest in it; "" = unknown
};

struct LinkObservation {
  LinkMeasurement what;
  Spread spread;
};

// Where a batch comes from. Two with one hash, part and machine are the same batch.
struct Origin {
  std::string kind;  // "nccl-tests", "pytorch-trace", "profile", …
  std::string name;  // of the file, without its folder
  std::string hash;  // of its content
  std::string part;  // of a file that holds several sources: which; else ""
  std::string date;  // when it was put into the store: "2026-11-22"
};

// What was not understood, by reason.
struct Unread {
  std::string why;
  std::int64_t count = 0;
  Seconds time;
};

struct Batch {
  Machine machine;
  Origin origin;
  std::vector<KernelObservation> kernels;
  std::vector<LinkObservation> links;
  std::vector<Unread> unread;  // longest time first
};

}  // namespace narrows
