// SPDX-License-Identifier: Apache-2.0
#include "schedule/schedule.h"

#include <array>

namespace narrows {

namespace {

struct Named {
  ScheduleKind kind;
  std::string_view name;
};

constexpr std::array<Named, 8> kNames{{{ScheduleKind::GPipe, "gpipe"},
                                       {ScheduleKind::OneFOneB, "1f1b"},
                                       {ScheduleKind::Interleaved, "interleaved"},
                                       {ScheduleKind::ZbH1, "zb-h1"},
                                       {ScheduleKind::ZbH2, "zb-h2"},
                                       {ScheduleKind::ZbV, "zb-v"},
                                       {ScheduleKind::DualPipe, "dualpipe"},
                                       {ScheduleKind::DualPipeV, "dualpipev"}}};

}  // namespace

std::string to_string(ScheduleKind kind) {
  for (const Named& named : kNames) {
    if (named.kind == kind) return std::string(named.name);
  }
  ASSERT(false);
}

std::optional<ScheduleKind> schedule_of(std::string_view name) {
  for (const Named& named : kNames) {
    if (named.name == name) return named.kind;
  }
  return std::nullopt;
}

const std::vector<ScheduleKind>& all_schedules() {
  static const std::vector<ScheduleKind> kinds = [] {
    std::vector<ScheduleKind> all;
    for (const Named& named : kNames) all.push_back(named.kind);
    return all;
  }();
  return kinds;
}

}  // namespace narrows
