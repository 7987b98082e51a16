// A cluster, whole or as a profile that names its chip and node, from any bytes.
// SPDX-License-Identifier: Apache-2.0
#include "hardware/cluster_json.h"
#include "tests/fuzz/fuzz.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ProfileNames names = {
      .chip = [](const std::string& name) -> Result<Chip> {
        Chip chip;
        chip.name = name;
        return chip;
      },
      .node = [](const std::string& name) -> Result<Cluster> { return not_found(name); }};
  const auto profile = [&](JsonObject& object) { return cluster_from_profile(object, names); };
  const auto document = parse_json({reinterpret_cast<const char*>(data), size}, fuzz::kFile);
  if (document) {
    const Result<Cluster> cluster = fuzz::whole(profile)(*document);
    if (!cluster) fuzz::expect_sentence(cluster.error());
  }
  return fuzz::check_reader(data, size, fuzz::whole(cluster_from_json),
                            [](const Cluster& cluster) { return to_json(cluster).text(); });
}
