// Reports with the tables of Nsight Systems' SQLite export, made here.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "store/database.h"
#include "store/foreign_logs.h"
#include "store/import.h"
#include "store/op_text.h"
#include "tests/store/fixture.h"

namespace narrows {
namespace {

constexpr std::int64_t kThread = (std::int64_t{77} << 24) + 5;  // of process 77

class Report {
 public:
  explicit Report(const std::string& path)
      : path_(path), database_(value_of(Database::open(path, Database::Mode::ReadWrite))) {
    run("CREATE TABLE StringIds(id INTEGER PRIMARY KEY, value TEXT);"
        "CREATE TABLE TARGET_INFO_GPU(id INTEGER, name TEXT);"
        "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL(start INT,end INT,deviceId INT,contextId INT,"
        "streamId INT,correlationId INT,globalPid INT,demangledName INT,shortName INT);"
        "CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME(start INT,end INT,globalTid INT,correlationId "
        "INT,nameId INT);"
        "CREATE TABLE NVTX_EVENTS(start INT,end INT,eventType INT,text TEXT,globalTid INT,textId "
        "INT);"
        "INSERT INTO TARGET_INFO_GPU VALUES(0,'NVIDIA H100 80GB HBM3'),(1,'NVIDIA H100 80GB "
        "HBM3')");
  }
  // A range that launches one kernel.
  Report& op(const std::string& text, const std::string& kernel, int time_ns) {
    const int id = ++ids_;
    run(fmt::format("INSERT INTO NVTX_EVENTS VALUES({},{},59,'{}',{},NULL)", id * 1000,
                    id * 1000 + 900, text, kThread));
    return launch(kernel, time_ns);
  }
  Report& launch(const std::string& kernel, int time_ns) {
    run(fmt::format("INSERT INTO StringIds VALUES({},'{}')", 100 + ++names_, kernel));
    run(fmt::format("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES({},{},{},{},0)",
                    ids_ * 1000 + 100, ids_ * 1000 + 110, kThread, names_));
    run(fmt::format("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES({},{},0,1,7,{},{},{},{})", gpu_,
                    gpu_ + time_ns, names_, std::int64_t{77} << 24, 100 + names_, 100 + names_));
    gpu_ += time_ns;
    return *this;
  }
  void run(const std::string& sql) { REQUIRE(database_.execute(sql).has_value()); }
  Batch read() const { return value_of(read_nsight(path_, {}))[0]; }

