// SPDX-License-Identifier: Apache-2.0
#include "cli/profile_cases.h"

#include <algorithm>

#include "cost/block_cost.h"
#include "measure/profile.h"
#include "model/builtin.h"
#include "software/library.h"

namespace narrows {

Result<std::vector<OpCase>> cases_of_model(const ProfileCommand& command, const Profiles& profiles,
                                           ShapeSpace space, const std::string& software) {
  const BuiltinModel model = TRY(load_model(*command.model, profiles.models));
  const PublishedTraining usual = default_training(model);
  space.sequence = command.sequence.value_or(usual.sequence);
  space.global_batch = command.global_batch.value_or(
      std::max<std::int64_t>(1, (std::int64_t{4} << 20) / space.sequence));
  space.fusions = fusions_of(TRY(find_software(software, profiles.software)));
  return cases_of(model.spec, space);
}

std::set<std::string> known_keys(const OwnMeasurements& own, int least) {
  std::set<std::string> keys;
  for (std::size_t i = 0; i < own.kernels.size(); ++i) {
    if (own.samples[i] >= least) keys.insert(key_of(own.kernels[i]));
  }
  for (const LinkMeasurement& row : own.links) keys.insert(link_key(row));
  return keys;
}

}  // namespace narrows
