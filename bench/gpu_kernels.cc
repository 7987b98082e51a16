// Our kernels and cuBLASLt on this machine's GPU: reads a list of cases (op,direction,dtype,shape;
// what `bench/gpu_torch_kernels.py --list` prints), times each on the device, and writes the table
// that `narrows import` takes. The time is that of the kernels by CUPTI, where it runs, else by
// events; `events_us` stands beside it. A case that cannot run is a row without a time, with the
// reason.
//
//   narrows_gpu_kernels CASES.csv OUT.csv [--seconds 480] [--samples 20]
//
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "runtime/gpu_work.h"

namespace narrows {
namespace {

struct Case {
  std::string op, direction, dtype, shape;
};

std::vector<Case> read_cases(const char* file) {
  std::vector<Case> cases;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    Case c;
    std::string* const fields[] = {&c.op, &c.direction, &c.dtype, &c.shape};
    std::size_t at = 0;
    for (std::string* field : fields) {
      const std::size_t comma = line.find(',', at);
      *field = line.substr(at, comma - at);
      at = comma == std::string::npos ? line.size() : comma + 1;
    }
    if (!c.shape.empty() && c.op != "op") cases.push_back(c);
  }
  return cases;
}

std::map<std::string, std::int64_t> extents_of(const std::string& shape) {
  std::map<std::string, std::int64_t> out;
  for (std::size_t at = 0; at < shape.size();) {
    const std::size_t end = std::min(shape.find(';', at), shape.size());
    const std::size_t equals = shape.find('=', at);
    if (equals < end) out[shape.substr(at, equals - at)] = std::atoll(shape.c_str() + equals + 1);
    at = end + 1;
  }
  return out;
}

// What each word of the list is called here; ops that we do not have are left out.
const std::map<std::string, OpKind> kKinds = {{"matmul", OpKind::Matmul},
                                              {"attention", OpKind::Attention},
                                              {"norm", OpKind::Norm},
                                              {"activation", OpKind::ActivationFn},
                                              {"elementwise", OpKind::Elementwise},
                                              {"quantise", OpKind::Quantise},
                                              {"router", OpKind::Router},
                                              {"permute", OpKind::Permute},
                                              {"loss", OpKind::Loss},
                                              {"optimizer", OpKind::Optimizer}};
const std::map<std::string, Direction> kDirections = {{"forward", Direction::Forward},
                                                      {"input-grad", Direction::InputGrad},
                                                      {"weight-grad", Direction::WeightGrad}};
const std::map<std::string, Recipe> kRecipes = {
    {"bf16", Recipe::Bf16}, {"f32", Recipe::F32}, {"fp8-block", Recipe::Fp8Block}};

Result<GpuWork> work_of(const Case& c) {
  const auto kind = kKinds.find(c.op);
  const auto direction = kDirections.find(c.direction);
  const auto recipe = kRecipes.find(c.dtype);
  if (kind == kKinds.end() || direction == kDirections.end() || recipe == kRecipes.end()) {
    return unsupported("not ours: " + c.op + " " + c.direction + " " + c.dtype);
  }
  std::map<std::string, std::int64_t> e = extents_of(c.shape);
  GpuWork work{.kind = kind->second, .direction = direction->second, .recipe = recipe->second};
  work.matmul = {exactly(static_cast<double>(e["m"])), e["n"], e["k"],
                 std::max(1, static_cast<int>(e["groups"]))};
  work.attention = {.batch = static_cast<double>(e["batch"]),
                    .heads = static_cast<int>(e["heads"]),
                    .kv_heads = static_cast<int>(e["kv_heads"]),
                    .queries = e["seq"],
                    .keys = e["seq"],
                    .qk_dim = static_cast<int>(e["qk_dim"]),
                    .v_dim = static_cast<int>(e["v_dim"])};
  work.rows = e["rows"];
  work.columns = e["cols"];
  return work;
}

std::string row_of(const Case& c, const GpuTimes& t) {
  std::vector<double> events, times;
  for (const gpu::Sample& s : t.samples) {
    events.push_back(s.events * 1e6);
    times.push_back(kernel_time(s) / us);
  }
  std::sort(events.begin(), events.end());
  std::sort(times.begin(), times.end());
  const std::size_t n = times.size();
  std::string kernel = t.samples[0].kernel;
  std::replace(kernel.begin(), kernel.end(), ',', ';');
  return fmt::format("{},{},{},{},{:.2f},{:.2f},{:.2f},{},{:.0f},{:.0f},{:.2f},{},", c.op,
                     c.direction, c.dtype, c.shape, times[n / 10], times[n / 2], times[9 * n / 10],
                     n, t.floor.flops, t.floor.bytes, events[n / 2], kernel);
}

std::string refused_row(const Case& c, const Error& error) {
  std::string why = error.message;
  std::replace(why.begin(), why.end(), ',', ';');
  return fmt::format("{},{},{},{},,,,0,0,0,,,{}", c.op, c.direction, c.dtype, c.shape, why);
}

std::string state_of(const gpu::DeviceInfo& i) {
  return fmt::format(
      "{:.0f} and {:.0f} MHz of {:.0f} and {:.0f}; {:.0f} W of {:.0f}; {:.0f} C; held down by {}",
      i.clock / 1e6, i.memory_clock / 1e6, i.clock_most / 1e6, i.memory_clock_most / 1e6, i.power,
      i.power_limit, i.temperature, i.throttled[0] == '\0' ? "nothing" : i.throttled);
}

// The lines that `narrows import` files the table by, and how the device was before it.
std::string head_of(const gpu::DeviceInfo& i) {
  return fmt::format(
      "# {}; {} multiprocessors\n# driver: {}\n# libraries: {}\n# clock: {:.0f} MHz\n"
      "# memory clock: {:.0f} MHz\n# before: {}\n",
      i.name, i.multiprocessors, i.driver, i.libraries, i.clock / 1e6, i.memory_clock / 1e6,
      state_of(i));
}

struct Job {
  std::vector<Case> cases;
  double seconds = 480;
  GpuRules rules;
};

Result<int> measure(Gpu& gpu, const Job& job, std::ofstream& out) {
  const std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  out << head_of(TRY(gpu.info()))
      << "op,direction,dtype,shape,us_p10,us_median,us_p90,samples,flops,bytes,events_us,kernel,"
         "note\n";
  int done = 0;
  for (const Case& c : job.cases) {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    if (spent.count() > job.seconds) break;
    const Result<GpuWork> work = work_of(c);
    if (!work.has_value()) continue;
    const Result<GpuTimes> times = time_on_gpu(gpu, *work, job.rules);
    out << (times.has_value() ? row_of(c, *times) : refused_row(c, times.error())) << std::endl;
    ++done;
  }
  out << "# after: " << state_of(TRY(gpu.info())) << "\n";
  return done;
}

Result<int> run(int argc, char** argv) {
  if (argc < 3)
    return invalid("usage: narrows_gpu_kernels CASES.csv OUT.csv [--seconds S] [--samples N]");
  Job job{.cases = read_cases(argv[1])};
  for (int i = 3; i + 1 < argc; i += 2) {
    if (std::string(argv[i]) == "--seconds") job.seconds = std::atof(argv[i + 1]);
    if (std::string(argv[i]) == "--samples")
      job.rules.samples = std::max(1, std::atoi(argv[i + 1]));
  }
  const gpu::Api* api = TRY(load_gpu_module());
  Gpu gpu = TRY(Gpu::open(*api));
  std::ofstream out(argv[2]);
  const GpuWork first{.kind = OpKind::Elementwise, .rows = 1024, .columns = 1024};
  const Result<GpuTimes> probe = time_on_gpu(gpu, first, job.rules);
  if (!probe.has_value() && probe.error().code == ErrorCode::Unsupported) {
    fmt::print(stderr, "kernel times off: {}\n", probe.error().message);
    job.rules.kernels = false;
  }
  return measure(gpu, job, out);
}

}  // namespace
}  // namespace narrows

int main(int argc, char** argv) {
  const narrows::Result<int> done = narrows::run(argc, argv);
  if (!done.has_value()) {
    fmt::print(stderr, "narrows_gpu_kernels: {}\n", done.error().message);
    return 1;
  }
  fmt::print("{} cases -> {}\n", *done, argv[2]);
  return 0;
}
