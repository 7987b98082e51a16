// SPDX-License-Identifier: Apache-2.0
#include "cli/keeper.h"

#include <fmt/format.h>

#include "cli/own_measurements.h"
#include "measure/profile.h"
#include "store/import.h"

namespace narrows {

Keeper::Keeper(Store store, Machine machine) : store_(std::move(store)) {
  batch_.machine = std::move(machine);
  batch_.origin = {"profile", "narrows profile", "", "", today()};
}

Status Keeper::add(const KernelObservation& kernel) {
  batch_.kernels.push_back(kernel);
  batch_.kernels.back().what.chip = batch_.machine.chip;
  return flush_if_due();
}

Status Keeper::add(const LinkObservation& link) {
  batch_.links.push_back(link);
  return flush_if_due();
}

Status Keeper::flush() {
  if (batch_.kernels.empty() && batch_.links.empty()) return {};
  // Times are what tells one batch from another.
  std::string content;
  for (const KernelObservation& row : batch_.kernels)
    content += fmt::format("{} {};", key_of(row.what), row.what.time / ns);
  for (const LinkObservation& row : batch_.links)
    content += fmt::format("{} {};", link_key(row.what), row.what.time / ns);
  batch_.origin.hash = content_hash(content);
  TRY(store_.add(std::span(&batch_, 1)));
  kept_ += std::ssize(batch_.kernels) + std::ssize(batch_.links);
  batch_.kernels.clear();
  batch_.links.clear();
  return {};
}

Status Keeper::flush_if_due() {
  constexpr std::ptrdiff_t kRows = 50;
  return std::ssize(batch_.kernels) + std::ssize(batch_.links) < kRows ? Status() : flush();
}

}  // namespace narrows
