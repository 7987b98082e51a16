// Traces in the form of the PyTorch profiler, written here.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "store/foreign_logs.h"
#include "store/op_text.h"
#include "tests/store/fixture.h"

namespace narrows {
namespace {

// Lays operators and kernels one after the other, as a training step does.
class TraceText {
 public:
  // An operator on a thread that launches one kernel of `us` microseconds.
  TraceText& op(const std::string& name, const std::string& args, double time, int thread = 1) {
    const int id = ++ids_;
    begin(name, args, id, 10, thread);
    return kernel("sm90_gemm_bf16bf16", fmt::format("\"External id\": {}", id), time);
  }
  // An operator around the next ones, for `us` microseconds.
  TraceText& around(const std::string& name, const std::string& args, double time, int thread) {
    return begin(name, args, ++ids_, time, thread);
  }
  TraceText& kernel(const std::string& name, const std::string& args, double time, int stream = 7) {
    event(fmt::format(R"("cat": "kernel", "name": "{}", "pid": 0, "tid": 7, "ts": {}, "dur": {}, )"
                      R"("args": {{"device": 0, "stream": {}, {}}})",
                      name, gpu_, time, stream, args));
    gpu_ += time;
    return *this;
  }
  // The next kernel starts this much earlier.
  TraceText& back(double time) {
    gpu_ -= time;
    return *this;
  }
  std::string text() const {
    return R"({"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "NVIDIA H800"}],)"
           "\n\"cuda_runtime_version\": 12040, \"traceEvents\": [" +
           events_ + "\n]}";
  }
  std::vector<Batch> read() const { return value_of(read_pytorch_trace(text(), "t.json", {})); }

 private:
  TraceText& begin(const std::string& name, const std::string& args, int id, double time,
                   int thread) {
    cpu_ += 1;
    event(fmt::format(R"("cat": "cpu_op", "name": "{}", "pid": 1, "tid": {}, "ts": {}, "dur": {}, )"
                      R"("args": {{"External id": {}, {}}})",
                      name, thread, cpu_, time, id, args));
    if (time <= 10) cpu_ += time;
    return *this;
  }
  void event(const std::string& text) {
    events_ += fmt::format("{}\n{{\"ph\": \"X\", {}}}", events_.empty() ? "" : ",", text);
  }

  std::string events_;
  int ids_ = 0;
  double cpu_ = 100;
  double gpu_ = 5000;
};

std::string mm(int m, int k, int n, int sequence = -1) {
  return fmt::format(R"("Sequence number": {}, "Input Dims": [[{}, {}], [{}, {}]], )"
                     R"("Input type": ["c10::BFloat16", "c10::BFloat16"])",
                     sequence, m, k, k, n);
}

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

TEST_CASE("pytorch trace: an operator's kernels are its time, the median of its runs") {
  TraceText trace;
  for (const double time : {200.0, 180.0, 190.0})
    trace.op("aten::mm", mm(4096, 7168, 2112), time - 10)
        .kernel("splitKreduce",
                fmt::format("\"External id\": {}", time == 200   ? 1
                                                   : time == 180 ? 2
                                                                 : 3),
                10);
  const Batch batch = trace.read()[0];
  CHECK(batch.machine.device == "NVIDIA H800");
  CHECK(batch.machine.chip == "h800-sxm5");
  CHECK(batch.machine.libraries == "cuda 12040");
  CHECK(ops_of(batch) == Ops{"matmul forward bf16 m=4096;n=2112;k=7168 190"});
  CHECK(batch.kernels[0].spread.p10 / us == Approx(180));
  CHECK(batch.kernels[0].spread.p90 / us == Approx(200));
  CHECK(batch.kernels[0].spread.samples == 3);
  CHECK(batch.kernels[0].kernel == "sm90_gemm_bf16bf16");
  CHECK(batch.unread.empty());
}

TEST_CASE("pytorch trace: gradients are told apart by their forward operator") {
  TraceText trace;
  trace.op("aten::mm", mm(4096, 7168, 2112, 3), 180);
  trace.around("autograd::engine::evaluate_function: MmBackward0", "\"Sequence number\": 3", 60, 2)
      .op("aten::mm", mm(4096, 2112, 7168), 190, 2)
      .op("aten::mm", mm(2112, 4096, 7168), 210, 2);
  CHECK(ops_of(trace.read()[0]) == Ops{"matmul forward bf16 m=4096;n=2112;k=7168 180",
                                       "matmul input-grad bf16 m=4096;n=2112;k=7168 190",
                                       "matmul weight-grad bf16 m=4096;n=2112;k=7168 210"});
}

