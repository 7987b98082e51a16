// What `narrows profile --device cuda` says of links: the largest message of each kind, in
// nccl-tests' words.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "measure/gpu_links.h"

namespace narrows {

class LargestLinks {
 public:
  void add(const LinkMeasurement& link);
  // A line each: what, over how many, bytes, time, algbw, busbw. Copies first.
  std::string text() const;

 private:
  std::map<std::string, LinkMeasurement> links_;  // by kind and ranks
};

// What was timed and what was not.
std::string text_of(const GpuLinkSummary& done);

}  // namespace narrows
