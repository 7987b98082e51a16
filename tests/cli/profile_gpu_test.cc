// What `narrows profile --device cuda` says of links.
// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "cli/profile_gpu_links.h"

namespace narrows {
namespace {

LinkMeasurement link_of(CollectiveKind what, int ranks, Bytes bytes, Seconds time) {
  LinkMeasurement link;
  link.what = what;
  link.ranks = ranks;
  link.bytes = bytes;
  link.time = time;
  link.method = ranks == 1 ? "copy to host" : "nccl";
  return link;
}

}  // namespace

TEST_CASE("profile: of each kind of message the largest is shown, with nccl-tests' two rates") {
  LargestLinks links;
  links.add(link_of(CollectiveKind::AllReduce, 8, 256 * MiB, 1 * ms));
  links.add(link_of(CollectiveKind::AllReduce, 8, 64 * MiB, 300 * us));
  links.add(link_of(CollectiveKind::AllReduce, 2, 1 * KiB, 10 * us));
  links.add(link_of(CollectiveKind::SendRecv, 1, 512 * byte, 8 * us));
  CHECK(links.text() ==
        "copy to host           512 B         8.0 us     0.06 GB/s\n"
        "all-reduce of 2        1 KiB        10.0 us     0.10 GB/s, 0.10 on the bus\n"
        "all-reduce of 8      256 MiB      1000.0 us   268.44 GB/s, 469.76 on the bus\n");
}

TEST_CASE("profile: with one GPU it is said that nobody talked") {
  GpuLinkSummary done;
  done.gpus = 1;
  done.cases = 33;
  done.known = 3;
  done.measured = 30;
  done.elapsed = 4 * sec;
  done.no_collectives = "collectives need two GPUs, and this machine shows one";
  CHECK(text_of(done) ==
        "30 of 30 copies and messages among 1 GPU timed in 4 s, 3 known before\n"
        "no collectives timed: collectives need two GPUs, and this machine shows one\n");
}

}  // namespace narrows
