// Results of `narrows profile` on their way into the store, a few seconds' worth at a time: what an
// interruption may lose.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"
#include "measurement/observation.h"
#include "store/store.h"

namespace narrows {

class Keeper {
 public:
  Keeper(Store store, Machine machine);

  Status add(const KernelObservation& kernel);
  Status add(const LinkObservation& link);
  Status flush();
  std::int64_t kept() const { return kept_; }
  const Store& store() const { return store_; }

 private:
  Status flush_if_due();

  Store store_;
  Batch batch_;
  std::int64_t kept_ = 0;
};

}  // namespace narrows