TEST_CASE("pytorch trace: a gradient that could be either, or has no forward, is not guessed") {
  TraceText trace;
  trace.op("aten::mm", mm(512, 512, 512, 3), 18);
  trace.around("MmBackward0", "\"Sequence number\": 3", 60, 2)
      .op("aten::mm", mm(512, 512, 512), 19, 2);
  TraceText orphan;
  orphan.around("MmBackward0", "\"Sequence number\": 9", 60, 2)
      .op("aten::mm", mm(512, 256, 128), 19, 2);
  const Batch batch = trace.read()[0];
  CHECK(ops_of(batch) == Ops{"matmul forward bf16 m=512;n=512;k=512 18"});
  REQUIRE(batch.unread.size() == 1);
  CHECK(batch.unread[0].why == "aten::mm of a gradient that could be either");
  CHECK(orphan.read()[0].unread[0].why == "aten::mm of a gradient without its forward operator");
}

TEST_CASE("pytorch trace: a forward pass that is run again in the backward one is forward") {
  TraceText trace;
  trace
      .around("autograd::engine::evaluate_function: CheckpointFunctionBackward",
              "\"Sequence number\": 5", 90, 2)
      .op("aten::mm", mm(4096, 7168, 2112), 180, 2);
  CHECK(ops_of(trace.read()[0]) == Ops{"matmul forward bf16 m=4096;n=2112;k=7168 180"});
}

TEST_CASE("pytorch trace: attention, grouped and scaled matmuls, moves of data") {
  TraceText trace;
  const std::string three =
      R"(["c10::BFloat16", "c10::BFloat16", "c10::BFloat16", "", "", "", ""])";
  trace.op("aten::_scaled_dot_product_flash_attention",
           R"("Input Dims": [[1,128,4096,192],[1,128,4096,192],[1,128,4096,128],[],[],[],[]], )"
           R"("Concrete Inputs": ["","","","0.","True","False",""], "Input type": )" +
               three,
           2800);
  trace.op("aten::_grouped_mm",
           R"("Input Dims": [[32768,7168],[4,7168,4096],[4]], "Input type": )" + three, 2900);
  trace.op("aten::_scaled_mm",
           R"("Input Dims": [[4096,7168],[7168,2112],[4096,1],[1,2112]], )"
           R"("Input type": ["c10::Float8_e4m3fn","c10::Float8_e4m3fn","float","float"])",
           100);
  trace.op("aten::_scaled_mm",
           R"("Input Dims": [[4096,7168],[7168,2112],[4096,56],[56,17]], )"
           R"("Input type": ["c10::Float8_e4m3fn","c10::Float8_e4m3fn","float","float"])",
           110);
  trace.op("aten::mul", R"("Input Dims": [[4096,7168],[4096,7168]], "Input type": )" + three, 60);
  trace.op(
      "aten::copy_",
      R"("Input Dims": [[4096,7168],[4096,7168],[]], "Input type": ["c10::BFloat16","float",""])",
      65);
  CHECK(ops_of(trace.read()[0]) ==
        Ops{"attention forward bf16 batch=1;heads=128;seq=4096;qk_dim=192;v_dim=128;causal=1 2800",
            // The product moves 4096 · 7168 · (2 + 2 + 2) bytes, the cast as many: 2 + 4 each.
            "elementwise forward bf16 bytes=176160768 65",
            "matmul forward bf16 m=32768;n=4096;k=7168;groups=4 2900",
            "matmul forward fp8-block m=4096;n=2112;k=7168 110",
            "matmul forward fp8-row m=4096;n=2112;k=7168 100"});
}

