// The published tables and chips made from their rated figures, for tests of kernel times.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "hardware/chip.h"
#include "measurement/kernel_tables.h"

namespace narrows {

inline KernelTables published_tables() {
  Result<KernelTables> tables = KernelTables::published();
  if (!tables) FAIL(tables.error().message);
  return std::move(*tables);
}

inline Chip measured_chip(const KernelTables& tables, const std::string& name,
                          const std::string& like = "") {
  const MeasuredChip* measured = tables.chip(name);
  REQUIRE(measured != nullptr);
  Chip chip;
  chip.name = name;
  chip.architecture = measured->architecture;
  chip.kernels_like = like;
  chip.peak["bf16"].value = measured->bf16;
  chip.peak["fp16"].value = measured->bf16;
  if (measured->fp8 > FlopRate{}) chip.peak["fp8"].value = measured->fp8;
  if (measured->fp4 > FlopRate{}) chip.peak["fp4"].value = measured->fp4;
  chip.memory_bandwidth.value = measured->bandwidth;
  chip.multiprocessors = Figure<double>{measured->multiprocessors, "", ""};
  return chip;
}

}  // namespace narrows
