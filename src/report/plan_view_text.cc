// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "base/text.h"
#include "report/plan_view.h"
#include "report/text_table.h"

namespace narrows {
namespace {

std::string spaced(std::string name) {
  for (char& c : name) {
    if (c == '_') c = ' ';
  }
  return name;
}

double tokens_a_step(const Training& training) {
  return static_cast<double>(training.sequence) * static_cast<double>(training.global_batch);
}

std::string headline(const Plan& plan) {
  std::string line = fmt::format("{} on {}: {} x {}", plan.model.name, plan.cluster.name,
                                 with_commas(plan.cluster.gpus), plan.cluster.chip.title);
  if (plan.training.tokens > 0)
    line += fmt::format(", {} tokens", short_count(static_cast<double>(plan.training.tokens)));
  return line + "\n";
}

std::string answer(const PlanView& view) {
  const Forecast& f = *view.plan.forecast;
  if (!f.days) return fmt::format("  {} a step\n", duration_text(f.step));
  std::string line =
      fmt::format("  {} days, {} GPU-hours", number_text(*f.days), number_text(*f.gpu_hours));
  if (f.cost_usd)
    line += fmt::format(", {} at {} a GPU-hour", dollars_text(*f.cost_usd),
                        dollars_text(view.price / (usd / hour)));
  return line + "\n";
}

std::string job_text(const Plan& plan) {
  std::string line =
      fmt::format("training {} sequences of {} a step ({} tokens), software {}",
                  with_commas(plan.training.global_batch), with_commas(plan.training.sequence),
                  short_count(tokens_a_step(plan.training)), plan.software.name);
  if (plan.model.moe) line += fmt::format(", routing {}", to_string(plan.training.routing));
  return wrapped(line);
}

std::string figures(const PlanView& view) {
  const Forecast& f = *view.plan.forecast;
  TextTable table("ll");
  table.row({"step", fmt::format("{}, 90 % between {} and {}", duration_text(f.step),
                                 duration_text(f.step_low), duration_text(f.step_high))});
  if (view.stated_step)
    table.row({"", fmt::format("the plan file states {}", duration_text(*view.stated_step))});
  table.row({"speed", fmt::format("{} tokens/s a GPU, {:.1f} TFLOP/s a GPU ({} count)",
                                  number_text(f.tokens_per_second_per_gpu), f.model_tflops_per_gpu,
                                  f.flops_convention)});
  table.row(
      {"MFU", fmt::format("{} of {:.1f} TFLOP/s dense bf16", percent_text(f.mfu), f.peak_tflops)});
  table.row(
      {"memory", fmt::format("{} of {} ({}) on the fullest GPU, pipeline rank {}",
                             gib_text(f.memory_peak), gib_text(f.memory_capacity),
                             percent_text(f.memory_peak / f.memory_capacity), view.fullest_rank)});
  if (f.energy_mwh) table.row({"energy", fmt::format("{} MWh", number_text(*f.energy_mwh))});
  return table.text();
}

std::string breakdown(const Forecast& f) {
  TextTable table("lrr");
  for (const auto& [name, time] : f.breakdown)
    table.row({spaced(name), duration_text(time), percent_text(time / f.step)});
  return "Where the step goes\n" + table.text();
}

// How an average rank spends the makespan; says nothing of one pipeline rank.
std::string phases(const Forecast& f) {
  if (f.memory.size() < 2) return "";
  std::string line;
  for (const auto& [name, time] : f.phases) {
    if (time > Seconds())
      line += fmt::format("{}{} {}", line.empty() ? "" : ", ", name, duration_text(time));
  }
  return "\nPhases of an average pipeline rank\n" + wrapped(line);
}

std::string memory_table(const RankMemory& memory, Bytes capacity, int rank) {
  TextTable table("lr");
  const auto row = [&](const char* name, Bytes bytes) {
    if (bytes > Bytes()) table.row({name, gib_text(bytes)});
  };
  row("parameters", memory.parameters);
  row("gradients", memory.gradients);
  row("optimizer", memory.optimizer);
  row("kept activations", memory.kept);
  row("transient", memory.transient);
  row("communication buffers", memory.comm_buffers);
  row("context", memory.context);
  row("allocator overhead", memory.allocator);
  row(total(memory) <= capacity ? "free" : "missing",
      total(memory) <= capacity ? capacity - total(memory) : total(memory) - capacity);
  return fmt::format("Memory of pipeline rank {}\n", rank) + table.text();
}

std::string alternatives(const SearchSummary& search, Seconds best) {
  if (search.alternatives.empty()) return "";
  TextTable table("rrl");
  std::string out = "\nNearest losers\n";
  for (const Alternative& a : search.alternatives) {
    table.row({duration_text(a.step), difference_text(a.step / best - 1), layout_text(a.strategy)});
    if (!a.difference.empty()) table.row({"", "", "  " + a.difference});
  }
  return out + table.text();
}

std::string proof(const SearchSummary& search) {
  std::string line = fmt::format("{} strategies in the space, {} judged, {} fit, {} simulated; ",
                                 with_commas(search.space), with_commas(search.evaluated),
                                 with_commas(search.feasible), with_commas(search.simulated));
  if (search.gap <= 0 && search.complete) {
    line += "no strategy of the space is faster in the simulator (gap 0).";
  } else if (search.lower_bound > Seconds()) {
    line += fmt::format("cut short: none is faster than {} (gap {}).",
                        duration_text(search.lower_bound), percent_text(search.gap));
  } else {
    line += "cut short: the rest is not known (no lower bound).";
  }
  return "\nProof\n" + wrapped(line);
}

std::string basis(const PlanView& view) {
  const BasisShares& b = view.plan.forecast->basis;
  std::string line = fmt::format(
      "compute time rests on: measured {}, interpolated {}, transferred {}, roofline {}.",
      percent_text(b.measured), percent_text(b.interpolated), percent_text(b.transferred),
      percent_text(b.roofline));
  std::string out = "\nBasis\n" + wrapped(line);
  for (const NearestRun& run : view.nearest_runs) {
    out += wrapped(fmt::format("published run {}: predicted {}, measured {} ({})", run.id,
                               duration_text(run.predicted), duration_text(run.measured),
                               difference_text(run.error)));
  }
  return out;
}

std::string price(const PlanView& view) {
  const Forecast& f = *view.plan.forecast;
  if (!f.days) return "";
  if (!f.cost_usd) return "\nPrice\n" + wrapped("unknown for this node: give --price '$2/h'.");
  return "\nPrice\n" + wrapped(fmt::format(
                           "{} a GPU-hour ({}) times the GPU-hours of the steps alone: no failures "
                           "or restarts, no evaluation, no earlier trials, no data, no staff.",
                           dollars_text(view.price / (usd / hour)), view.price_basis));
}

std::string sentences(const char* title, const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string out = fmt::format("\n{}\n", title);
  for (const std::string& line : lines) out += wrapped(line);
  return out;
}

}  // namespace

std::string layout_text(const Strategy& s) {
  std::string out = fmt::format("pp {} dp {} tp {}", s.pp, s.dp, s.tp);
  const auto add = [&](const char* name, std::int64_t value, std::int64_t usual) {
    if (value != usual) out += fmt::format(" {} {}", name, value);
  };
  add("cp", s.cp, 1);
  add("ep", s.ep, 1);
  add("etp", s.etp, 1);
  add("vpp", s.vpp, 1);
  if (s.zero > 0) out += fmt::format(" zero {}/{}", s.zero, s.dp_shard);
  out += fmt::format(" micro {}x{}", s.micro_batch, s.micro_batches);
  out += fmt::format(" {} {}", to_string(s.schedule), to_string(s.precision));
  if (s.recompute != Recompute::None) out += fmt::format(" recompute {}", to_string(s.recompute));
  if (s.sequence_parallel) out += " sp";
  if (s.order != AxisOrder::TpCpDpPp) out += " pp-inside";
  return out;
}

std::string layout_words(const Strategy& s) {
  std::string out = fmt::format("pipeline {} x data {} x tensor {}", s.pp, s.dp, s.tp);
  if (s.cp > 1) out += fmt::format(" x context {}", s.cp);
  if (s.ep > 1) out += fmt::format(", experts over {}", s.ep);
  if (s.etp > 1) out += fmt::format(", each split in {}", s.etp);
  out += s.zero > 0 ? fmt::format(", ZeRO {} over {}", s.zero, s.dp_shard) : ", no ZeRO";
  out += fmt::format(", {} micro-batches of {} a replica, {}", with_commas(s.micro_batches),
                     s.micro_batch, to_string(s.schedule));
  if (s.vpp > 1) out += fmt::format(" with {} chunks a rank", s.vpp);
  out += fmt::format(", {}, recompute {}", to_string(s.precision), to_string(s.recompute));
  if (s.sequence_parallel) out += ", sequence parallel";
  return out + fmt::format(", order {}", to_string(s.order));
}

std::string text_of(const PlanView& view) {
  const Forecast& f = *view.plan.forecast;
  std::string out = headline(view.plan) + answer(view) + "\n";
  out += figures(view);
  out += "\nLayout\n" + wrapped(layout_words(view.plan.strategy)) + job_text(view.plan) + "\n";
  const auto rank = static_cast<std::size_t>(view.fullest_rank);
  out += rank < f.memory.size()
             ? side_by_side(breakdown(f),
                            memory_table(f.memory[rank], f.memory_capacity, view.fullest_rank))
             : breakdown(f);
  out += phases(f);
  out += sentences("Why", view.reasons);
  if (view.search) out += alternatives(*view.search, f.step) + proof(*view.search);
  return out + basis(view) + price(view);
}

std::string text_of(const InfeasibleView& view) {
  std::string out = headline(view.plan);
  out += wrapped(fmt::format(
      "infeasible: the least demanding layout needs {} on pipeline rank {}, a GPU has {}: {} are "
      "missing.",
      gib_text(total(view.needed)), view.rank, gib_text(view.available),
      gib_text(total(view.needed) - view.available)));
  out += "\nLayout\n" + wrapped(layout_words(view.plan.strategy)) + job_text(view.plan) + "\n";
  out += memory_table(view.needed, view.available, view.rank);
  if (view.search)
    out += fmt::format("\n{} strategies in the space, {} judged, none fits.\n",
                       with_commas(view.search->space), with_commas(view.search->evaluated));
  return out;
}

}  // namespace narrows
