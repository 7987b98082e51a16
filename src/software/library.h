// The software profiles that are built in (hwprofiles/software/*.json) and those that a user
// brings. A file of the same base name in `overrides` (what `--profiles DIR` read, paths like
// "software/hai-llm.json") takes the place of the built-in one; further files there are added.
//
// A file with `"like": "NAME"` is that profile with the members that the file has in their place: a
// figure (with its source and fit) is replaced whole, what is not named is inherited, notes and
// source included. Chains are followed; `family` is the name at their root.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/embedded.h"
#include "base/result.h"
#include "software/profile.h"

namespace narrows {

// Ascending.
std::vector<std::string> software_names(const std::vector<EmbeddedFile>& overrides = {});

// By name. NotFound with "did you mean"; InvalidInput where its file is wrong.
Result<SoftwareProfile> find_software(std::string_view name,
                                      const std::vector<EmbeddedFile>& overrides = {});

// Of a profile's text; `file` is its name for messages. The name inside is free: a calibrated
// profile may be called anything. What it is `like` is looked up by name.
Result<SoftwareProfile> parse_software(std::string_view text, const std::string& file,
                                       const std::vector<EmbeddedFile>& overrides = {});

// A name, or a path to a file (has a '/' or ends in ".json"), as `--software` takes it.
Result<SoftwareProfile> load_software(const std::string& name_or_path,
                                      const std::vector<EmbeddedFile>& overrides = {});

}  // namespace narrows
