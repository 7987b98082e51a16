// SPDX-License-Identifier: Apache-2.0
#include "hardware/chip.h"

#include <fmt/format.h>

namespace narrows {

const std::vector<std::string>& peak_formats() {
  static const std::vector<std::string> formats = {
      "fp64",       "fp64-tensor", "fp32",      "tf32", "bf16", "fp16",
      "fp16-acc16", "fp8",         "fp8-acc16", "int8", "fp4",  "int4"};
  return formats;
}

Result<FlopRate> peak_rate(const Chip& chip, const std::string& format) {
  const auto found = chip.peak.find(format);
  if (found != chip.peak.end()) return found->second.value;
  std::string known;
  for (const std::string& name : peak_formats()) {
    if (chip.peak.contains(name)) known += (known.empty() ? "" : ", ") + name;
  }
  return unsupported(fmt::format("{}: expected a format that it computes in ({}), found {}",
                                 chip.name, known, format));
}

}  // namespace narrows
