// `narrows train`: executes a plan on the built-in runtime.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/local.h"
#include "cli/plan_comparison.h"
#include "cli/play_plan.h"
#include "cli/search_job.h"
#include "measure/profile.h"
#include "report/op_table.h"
#include "report/perfetto.h"
#include "runtime/world.h"

namespace narrows {
namespace {

Json to_json(const StepMetrics& m) {
  Json line = Json::object();
  line.set("step", m.step);
  line.set("loss", m.loss);
  if (m.mtp_loss > 0) line.set("mtp_loss", m.mtp_loss);
  if (m.aux_loss > 0) line.set("aux_loss", m.aux_loss);
  line.set("grad_norm", m.grad_norm);
  line.set("seconds", m.seconds);
  line.set("tokens_per_second", m.tokens_per_second);
  if (m.calibration > Seconds()) line.set("calibration_seconds", m.calibration / sec);
  return line;
}

// Where each step is told: stdout, and a line of the metrics file.
class Teller {
 public:
  Teller(const TrainOptions& options, const CommonOptions& common, const Console& console)
      : path_(options.metrics), json_(common.json), console_(console) {}

  // Lines of steps from `first` on, which a job that was killed may have written, are dropped:
  // those steps are run again.
  Status open(std::int64_t first) {
    if (!path_ || !leads_job()) return {};
    const std::string kept = first > 0 ? lines_before(first) : "";
    TRY(write_file(*path_, kept));
    file_.open(*path_, std::ios::app);
    if (!file_) return io_error(fmt::format("{}: cannot be written", *path_));
    return {};
  }
  Status tell(const StepMetrics& m) {
    last_ = m;
    if (!json_) {
      console_.out << fmt::format(
          "step {:>6}  loss {:.6f}  grad norm {:.4f}  {:>7.1f} ms  {:>8.0f} tokens/s\n", m.step,
          m.loss, m.grad_norm, m.seconds * 1e3, m.tokens_per_second);
      console_.out.flush();
    }
    if (!path_) return {};
    file_ << to_json(m).compact() << "\n" << std::flush;
    if (!file_) return io_error(fmt::format("{}: cannot write the metrics", *path_));
    return {};
  }
  const StepMetrics& last() const { return last_; }

 private:
  std::string lines_before(std::int64_t first) const {
    std::ifstream old(*path_);
    std::string kept;
    for (std::string line; std::getline(old, line);) {
      const Result<Json> parsed = parse_json(line, *path_);
      const Json* const step = parsed && parsed->is_object() ? parsed->find("step") : nullptr;
      const bool is_whole = step != nullptr && step->kind() == Json::Kind::Integer;
      if (is_whole && step->integer() < first) kept += line + "\n";
    }
    return kept;
  }

  std::optional<std::string> path_;
  bool json_;
  const Console& console_;
  std::ofstream file_;
  StepMetrics last_;
};

// The constants that the plan's model does not state.
std::vector<std::string> assumptions(const Plan& plan) {
  if (plan.model.numerics) return {};
  const Numerics n;
  std::vector<std::string> assumed = {
      fmt::format("norm epsilon {}, rotary base {:.0f}", n.norm_epsilon, n.rope_theta)};
  if (plan.model.moe) {
    assumed.push_back(fmt::format("routed weights {}, times {}",
                                  n.normalise_top_k ? "divided by their sum" : "as scored",
                                  n.routed_scale));
  }
  return assumed;
}

// The forecast beside the measured steps; the trace holds both.
Result<int> compared(const TrainOptions& options, const Plan& plan, TrainingResult& result,
                     std::vector<MeasuredStep> steps, const CommonOptions& common,
                     const Console& console) {
  const std::vector<Measurement> rows = TRY(rows_of_machine(plan.cluster, options.db));
  const PlayedPlan predicted = TRY(play_plan(plan, PricePerTime(), rows));
  const MeasuredSteps measured{std::move(result.timeline), std::move(steps), result.ranks,
                               pace_in(rows).calibration};
  if (measured.steps.empty() || result.ranks == 0)
    return unsupported("--compare: expected ranks that are threads, and a step at least");
  const PlanComparison comparison = compare_plan(plan, predicted, measured);
  if (options.trace) {
    const Timeline middle = middle_step(measured);
    const std::string trace =
        perfetto_trace({{"predicted", predicted.timeline}, {"measured", middle}}, plan.model.name);
    TRY(write_file(*options.trace, trace));
  }
  console.out << (common.json ? to_json(comparison).text() + "\n" : text_of(comparison));
  return result.stopped ? kInterrupted : kDone;
}

}  // namespace

Result<int> train_command(const TrainOptions& options, const CommonOptions& common,
                          const Console& console) {
  const Plan plan = TRY(read_plan(options.plan));
  if (leads_job()) print_assumed(assumptions(plan), common, console);
  Teller teller(options, common, console);
  const std::int64_t first = TRY(first_step(options.training));
  TRY(teller.open(first));
  TrainingOptions training = options.training;
  training.stop = console.stop;
  training.calibrate = options.compare || options.metrics;
  std::vector<MeasuredStep> steps;
  const OnStep tell = [&](const StepMetrics& m) {
    steps.push_back({m.seconds * sec, m.calibration});
    return teller.tell(m);
  };
  const OnBroken end = [&](const Error& error, bool speaks) {
    if (speaks) console.err << "narrows: " << error.within(options.plan).message << std::endl;
    std::_Exit(1);
  };
  Result<TrainingResult> result = run_training(plan, training, tell, end);
  if (!result) return tl::unexpected(result.error().within(options.plan));
  if (!leads_job()) return result->stopped ? kInterrupted : kDone;
  if (options.compare) return compared(options, plan, *result, std::move(steps), common, console);
  if (options.trace) {
    TRY(write_file(*options.trace,
                   perfetto_trace(result->timeline, fmt::format("{}, measured", plan.model.name))));
  }
  const OpTableScope scope{std::max<std::int64_t>(1, teller.last().step + 1 - first),
                           result->ranks};
  if (options.trace && !common.json) console.out << op_table(result->ops, scope);
  if (common.json) {
    Json document = to_json(teller.last());
    document.set("memory_peak_bytes", result->memory_peak / byte);
    document.set("ops", op_table_json(result->ops, scope));
    console.out << document.text() << "\n";
  }
  return result->stopped ? kInterrupted : kDone;
}

}  // namespace narrows
