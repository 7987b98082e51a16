// What `narrows profile` does the same way on processors and on a GPU: which ops of a model are
// timed, which of them are known already, and the way of results into the store.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/own_measurements.h"
#include "cli/profile_options.h"
#include "cli/profiles.h"
#include "measure/shapes.h"
#include "store/store.h"

namespace narrows {

// Results on their way into the store, a few seconds' worth at a time: what an interruption may
// lose.
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

// The ops of the command's model in a space whose ranks and recipes are given, as the software
// fuses them.
Result<std::vector<OpCase>> cases_of_model(const ProfileCommand& command, const Profiles& profiles,
                                           ShapeSpace space, const std::string& software);

// Ops that rest on `least` samples and more, and links.
std::set<std::string> known_keys(const OwnMeasurements& own, int least);

}  // namespace narrows