TEST_CASE("pytorch trace: what is not understood is counted with its time") {
  TraceText trace;
  trace.op("aten::mm", mm(64, 64, 64), 5).op("aten::roll", "\"Input Dims\": [[4, 4]]", 7);
  trace.op("aten::roll", "\"Input Dims\": [[4, 4]]", 8).op("aten::mm", "\"x\": 1", 3);
  trace.op("aten::_scaled_dot_product_flash_attention",
           R"("Input Dims": [[1,8,64,64],[1,8,64,64],[1,8,64,64]], "Input type": )"
           R"(["c10::BFloat16","c10::BFloat16","c10::BFloat16"])",
           2);
  trace.kernel("void triton_poi_fused<float>(int)", "\"External id\": 999", 4);
  const Batch batch = trace.read()[0];
  CHECK(batch.kernels.size() == 1);
  std::vector<std::string> lines;
  for (const Unread& left : batch.unread)
    lines.push_back(fmt::format("{} {} {:g}", left.why, left.count, left.time / us));
  CHECK(lines ==
        Ops{"aten::roll 2 15", "kernel triton_poi_fused of no operator 1 4",
            "aten::mm without sizes 1 3",
            "aten::_scaled_dot_product_flash_attention whose record does not say whether it is "
            "causal 1 2"});
}

TEST_CASE("pytorch trace: kernels beside another stream's are no times of an op alone") {
  TraceText trace;
  trace.op("aten::mm", mm(4096, 7168, 2112), 180).back(50);
  trace.kernel("memcpy_kernel", "\"External id\": 999", 50, 20);
  trace.op("aten::mm", mm(4096, 7168, 2112), 100);
  const Batch batch = trace.read()[0];
  CHECK(ops_of(batch) == Ops{"matmul forward bf16 m=4096;n=2112;k=7168 100"});
  REQUIRE(batch.unread.size() == 2);
  CHECK(batch.unread[0].why == "kernels that ran beside another stream's");
  CHECK(batch.unread[0].time / us == Approx(180));
}

TEST_CASE("pytorch trace: TF32 is not taken for f32") {
  TraceText trace;
  const std::string f32 = R"("Input Dims": [[64, 64], [64, 64]], "Input type": ["float", "float"])";
  trace.around("aten::mm", f32, 10, 1)
      .kernel("cutlass_tensorop_s1688gemm_tf32", "\"External id\": 1", 9);
  CHECK(trace.read()[0].unread[0].why == "aten::mm in TF32");
}

TEST_CASE("pytorch trace: collectives are links that include the wait for others") {
  TraceText trace;
  trace.kernel("ncclDevKernel_AllGather_RING_LL",
               R"("External id": 1, "Collective name": "_allgather_base", "In msg nelems": 1024, )"
               R"("Out msg nelems": 8192, "Group size": 8, "dtype": "BFloat16")",
               77);
  trace.kernel("ncclDevKernel_SendRecv", "\"External id\": 2", 5);
  const Batch batch = trace.read()[0];
  REQUIRE(batch.links.size() == 1);
  CHECK(batch.links[0].what.what == CollectiveKind::AllGather);
  CHECK(batch.links[0].what.bytes == 16384 * byte);
  CHECK(batch.links[0].what.ranks == 8);
  CHECK(batch.links[0].what.waits);
  CHECK(batch.unread[0].why == "kernel ncclDevKernel_SendRecv of no operator");
}

TEST_CASE("pytorch trace: cut off at any byte it is refused in one sentence") {
  TraceText trace;
  trace.op("aten::mm", mm(4096, 7168, 2112), 180).op("aten::mm", mm(64, 64, 64), 10);
  const std::string whole = trace.text();
  REQUIRE(read_pytorch_trace(whole, "t.json", {}).has_value());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    INFO(length);
    const auto read = read_pytorch_trace(whole.substr(0, length), "t.json", {});
    REQUIRE(!read.has_value());
    CHECK(contains(read.error().message, "t.json"));
    CHECK(read.error().message.find('\n') == std::string::npos);
  }
}

TEST_CASE("pytorch trace: one without kernels, and one with a broken event, are refused") {
  CHECK(contains(refusal_of(read_pytorch_trace(R"({"traceEvents": []})", "t", {})),
                 "expected kernels in the trace, found none among 0 events"));
  CHECK(contains(refusal_of(read_pytorch_trace(
                     R"({"traceEvents": [{"cat": "kernel", "name": "x", "ts": nan}]})", "t", {})),
                 "t: event 1"));
  CHECK(contains(refusal_of(read_pytorch_trace(R"({"traceEvents": []} more)", "t", {})),
                 "expected the end of the file"));
}

}  // namespace narrows
