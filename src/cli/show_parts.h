// Parts of `narrows show`: what is computed of a model, a schedule, a rule, and what rules say of a
// chip.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "cli/options.h"
#include "cli/profiles.h"
#include "model/builtin.h"
#include "report/profile_view.h"
#include "schedule/schedule.h"

namespace narrows {

ProfileView show_model(const BuiltinModel& model);
ProfileView show_schedule(ScheduleKind kind);
ProfileView show_rule(const ExportRule& rule);
// What a schedule does, in a few words.
std::string schedule_words(ScheduleKind kind);

// With --rules: TPP, performance density and every rule's class, as a section and under "rules" of
// the data.
Status add_rules(ProfileView& view, const Chip& chip, const ShowOptions& options,
                 const Profiles& profiles);

}  // namespace narrows