 private:
  std::string path_;
  Database database_;
  int ids_ = 0;
  int names_ = 0;
  std::int64_t gpu_ = 1'000'000;
};

std::vector<std::string> ops_of(const Batch& batch) {
  std::vector<std::string> ops;
  for (const KernelObservation& row : batch.kernels) {
    const OpText text = op_text(row.what);
    ops.push_back(fmt::format("{} {} {} {} {:g}", text.op, text.direction, text.recipe, text.shape,
                              row.what.time / us));
  }
  return ops;
}

using Ops = std::vector<std::string>;

}  // namespace

TEST_CASE("nsight: kernels are named by the range they were launched in") {
  const ScratchFolder folder;
  Report report(folder.file("r.sqlite"));
  report.op(
      "aten::mm, seq = 3, op_id = 7, sizes = [[4096, 7168], [7168, 2112]], input_op_ids = "
      "[(5,0), (6,0)]",
      "nvjet_tst_128x256_64x4", 180'000);
  report.op("aten::mm, seq = 4, op_id = 8, sizes = [[64, 32], [32, 16]]",
            "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n", 9'000);
  const Batch batch = report.read();
  CHECK(batch.machine.device == "NVIDIA H100 80GB HBM3");
  CHECK(batch.machine.chip == "h100-sxm5");
  CHECK(batch.origin.kind == "nsight-systems");
  CHECK(ops_of(batch) == Ops{"matmul forward bf16 m=4096;n=2112;k=7168 180",
                             "matmul forward fp16 m=64;n=16;k=32 9"});
  CHECK(batch.unread.empty());
}

TEST_CASE("nsight: the innermost range counts, and gradients find their forward operator") {
  const ScratchFolder folder;
  Report report(folder.file("r.sqlite"));
  report.op("aten::mm, seq = 3, op_id = 7, sizes = [[4096, 7168], [7168, 2112]]", "gemm_bf16", 180);
  report.run(
      fmt::format("INSERT INTO NVTX_EVENTS VALUES(1950,2950,59,"
                  "'autograd::engine::evaluate_function: MmBackward0, seq = 3, op_id = 9',"
                  "{},NULL)",
                  kThread));
  report.op("aten::mm, op_id = 10, sizes = [[4096, 2112], [2112, 7168]]", "gemm_bf16", 190);
  CHECK(ops_of(report.read()) == Ops{"matmul forward bf16 m=4096;n=2112;k=7168 0.18",
                                     "matmul input-grad bf16 m=4096;n=2112;k=7168 0.19"});
}

TEST_CASE("nsight: texts may stand in the table of strings") {
  const ScratchFolder folder;
  Report report(folder.file("r.sqlite"));
  report.run("INSERT INTO StringIds VALUES(1,'aten::mm, sizes = [[64, 32], [32, 16]]')");
  report.run(fmt::format("INSERT INTO NVTX_EVENTS VALUES(50,900,59,NULL,{},1)", kThread));
  report.launch("gemm_bf16", 9'000);
  CHECK(ops_of(report.read()) == Ops{"matmul forward bf16 m=64;n=16;k=32 9"});
}

TEST_CASE("nsight: kernels without ranges, sizes or a number format are counted") {
  const ScratchFolder folder;
  Report report(folder.file("r.sqlite"));
  report.op("aten::mm, sizes = [[64, 32], [32, 16]]", "gemm_of_some_kind", 5'000);
  report.op("aten::mm, sizes = [[64, 32], [32", "gemm_bf16", 4'000);
  report.op("my range", "void foo<float>(int)", 3'000);
  const Batch batch = report.read();
  CHECK(batch.kernels.empty());
  REQUIRE(batch.unread.size() == 3);
  CHECK(batch.unread[0].why == "aten::mm whose kernel does not tell its number format");
  CHECK(batch.unread[1].why == "aten::mm without sizes");
  CHECK(batch.unread[2].why == "kernel foo of no operator");
}

TEST_CASE("nsight: recognised by its tables; other databases and broken ones are refused") {
  const ScratchFolder folder;
  const std::string path = folder.file("r.sqlite");
  { Report(path).op("aten::mm, sizes = [[64, 32], [32, 16]]", "gemm_bf16", 5'000); }
  CHECK(value_of(recognise_database(path)) == ForeignKind::Nsight);
  CHECK(contains(refusal_of(Store::open_to_read(path)), "another SQLite database"));
  const std::string whole = value_of(read_file(path));
  const std::string cut = folder.write("cut.sqlite", whole.substr(0, whole.size() / 2));
  const Result<ForeignKind> kind = recognise_database(cut);
  if (kind) CHECK(!refusal_of(read_nsight(cut, {})).empty());
  const std::string other = folder.file("other.sqlite");
  value_of(Database::open(other, Database::Mode::ReadWrite)).execute("CREATE TABLE t(x)");
  CHECK(contains(refusal_of(recognise_database(other)), "another SQLite database"));
  const std::string empty = folder.file("empty.sqlite");
  value_of(Database::open(empty, Database::Mode::ReadWrite))
      .execute("CREATE TABLE StringIds(id INTEGER, value TEXT)");
  CHECK(contains(refusal_of(read_nsight(empty, {})), "was CUDA traced?"));
}

TEST_CASE("nsight: launches by the driver's own calls are in a table of their own") {
  const ScratchFolder folder;
  Report report(folder.file("r.sqlite"));
  report.op("aten::mm, seq = 3, op_id = 7, sizes = [[4096, 7168], [7168, 2112]]",
            "nvjet_tst_128x256_64x4", 180'000);
  const Ops before = ops_of(report.read());
  report.run("ALTER TABLE CUPTI_ACTIVITY_KIND_RUNTIME RENAME TO CUPTI_ACTIVITY_KIND_DRIVER");
  CHECK(ops_of(report.read()) == before);
  CHECK(before.size() == 1);
}

}  // namespace narrows
