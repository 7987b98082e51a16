// SPDX-License-Identifier: Apache-2.0
#include "model/keep.h"

namespace narrows {

std::string to_string(Recompute recompute) {
  switch (recompute) {
    case Recompute::None:
      return "none";
    case Recompute::Selective:
      return "selective";
    case Recompute::Full:
      return "full";
    case Recompute::V3:
      return "v3";
  }
  return "";
}

const std::vector<Recompute>& all_recomputes() {
  static const std::vector<Recompute> policies = {Recompute::None, Recompute::Selective,
                                                  Recompute::Full, Recompute::V3};
  return policies;
}

std::optional<Recompute> recompute_of(std::string_view name) {
  for (const Recompute policy : all_recomputes()) {
    if (to_string(policy) == name) return policy;
  }
  return std::nullopt;
}

std::string to_string(V3Modules modules) {
  switch (modules) {
    case V3Modules::All:
      return "all";
    case V3Modules::UpProjections:
      return "up-projections";
    case V3Modules::NormsAndActivation:
      return "norms-and-activation";
  }
  return "";
}

std::optional<V3Modules> v3_modules_of(std::string_view name) {
  for (const V3Modules modules :
       {V3Modules::All, V3Modules::UpProjections, V3Modules::NormsAndActivation}) {
    if (to_string(modules) == name) return modules;
  }
  return std::nullopt;
}

}  // namespace narrows
