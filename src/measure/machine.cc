// SPDX-License-Identifier: Apache-2.0
#include "measure/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <thread>

#include "runtime/cpu_backend.h"

namespace narrows {
namespace {

// The words after "key :" on the first line that begins with the key; "" = none.
std::string_view value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.starts_with(key)) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
    return value;
  }
  return {};
}

// Small letters and digits joined by single dashes; trade marks and clock rates are left out.
std::string slug(std::string_view words) {
  std::string name;
  bool in_brackets = false;
  for (const char c : words.substr(0, words.find('@'))) {
    in_brackets = c == '(' || (in_brackets && c != ')');
    const char small = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool is_word = (small >= 'a' && small <= 'z') || (small >= '0' && small <= '9');
    if (is_word && !in_brackets) {
      name += small;
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name.empty() ? "cpu" : name;
}

std::string text_of_file(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string kernel_release() {
  utsname name{};
  return uname(&name) == 0 ? fmt::format("{} {}", name.sysname, name.release) : "";
}

}  // namespace

MachineInfo machine_info_of(std::string_view cpuinfo, std::string_view meminfo, int processors) {
  MachineInfo info;
  info.processor = value_of(cpuinfo, "model name");
  if (info.processor.empty()) info.processor = "processor";
  info.processors = std::max(processors, 1);
  const std::string flags = fmt::format(" {} ", value_of(cpuinfo, "flags"));
  info.has_bf16 = flags.find(" amx_bf16 ") != std::string::npos;
  const std::string_view total = value_of(meminfo, "MemTotal");
  double kib = 0;
  std::from_chars(total.data(), total.data() + total.size(), kib);
  info.memory = kib * KiB;
  return info;
}

MachineInfo this_machine() {
  return machine_info_of(text_of_file("/proc/cpuinfo"), text_of_file("/proc/meminfo"),
                         static_cast<int>(std::thread::hardware_concurrency()));
}

std::string local_chip_name(const MachineInfo& machine, int ranks) {
  return fmt::format("{}-{}cpu-{}rank", slug(machine.processor), machine.processors, ranks);
}

Machine fingerprint_of(const MachineInfo& machine, int ranks) {
  Machine m;
  m.chip = local_chip_name(machine, ranks);
  m.device = machine.processor;
  m.driver = kernel_release();
  m.libraries = cpu_matmul_library();
  return m;
}

}  // namespace narrows
