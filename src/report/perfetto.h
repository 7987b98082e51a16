// A timeline as a trace that ui.perfetto.dev and chrome://tracing open: one process a pipeline
// rank, one thread a stream, a slice a span, in it a slice an op, a counter of memory. Times in
// microseconds.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "timeline/timeline.h"

namespace narrows {

// The whole file. `title` names the trace in its metadata.
std::string perfetto_trace(const Timeline& timeline, const std::string& title);

// Several timelines of one program one below the other, such as the predicted and the measured.
struct TracePart {
  std::string name;
  const Timeline& timeline;  // borrows
};
std::string perfetto_trace(const std::vector<TracePart>& parts, const std::string& title);

}  // namespace narrows
