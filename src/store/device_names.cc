// SPDX-License-Identifier: Apache-2.0
#include "store/device_names.h"

#include <array>

namespace narrows {
namespace {

struct Device {
  std::string_view name;
  std::string_view chip;
};

constexpr std::array<Device, 40> kDevices{{
    {"A10", "a10"},
    {"A100-PCIE-40GB", "a100-pcie-40gb"},
    {"A100 80GB PCIe", "a100-pcie-80gb"},
    {"A100-SXM4-40GB", "a100-sxm4-40gb"},
    {"A100-SXM4-80GB", "a100-sxm4-80gb"},
    {"A30", "a30"},
    {"A40", "a40"},
    {"A800 80GB PCIe", "a800-pcie-80gb"},
    {"A800-SXM4-80GB", "a800-sxm4-80gb"},
    {"B200", "b200"},
    {"B300 SXM6 AC", "b300"},
    {"GB200", "gb200"},
    {"GB300", "gb300"},
    {"GH200 480GB", "gh200-96gb"},
    {"GH200 120GB", "gh200-96gb"},
    {"H100 80GB HBM3", "h100-sxm5"},
    {"H100 NVL", "h100-nvl"},
    {"H100 PCIe", "h100-pcie"},
    {"H20", "h20-96gb"},
    {"H200", "h200-sxm"},
    {"H200 NVL", "h200-nvl"},
    {"H800", "h800-sxm5"},
    {"H800 PCIe", "h800-pcie"},
    {"L2", "l2"},
    {"L20", "l20"},
    {"L4", "l4"},
    {"L40", "l40"},
    {"L40S", "l40s"},
    {"GeForce RTX 3090", "rtx-3090"},
    {"GeForce RTX 4090", "rtx-4090"},
    {"GeForce RTX 4090 D", "rtx-4090d"},
    {"GeForce RTX 5090", "rtx-5090"},
    {"GeForce RTX 5090 D", "rtx-5090d"},
    {"V100-SXM2-16GB", "v100-sxm2-16gb"},
    {"V100-SXM2-32GB", "v100-sxm2-32gb"},
    {"V100-PCIE-32GB", "v100-pcie-32gb"},
    {"Instinct MI210", "mi210"},
    {"Instinct MI300X", "mi300x"},
    {"Instinct MI308X", "mi308x"},
    {"Instinct MI325X", "mi325x"},
}};

struct PciDevice {
  unsigned vendor;
  unsigned device;
  std::string_view chip;
};

constexpr std::array<PciDevice, 24> kPciDevices{{
    {0x10de, 0x1db1, "v100-sxm2-16gb"},
    {0x10de, 0x1db5, "v100-sxm2-32gb"},
    {0x10de, 0x20b0, "a100-sxm4-40gb"},
    {0x10de, 0x20b2, "a100-sxm4-80gb"},
    {0x10de, 0x20b5, "a100-pcie-80gb"},
    {0x10de, 0x20f1, "a100-pcie-40gb"},
    {0x10de, 0x20b7, "a30"},
    {0x10de, 0x20f3, "a800-sxm4-80gb"},
    {0x10de, 0x2235, "a40"},
    {0x10de, 0x2321, "h100-nvl"},
    {0x10de, 0x2322, "h800-pcie"},
    {0x10de, 0x2324, "h800-sxm5"},
    {0x10de, 0x2329, "h20-96gb"},
    {0x10de, 0x2330, "h100-sxm5"},
    {0x10de, 0x2331, "h100-pcie"},
    {0x10de, 0x2335, "h200-sxm"},
    {0x10de, 0x26b5, "l40"},
    {0x10de, 0x26b9, "l40s"},
    {0x10de, 0x26ba, "l20"},
    {0x10de, 0x27b8, "l4"},
    {0x10de, 0x2901, "b200"},
    {0x10de, 0x2941, "gb200"},
    {0x1002, 0x74a1, "mi300x"},
    {0x1002, 0x74a5, "mi325x"},
}};

}  // namespace

std::string chip_of_device(std::string_view device) {
  for (const std::string_view maker : {"NVIDIA ", "Tesla ", "AMD "}) {
    if (device.starts_with(maker)) device.remove_prefix(maker.size());
  }
  for (const Device& known : kDevices) {
    if (known.name == device) return std::string(known.chip);
  }
  return "";
}

std::string chip_of_pci(unsigned vendor, unsigned device) {
  for (const PciDevice& known : kPciDevices) {
    if (known.vendor == vendor && known.device == device) return std::string(known.chip);
  }
  return "";
}

}  // namespace narrows
