// A profile's JSON as rows for `show`: every number with its source and what to doubt of it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "report/profile_view.h"

namespace narrows {

// Names are dotted paths; a figure {"value", "source", "mark", "note"} is one row. Members in
// `without`, and empty ones, are left out.
std::vector<ValueRow> rows_of(const Json& object, const std::set<std::string>& without = {});

// Every id that the rows name and the library knows, once, in order.
std::vector<NamedSource> sources_of(const std::vector<Section>& sections,
                                    const ProfileLibrary& library);

}  // namespace narrows
