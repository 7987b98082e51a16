// Ranks as threads of this process. A message is not copied on its way: the receiver reads the
// sender's memory, and a reduction adds from there. Links can be emulated (links.h).
//
// A ThreadWorld outlives its Communicators; each is made in the thread of its rank.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "base/units.h"
#include "comm/communicator.h"
#include "comm/links.h"

namespace narrows {

struct ThreadWorldOptions {
  int ranks = 1;
  std::vector<LinkLevel> levels;  // may be empty: all ranks share memory
  // A rank that computes without a word for so long is taken to hang.
  Seconds silence = 10 * sec;
};

class ThreadWorld {
 public:
  explicit ThreadWorld(ThreadWorldOptions options);
  ThreadWorld(const ThreadWorld&) = delete;
  ThreadWorld& operator=(const ThreadWorld&) = delete;
  ~ThreadWorld();

  // The group of all ranks as `rank` sees it.
  std::unique_ptr<Communicator> communicator(int rank);

  // The rank's work has ended, with an error or without. Every verb that waits for it fails, and
  // after an error every verb.
  void end(int rank, const Status& status);

  // The first failure, which names the rank to blame; success while there is none.
  Status failure() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace narrows
