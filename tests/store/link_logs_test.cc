// Logs of nccl-tests and OSU micro-benchmarks, written here in their form.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "store/foreign_logs.h"
#include "store/lines.h"
#include "tests/store/fixture.h"

namespace narrows {
namespace {

std::string nccl_head(int ranks, int nodes = 1) {
  std::string text =
      "# nThread 1 nGpus 1 minBytes 8 maxBytes 1024 step: 2(factor) warmup iters: 5 iters: 20\n"
      "#\n# Using devices\n";
  for (int rank = 0; rank < ranks; ++rank)
    text += fmt::format(
        "#  Rank {:2} Group  0 Pid {:6} on node{:02} device {:2} [0000:07:00] NVIDIA H800\n", rank,
        1000 + rank, rank * nodes / ranks, rank % 8);
  return text +
         "#\n#                                            out-of-place             in-place\n"
         "#       size         count      type   redop    root     time   algbw   busbw #wrong     "
         "time   algbw   busbw #wrong\n"
         "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            "
         "(us)  (GB/s)  (GB/s)\n";
}

const char* const kRow =
    "  1073741824     268435456     float     sum      -1   4400.0  244.03  427.05      0   "
    "4410.0  243.48  426.09    N/A\n";
const char* const kEnd = "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 426.6\n#\n";

Result<std::vector<Batch>> nccl(const std::string& text, const std::string& name = "x.log",
                                const ImportHints& hints = {}) {
  return read_nccl_tests(text, name, hints);
}

std::string osu(const std::string& title, const std::string& columns, const std::string& rows) {
  return "\n# OSU MPI " + title + " v7.4\n# Datatype: MPI_CHAR.\n# Size  " + columns + "\n" + rows;
}

}  // namespace

TEST_CASE("nccl-tests: a row is two links, in place and out of place") {
  const std::vector<Batch> batches =
      value_of(nccl(nccl_head(8) + kRow + kEnd, "all_reduce_perf.log"));
  REQUIRE(batches.size() == 1);
  CHECK(batches[0].machine.device == "NVIDIA H800");
  CHECK(batches[0].machine.chip == "h800-sxm5");
  REQUIRE(batches[0].links.size() == 2);
  const LinkMeasurement& link = batches[0].links[0].what;
  CHECK(link.what == CollectiveKind::AllReduce);
  CHECK(link.ranks == 8);
  CHECK(link.ranks_per_node == 8);
  CHECK(link.bytes == 1073741824.0 * byte);
  CHECK(link.dtype == "float");
  CHECK(link.time / us == Approx(4400));
  CHECK(!link.in_place);
  CHECK(batches[0].links[1].what.in_place);
  CHECK(batches[0].links[1].what.time / us == Approx(4410));
}

TEST_CASE("nccl-tests: the collective is told by the log before the file's name") {
  const std::string told =
      "# nccl-tests version 2.17.1 nccl-headers=22803 nccl-library=22803\n"
      "# Collective test starting: all_reduce_perf\n";
  const std::vector<Batch> batches =
      value_of(nccl(told + nccl_head(8) + kRow, "alltoall_perf.log"));
  CHECK(batches[0].links[0].what.what == CollectiveKind::AllReduce);
  CHECK(batches[0].machine.libraries == "nccl 22803");
  const std::vector<Batch> command =
      value_of(nccl("$ ./build/all_reduce_perf -b 1G -e 1G -g 8\n" + nccl_head(8) + kRow));
  CHECK(command[0].links[0].what.what == CollectiveKind::AllReduce);
  CHECK(contains(refusal_of(nccl(nccl_head(8) + kRow)), "does not say which collective"));
}

TEST_CASE("nccl-tests: a ratio of bandwidths that is another collective's is refused") {
  CHECK(contains(refusal_of(nccl(nccl_head(8) + kRow, "all_gather_perf.log")),
                 "busbw / algbw: expected 0.875 of all_gather_perf on 8 ranks, found 1.750"));
  CHECK(contains(refusal_of(nccl(nccl_head(4) + kRow, "all_reduce_perf.log")), "expected 1.500"));
}

TEST_CASE("nccl-tests: ranks by host are the ranks of a node") {
  const std::string row =
      "     1048576        262144     float     sum      -1    100.0   10.49   19.66      0    "
      "100.0   10.49   19.66      0\n";
  const std::vector<Batch> batches = value_of(nccl(nccl_head(16, 2) + row, "all_reduce_perf"));
  CHECK(batches[0].links[0].what.ranks == 16);
  CHECK(batches[0].links[0].what.ranks_per_node == 8);
  CHECK(contains(refusal_of(nccl(nccl_head(16, 2) + row, "all_reduce_perf", {"", 8})),
                 "--ranks 8: the log lists 16"));
}

TEST_CASE("nccl-tests: two logs in one file are two batches") {
  const std::vector<Batch> batches = value_of(
      nccl(nccl_head(8) + kRow + kEnd + nccl_head(8) + kRow + kEnd, "all_reduce_perf.log"));
  REQUIRE(batches.size() == 2);
  CHECK(batches[0].links.size() == 2);
  CHECK(batches[1].links.size() == 2);
  CHECK(batches[0].origin.part != batches[1].origin.part);
}

TEST_CASE("nccl-tests: what is cut off or wrong is refused with its line") {
  CHECK(contains(refusal_of(nccl(nccl_head(8), "all_reduce_perf.log")), "the log is cut off"));
  CHECK(contains(refusal_of(nccl(nccl_head(8) + "  1073741824     268435456     float  sum\n",
                                 "all_reduce_perf.log")),
                 "all_reduce_perf.log:16: expected 13 columns, found 4"));
  CHECK(contains(refusal_of(nccl(nccl_head(8) + kRow + "# Out of bounds values : 3 FAILED\n",
                                 "all_reduce_perf.log")),
                 "gave wrong values"));
}

TEST_CASE("osu: latencies of a pair and of a collective") {
  const std::vector<Batch> pair = value_of(read_osu(
      osu("Latency Test", "        Latency (us)", "0       0.22\n8       0.25\n"), "o", {}));
  REQUIRE(pair[0].links.size() == 1);  // an empty message moves no bytes
  CHECK(pair[0].links[0].what.what == CollectiveKind::SendRecv);
  CHECK(pair[0].links[0].what.ranks == 2);
  CHECK(pair[0].links[0].what.time / us == Approx(0.25));
  const std::vector<Batch> reduce = value_of(read_osu(
      osu("Allreduce Latency Test", "Avg Latency(us)  Min Latency(us)  Max Latency(us)  Iterations",
          "1048576    310.20   300.00   320.00    100\n"),
      "o", {"h800-sxm5", 8}));
  CHECK(reduce[0].links[0].what.what == CollectiveKind::AllReduce);
  CHECK(reduce[0].links[0].what.ranks == 8);
  CHECK(reduce[0].links[0].what.bytes == 1048576 * byte);
  CHECK(reduce[0].machine.chip == "h800-sxm5");
}

TEST_CASE("osu: a bandwidth is the time of one message among many") {
  const std::vector<Batch> batches = value_of(
      read_osu(osu("Bandwidth Test", "     Bandwidth (MB/s)", "1000000     20000.0\n"), "o", {}));
  CHECK(batches[0].links[0].what.streamed);
  CHECK(batches[0].links[0].what.time / us == Approx(50));
}

TEST_CASE("osu: sizes of all-gather and all-to-all are of one pair") {
  for (const char* title :
       {"Allgather Latency Test", "All-to-All Personalized Exchange Latency Test"}) {
    const std::vector<Batch> batches =
        value_of(read_osu(osu(title, "Avg Latency(us)", "1024    10.0\n"), "o", {"", 4}));
    CHECK(batches[0].links[0].what.bytes == 4096 * byte);
  }
}

TEST_CASE("osu: what it does not say is asked for") {
  const std::string bcast = osu("Broadcast Latency Test", "Avg Latency(us)", "8   2.0\n");
  CHECK(contains(refusal_of(read_osu(bcast, "o.log", {})), "o.log:2: OSU's output does not say"));
  CHECK(contains(refusal_of(read_osu(osu("Latency Test", "Latency (us)", "8  1\n"), "o", {"", 4})),
                 "a test of a pair has two"));
  CHECK(contains(
      refusal_of(read_osu(osu("Barrier Latency Test", "Avg Latency(us)", ""), "o", {"", 4})),
      "\"Barrier Latency Test\" is an OSU test that narrows does not use"));
  CHECK(contains(refusal_of(read_osu(osu("Latency Test", "Latency (us)", ""), "o", {})),
                 "the log is cut off"));
  CHECK(contains(refusal_of(read_osu(osu("Latency Test", "Latency (us)", "8  x\n"), "o", {})),
                 "expected a size and a number above 0"));
}

TEST_CASE("nccl-tests: what a launcher writes in front of a line is taken off") {
  const std::string plain = nccl_head(8) + kRow + kEnd;
  for (const std::string label :
       {"[1,0]<stdout>:", "[prterun-node01-4242@1,0]<stdout>: ", "0: ", "12: "}) {
    std::string text;
    for (std::string_view rest = plain, line; next_line(rest, line);)
      text += label + std::string(line) + "\n";
    const std::vector<Batch> batches = value_of(nccl(text, "all_reduce_perf.log"));
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].links.size() == 2);
    CHECK(batches[0].machine.device == "NVIDIA H800");
  }
}

TEST_CASE("osu: old versions, tests with validation, and a log with tests of no use") {
  const std::string old = "# OSU MPI Latency Test (Version 2.0)\n# Size Latency (us)\n8 1.05\n";
  CHECK(value_of(read_osu(old, "o", {}))[0].links[0].what.time / us == Approx(1.05));
  const std::string device =
      "# OSU MPI-CUDA Bandwidth Test v7.5\n# Datatype: MPI_CHAR.\n"
      "# Size      Bandwidth (MB/s)        Validation\n1000000     20000.00              Pass\n";
  const std::vector<Batch> batches = value_of(
      read_osu(osu("Barrier Latency Test", "Avg Latency(us)", "   5.60\n") + device, "o", {}));
  REQUIRE(batches.size() == 1);
  CHECK(batches[0].links[0].what.time / us == Approx(50));
  CHECK(batches[0].machine.libraries == "OSU MPI-CUDA");
  REQUIRE(batches[0].unread.size() == 1);
  CHECK(contains(batches[0].unread[0].why, "Barrier Latency Test"));
}

}  // namespace narrows
