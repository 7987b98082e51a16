// Who this machine is, as its measurements are filed: the processor by its name and count, and how
// many ranks shared it, since every rank's ops slow the others' down.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "measurement/observation.h"

namespace narrows {

struct MachineInfo {
  std::string processor;  // "Intel(R) Xeon(R) Processor"
  int processors = 1;     // that threads may run on
  Bytes memory;           // in all
  bool has_bf16 = false;  // multiplies bf16 faster than f32 (AMX, AVX512-BF16)
};

// From Linux's /proc/cpuinfo and /proc/meminfo, and the number of processors.
MachineInfo machine_info_of(std::string_view cpuinfo, std::string_view meminfo, int processors);
MachineInfo this_machine();

// "intel-xeon-processor-2cpu-4rank": the name under which kernels of `ranks` ranks are kept.
std::string local_chip_name(const MachineInfo& machine, int ranks);

// The fingerprint of measurements taken by `ranks` ranks here.
Machine fingerprint_of(const MachineInfo& machine, int ranks);

}  // namespace narrows
