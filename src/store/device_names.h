// Chips by the names that others give them: the driver ("NVIDIA H100 80GB HBM3") and the PCI bus
// (10de:2330). Names are those that nvidia-smi and rocm-smi print; numbers those of the PCI ID
// repository. A name that is not known is left unknown.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace narrows {

// The profile of a device: "h100-sxm5", or "".
std::string chip_of_device(std::string_view device);
// Of a PCI vendor and device number.
std::string chip_of_pci(unsigned vendor, unsigned device);

}  // namespace narrows
