// A rank's own threads: work that falls into independent pieces is shared out in runs. The rank's
// thread takes part itself. With one thread nothing is started. Who does a piece never changes its
// result.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace narrows {

class Workers {
 public:
  // `threads` in all, the caller's included.
  explicit Workers(int threads);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  int threads() const { return threads_; }

  // Calls work(worker, first, last) for runs that cover [0, count), each at least `least` long and
  // beginning at a multiple of it; returns when all are done. One run a thread, or several: then a
  // thread takes the next one when it is ready, so that none waits long for one that is slower.
  using Work = std::function<void(int worker, std::int64_t first, std::int64_t last)>;
  void share(std::int64_t count, std::int64_t least, const Work& work, std::int64_t runs = 1);

 private:
  struct Team;
  int threads_ = 1;
  std::unique_ptr<Team> team_;
};

}  // namespace narrows
