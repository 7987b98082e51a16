// Logs of other programs, whatever kind the bytes look like, and topologies.
// SPDX-License-Identifier: Apache-2.0
#include "store/import.h"
#include "tests/fuzz/fuzz.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const ForeignKind kind = recognise(text);
  if (kind == ForeignKind::NcclTopology || kind == ForeignKind::TopologyMatrix) {
    const auto topology = kind == ForeignKind::NcclTopology
                              ? read_nccl_topology(text, fuzz::kFile)
                              : read_topology_matrix(text, fuzz::kFile);
    if (!topology) fuzz::expect_sentence(topology.error());
    return 0;
  }
  const auto batches = read_log(kind, text, fuzz::kFile, {"", 8}, "2026-11-22");
  if (!batches) fuzz::expect_sentence(batches.error());
  return 0;
}
