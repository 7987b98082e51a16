// SPDX-License-Identifier: Apache-2.0
#include "cli/measured.h"

#include <fmt/format.h>

#include <set>

#include "store/store.h"

namespace narrows {
namespace {

std::string chips_in(const std::vector<StoredMachine>& machines) {
  std::set<std::string> chips;
  for (const StoredMachine& stored : machines) {
    if (!stored.machine.chip.empty()) chips.insert(stored.machine.chip);
  }
  return chips.empty() ? "no chip that has a profile" : fmt::format("{}", fmt::join(chips, ", "));
}

Recipe as_tables_have_it(Recipe recipe) {
  if (recipe == Recipe::Fp16) return Recipe::Bf16;
  return recipe == Recipe::Fp8Tensor ? Recipe::Fp8Row : recipe;
}

}  // namespace

Result<std::vector<Measurement>> measured_kernels(const std::string& path, const std::string& chip,
                                                  const std::string& generation) {
  const Store store = TRY(Store::open_to_read(path));
  std::vector<Measurement> rows = TRY(store.kernel_table(chip));
  if (rows.empty()) {
    return not_found(fmt::format("--db {}: expected kernels of {}, found only rows of {}", path,
                                 chip, chips_in(TRY(store.machines()))));
  }
  // The tables hold attention of 16 bits only.
  std::erase_if(rows, [](const Measurement& row) {
    return row.family == KernelFamily::Attention && row.recipe == Recipe::F32;
  });
  for (Measurement& row : rows) {
    if (row.generation.empty()) row.generation = generation;
    if (row.family == KernelFamily::Matmul) row.recipe = as_tables_have_it(row.recipe);
    if (row.family == KernelFamily::Attention) row.attention.kv_heads = row.attention.heads;
  }
  return rows;
}

}  // namespace narrows
