// Tables of timings in, and a store as one of them out.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "store/foreign_logs.h"
#include "store/op_text.h"
#include "store/profile_text.h"
#include "tests/store/fixture.h"

namespace narrows {
namespace {

Result<std::vector<Batch>> timings(const std::string& text, const ImportHints& hints = {}) {
  return read_timings(text, "t.csv", hints);
}

std::string first_op(const std::string& text) {
  const std::vector<Batch> batches = value_of(timings(text));
  const OpText op = op_text(batches.at(0).kernels.at(0).what);
  return op.op + " " + op.direction + " " + op.recipe + " " + op.shape;
}

}  // namespace

TEST_CASE("timings: shapes as one column or as many") {
  CHECK(first_op("op,direction,recipe,shape,us\nmatmul,forward,bf16,m=8;n=16;k=32,1.5\n") ==
        "matmul forward bf16 m=8;n=16;k=32");
  CHECK(first_op("op,dtype,m,n,k,groups,us\ngemm,bfloat16,8,16,32,,1.5\n") ==
        "matmul forward bf16 m=8;n=16;k=32");
  CHECK(first_op("op,dtype,bytes,us_median\nrms_norm,bf16,4096,1.5\n") ==
        "norm forward bf16 bytes=4096");
}

TEST_CASE("timings: a table as a PyTorch script writes it") {
  // Causal is told by the FLOPs: 2 · 128 heads · 4096² · (192 + 128) / 2.
  const std::vector<Batch> batches = value_of(timings(
      "# NVIDIA H100 80GB HBM3; torch 2.11.0; cuda 13.0; driver, clocks, power: 580; 2026-11-22\n"
      "op,direction,dtype,shape,us_p10,us_median,us_p90,samples,flops,bytes,note\n"
      "matmul,dgrad,bf16,m=128;n=2112;k=7168,9.5,10.0,11.0,50,0,0,\n"
      "attention,fwd,bf16,batch=1;heads=128;kv=128;seq=4096;dqk=192;dv=128,1,2800,3,7,"
      "687194767360,99,\n"
      "grouped_matmul,fwd,bf16,groups=4;rows=4096;n=4096;k=7168;uneven=0,1,900,1,9,0,0,\n"
      "grouped_matmul,fwd,bf16,groups=4;rows=4096;n=4096;k=7168;uneven=1,1,950,1,9,0,0,\n"
      "adamw,step,f32,numel=67108864,1,700,1,9,0,1879048192,\n"
      "matmul,fwd,fp8-mystery,m=1;n=2;k=3,1,1,1,1,0,0,\n"
      "matmul,fwd,bf16,m=16384;n=2;k=3,,,,0,0,0,OutOfMemoryError: CUDA\n"));
  REQUIRE(batches.size() == 1);
  const Batch& batch = batches[0];
  CHECK(batch.machine.chip == "h100-sxm5");
  CHECK(batch.machine.libraries == "torch 2.11.0, cuda 13.0");
  REQUIRE(batch.kernels.size() == 4);
  CHECK(batch.kernels[0].what.direction == Direction::InputGrad);
  CHECK(batch.kernels[0].spread.samples == 50);
  CHECK(batch.kernels[0].what.time / us == Approx(10));
  CHECK(batch.kernels[1].what.attention ==
        AttentionShape{1, 128, 128, 4096, 4096, 192, 128, true, 0});
  CHECK(batch.kernels[2].what.matmul == MatmulShape{exactly(4096), 4096, 7168, 4});
  CHECK(batch.kernels[3].what.memory_class == "optimizer");
  REQUIRE(batch.unread.size() == 3);
  CHECK(batch.unread[0].why == "grouped_matmul of uneven groups");
  CHECK(batch.unread[1].why == "matmul in fp8-mystery");
  CHECK(batch.unread[2].why == "matmul without a time");
}

TEST_CASE("timings: rows of several chips are several batches") {
  const std::vector<Batch> batches = value_of(timings(
      "op,dtype,m,n,k,us,chip\nmatmul,bf16,8,8,8,1,h100-sxm5\nmatmul,bf16,8,8,8,2,h20-96gb\n"));
  REQUIRE(batches.size() == 2);
  CHECK(batches[0].machine.chip == "h100-sxm5");
  CHECK(batches[1].machine.chip == "h20-96gb");
  CHECK(contains(refusal_of(timings("op,dtype,m,n,k,us,chip\nmatmul,bf16,8,8,8,1,h100-sxm5\n",
                                    {"h800-sxm5", {}})),
                 "--chip h800-sxm5: the row says h100-sxm5"));
}

TEST_CASE("timings: a fault is refused with its line") {
  const std::string head = "op,dtype,m,n,k,us\n";
  CHECK(contains(refusal_of(timings(head + "matmul,bf16,8,8,8,1\nmatmul,bf16,8,8\n")),
                 "t.csv:3: expected 6 values, found 4"));
  CHECK(contains(refusal_of(timings(head + "matmul,bf16,8,8,-8,1\n")), "t.csv:2: k: expected"));
  CHECK(contains(refusal_of(timings(head + "matmul,bf16,8,8,8,fast\n")), "expected microseconds"));
  CHECK(contains(refusal_of(timings(head + "conv,bf16,8,8,8,1\n")), "\"conv\""));
  CHECK(contains(refusal_of(timings(head)), "expected rows with times, found none"));
  CHECK(contains(refusal_of(timings("op,op,us\n")), "column \"op\" is given twice"));
  CHECK(contains(refusal_of(timings("op,m\n")), "expected a column \"us\""));
}

TEST_CASE("profile text: a small store, whole") {
  const ScratchFolder folder;
  Store store = value_of(Store::open(folder.file("m.db")));
  KernelObservation slower = matmul(1);
  slower.what.time = 104 * us;
  const std::vector<Batch> batches{batch_of("a", {matmul(2), matmul(1)}, {all_reduce(1e6, 33.5)}),
                                   batch_of("b", {slower})};
  REQUIRE(store.add(batches).has_value());
  CHECK(value_of(profile_text(store)) ==
        "# narrows profile\n"
        "# device: NVIDIA H800\n"
        "# chip: h800-sxm5\n"
        "# clock: 1755 MHz\n"
        "# memory clock: 2619 MHz\n"
        "# driver: 570.1\n"
        "# libraries: cuda 12.8\n"
        "op,direction,recipe,shape,us,us_p10,us_p90,samples\n"
        "all-reduce,,float,ranks=8;per_node=8;bytes=1000000;method=nccl,33.5,,,\n"
        "matmul,forward,bf16,m=4096;n=2112;k=7168,102,99,103,100\n"
        "matmul,forward,bf16,m=8192;n=2112;k=7168,200,198,206,50\n");
  CHECK(contains(refusal_of(profile_text(store, "a100-sxm4-80gb")), "no measurements of a100"));
}

TEST_CASE("profile text: imported elsewhere it is the same profile") {
  const ScratchFolder folder;
  Store store = value_of(Store::open(folder.file("1.db")));
  Batch other = batch_of("b", {matmul(3, Direction::WeightGrad)});
  other.machine = {"h100-sxm5", "NVIDIA H100 80GB HBM3", {}, {}, "", ""};
  const std::vector<Batch> batches{batch_of("a", {matmul(2), matmul(1)}, {all_reduce(1e6, 33.5)}),
                                   other};
  REQUIRE(store.add(batches).has_value());
  const std::string text = value_of(profile_text(store));
  std::vector<Batch> read = value_of(timings(text));
  REQUIRE(read.size() == 2);
  Store second = value_of(Store::open(folder.file("2.db")));
  for (Batch& batch : read) batch.origin.hash = "x";
  REQUIRE(second.add(read).has_value());
  CHECK(value_of(profile_text(second)) == text);
}

}  // namespace narrows
