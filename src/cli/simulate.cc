// `narrows simulate`: plays a plan.
// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

namespace narrows {
Result<int> simulate_command(const SimulateOptions&, const CommonOptions&, const Console&) {
  return unsupported("simulate: this command is not built yet");
}
Result<int> compare_command(const CompareOptions&, const CommonOptions&, const Console&) {
  return unsupported("compare: this command is not built yet");
}
Result<int> diff_command(const DiffOptions&, const CommonOptions&, const Console&) {
  return unsupported("diff: this command is not built yet");
}
}  // namespace narrows
