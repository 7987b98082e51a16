// All data that commands look names up in: what is compiled in, and the user's own folder
// (`--profiles DIR`) over it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/embedded.h"
#include "base/result.h"
#include "hardware/profile_library.h"

namespace narrows {

struct Profiles {
  ProfileLibrary hardware;
  std::vector<EmbeddedFile> models;    // DIR/models/*.json
  std::vector<EmbeddedFile> software;  // DIR/software/*.json
};

Result<Profiles> open_profiles(const std::optional<std::string>& directory);

}  // namespace narrows
