// What a file is, told by what it holds.
// SPDX-License-Identifier: Apache-2.0
#include "store/import.h"

#include "store/profile_text.h"
#include "tests/store/fixture.h"

namespace narrows {

TEST_CASE("import: files are recognised by content") {
  CHECK(recognise("# nThread 1 nGpus 8\n") == ForeignKind::NcclTests);
  CHECK(recognise("module loaded\n#       size         count      type   redop  root  time\n") ==
        ForeignKind::NcclTests);
  CHECK(recognise("\n# OSU MPI Latency Test v5.6.3\n# Size  Latency (us)\n") == ForeignKind::Osu);
  CHECK(recognise("{\"schemaVersion\": 1, \"traceEvents\": [") == ForeignKind::PytorchTrace);
  CHECK(recognise(" [{\"ph\": \"X\"}]") == ForeignKind::PytorchTrace);
  CHECK(recognise("{\"model_type\": \"llama\"}") == ForeignKind::ModelConfig);
  CHECK(recognise("{\"a\": {\"architectures\": 1}, \"architectures\": []}") ==
        ForeignKind::ModelConfig);
  CHECK(recognise("<?xml version=\"1.0\"?>\n<system version=\"1\">") == ForeignKind::NcclTopology);
  CHECK(recognise("\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tNV4\n") == ForeignKind::TopologyMatrix);
  CHECK(recognise("# words\nop,direction,dtype,shape,us\n") == ForeignKind::Timings);
  CHECK(recognise("# narrows profile\n# chip: x\n") == ForeignKind::Timings);
  CHECK(recognise("# words\nfamily,matmul\nchip,h100-sxm5\ncolumns,m,n,k\n") ==
        ForeignKind::KernelTable);
  CHECK(recognise("\x1f\x8b\x08 compressed") == ForeignKind::Compressed);
}

TEST_CASE("import: what is none of them is not taken for one") {
  for (const char* text : {"", "   \n", "hello", "a,b,c\n1,2,3\n", "{}", "[]", "[1, 2]",
                           "{\"a\": 1}", "<html></html>", "# a comment\n", "{\"a\"", "\0\0\0"})
    CHECK(recognise(text) == ForeignKind::Unknown);
  CHECK(recognise(std::string(1000, '\0')) == ForeignKind::Unknown);
}

TEST_CASE("import: a kernel table is a batch for each chip and source") {
  const std::string text =
      "family,matmul\nrecipe,bf16\ndirection,forward\n"
      "columns,chip,source,m,n,k,us\nh100-sxm5,S-A,8,16,32,1.5\nh100-sxm5,S-B,8,16,32,1.6\n"
      "h20-96gb,S-A,8,16,32,4\n";
  const std::vector<Batch> batches =
      value_of(read_log(ForeignKind::KernelTable, text, "folder/k.csv", {}, "2026-11-22"));
  REQUIRE(batches.size() == 3);
  CHECK(batches[0].machine.chip == "h100-sxm5");
  CHECK(batches[0].origin.part == "S-A");
  CHECK(batches[0].origin.name == "k.csv");
  CHECK(batches[1].origin.part == "S-B");
  CHECK(batches[2].machine.chip == "h20-96gb");
  CHECK(batches[0].origin.hash == batches[2].origin.hash);
}

TEST_CASE("import: --chip names what a log does not, and must agree with what it does") {
  const std::string plain = "op,dtype,m,n,k,us\nmatmul,bf16,8,8,8,1\n";
  const auto read = [](const std::string& text, const std::string& chip) {
    return read_log(ForeignKind::Timings, text, "t.csv", {chip, {}}, "");
  };
  CHECK(value_of(read(plain, "h20-96gb"))[0].machine.chip == "h20-96gb");
  CHECK(value_of(read(plain, ""))[0].machine.chip.empty());
  CHECK(contains(refusal_of(read("# chip: h100-sxm5\n" + plain, "h20-96gb")), "--chip h20-96gb"));
}

TEST_CASE("import: hashes differ where contents do") {
  CHECK(content_hash("abc") == content_hash("abc"));
  CHECK(content_hash("abc") != content_hash("abd"));
  CHECK(content_hash("abc") != content_hash(std::string("abc\0", 4)));
  CHECK(content_hash(std::string(8, 'x')) != content_hash(std::string(16, 'x')));
  CHECK(content_hash("").size() == 16);
}

}  // namespace narrows
