// `--set PATH=VALUE`: one figure of the cluster, the software or the model is changed on their JSON
// form, and the whole is read back strictly, so that a wrong value is refused as in a file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/result.h"
#include "cli/options.h"
#include "hardware/cluster.h"
#include "model/spec.h"
#include "software/profile.h"

namespace narrows {

// `path` begins with "cluster.", "software." or "model."; steps into arrays are indices from 0. A
// figure with a source takes the value and "--set" as its source. InvalidInput names the step that
// is not there, or what reading back complains of.
Status apply(const std::vector<Setting>& settings, ModelSpec& model, Cluster& cluster,
             SoftwareProfile& software);

}  // namespace narrows
