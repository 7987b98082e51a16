// Logs spoiled in many ways: every one is read or refused in one printable line, and whatever is
// read can be stored and read back.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "base/random.h"
#include "store/import.h"
#include "tests/store/fixture.h"

namespace narrows {
namespace {

const char* const kNccl =
    "# nccl-tests version 2.17.1 nccl-headers=22803 nccl-library=22803\n"
    "# Collective test starting: all_reduce_perf\n"
    "# nThread 1 nGpus 1 minBytes 8 maxBytes 1024 step: 2(factor) warmup iters: 5 iters: 20\n"
    "#  Rank  0 Group  0 Pid      1 on     host device  0 [0000:07:00] NVIDIA H800\n"
    "#  Rank  1 Group  0 Pid      2 on     host device  1 [0000:0b:00] NVIDIA H800\n"
    "#       size         count      type   redop    root     time   algbw   busbw #wrong     time "
    " "
    " algbw   busbw #wrong\n"
    "  1048576  262144  float  sum  -1  100.0  10.49  10.49  0  100.0  10.49  10.49  0\n"
    "# Out of bounds values : 0 OK\n";
const char* const kOsu =
    "# OSU MPI Allreduce Latency Test v7.4\n# Size  Avg Latency(us)  Min Latency(us)\n"
    "8  1.5  1.0\n1024  2.5  2.0\n";
const char* const kTrace =
    R"({"deviceProperties": [{"name": "NVIDIA H800"}], "traceEvents": [
{"ph":"X","cat":"cpu_op","name":"aten::mm","pid":1,"tid":1,"ts":1.5,"dur":20,"args":{"External id":7,"Sequence number":3,"Input Dims":[[64,32],[32,16]],"Input type":["float","float"]}},
{"ph":"X","cat":"kernel","name":"gemm","ts":30.25,"dur":18.125,"args":{"External id":7,"device":0,"stream":7}},
{"ph":"X","cat":"kernel","name":"ncclDevKernel","ts":90,"dur":7,"args":{"Collective name":"allreduce","In msg nelems":1024,"Out msg nelems":1024,"Group size":8,"dtype":"Float"}}
]})";
const char* const kRows =
    "# narrows profile\n# device: NVIDIA H800\n# clock: 1755 MHz\n"
    "op,direction,recipe,shape,us,us_p10,us_p90,samples\n"
    "matmul,forward,bf16,m=64;n=32;k=16,1.5,1,2,50\nall-reduce,,float,ranks=8;bytes=64,9,,,\n";
const char* const kTable =
    "family,matmul\nrecipe,bf16\ndirection,forward\nchip,h800-sxm5\nsource,S-A\n"
    "columns,m,n,k,us\n8,16,32,1.5\n16,16,32,1.6\n";
const char* const kXml =
    "<system version=\"1\"><cpu numaid=\"0\"><pci busid=\"0\" vendor=\"0x10de\" "
    "device=\"0x2330\"><gpu dev=\"0\"><nvlink target=\"1\" count=\"18\"/></gpu></pci><pci "
    "busid=\"1\" vendor=\"0x10de\" device=\"0x2330\"><gpu dev=\"1\"><nvlink target=\"0\" "
    "count=\"18\"/></gpu></pci><nic><net name=\"m\" speed=\"400000\"/></nic></cpu></system>";
const char* const kMatrix =
    "\tGPU0\tGPU1\tNIC0\nGPU0\t X \tNV18\tPIX\nGPU1\tNV18\t X \tSYS\nNIC0\tPIX\tSYS\t X \n";

// One spoiled copy: bytes changed, doubled, left out, or the end cut off.
std::string spoiled(std::string text, Random& random) {
  const std::string bytes = "0919-.,;:={}[]<>\"\\/ \n\t#eEnNx\x01\xff";
  for (std::int64_t times = random.between(1, 4); times > 0 && !text.empty(); --times) {
    const auto at = static_cast<std::size_t>(random.below(text.size()));
    const auto length = static_cast<std::size_t>(random.between(1, 12));
    switch (random.below(5)) {
      case 0:
        text[at] = bytes[static_cast<std::size_t>(random.below(bytes.size()))];
        break;
      case 1:
        text.insert(at, 1, bytes[static_cast<std::size_t>(random.below(bytes.size()))]);
        break;
      case 2:
        text.erase(at, length);
        break;
      case 3:
        text.insert(at, text.substr(at, length));
        break;
      default:
        text.resize(at);
    }
  }
  return text;
}

void expect_sentence(const Error& error) {
  CHECK(!error.message.empty());
  for (const char c : error.message) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) FAIL("not printable: " << error.message);
  }
}

}  // namespace

TEST_CASE("spoiled logs are read or refused, and what is read can be stored") {
  const ScratchFolder folder;
  Store store = value_of(Store::open(folder.file("m.db")));
  int read = 0;
  for (const char* text : {kNccl, kOsu, kTrace, kRows, kTable}) {
    const ForeignKind kind = recognise(text);
    REQUIRE(read_log(kind, text, "log", {"", 2}, "").has_value());
    Random random(7);
    for (int i = 0; i < 1500; ++i) {
      const std::string copy = spoiled(text, random);
      INFO(copy);
      (void)recognise(copy);
      Result<std::vector<Batch>> batches = read_log(kind, copy, "log", {"", 2}, "");
      if (!batches) {
        expect_sentence(batches.error());
        continue;
      }
      const auto added = store.add(*batches);
      if (!added) expect_sentence(added.error());
      ++read;
    }
  }
  CHECK(read > 500);
  CHECK(value_of(store.batches()).size() > 100);
}

TEST_CASE("spoiled topologies are read or refused") {
  const ProfileLibrary library = value_of(ProfileLibrary::open({}));
  int made = 0;
  for (const char* text : {kXml, kMatrix}) {
    Random random(11);
    for (int i = 0; i < 1500; ++i) {
      const std::string copy = spoiled(text, random);
      INFO(copy);
      const Result<Topology> topology =
          text == kXml ? read_nccl_topology(copy, "t") : read_topology_matrix(copy, "t");
      if (!topology) {
        expect_sentence(topology.error());
        continue;
      }
      const Result<Cluster> cluster = cluster_of(*topology, "t", "h100-sxm5", 1, library);
      if (!cluster) expect_sentence(cluster.error());
      made += cluster.has_value();
    }
  }
  CHECK(made > 100);
}

}  // namespace narrows
