#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "hardware/profile_library.h"
#include "model/builtin.h"
#include "planner/leaf.h"
#include "planner/make_plan.h"
#include "software/library.h"
using namespace narrows;
int main(int argc, char** argv) {
  auto t0 = std::chrono::steady_clock::now();
  auto lib = ProfileLibrary::open({});
  if (!lib) {
    puts(lib.error().message.c_str());
    return 1;
  }
  auto model = load_model(argv[1]);
  if (!model) {
    puts(model.error().message.c_str());
    return 1;
  }
  auto cluster = lib->cluster(
      argv[2], getenv("GPUS") ? std::optional<int>(atoi(getenv("GPUS"))) : std::nullopt);
  if (!cluster) {
    puts(cluster.error().message.c_str());
    return 1;
  }
  auto sw = find_software(argv[3]);
  if (!sw) {
    puts(sw.error().message.c_str());
    return 1;
  }
  auto pins = parse_pins(argc > 4 ? argv[4] : "");
  if (!pins) {
    puts(pins.error().message.c_str());
    return 1;
  }
  auto tr = default_training(*model);
  Training training{tr.sequence, tr.global_batch, tr.tokens, Routing::Balanced};
  if (argc > 5) training.sequence = atoi(argv[5]);
  if (argc > 6) training.global_batch = atoi(argv[6]);
  if (argc > 7) training.routing = Routing::Natural;
  auto tables = KernelTables::published();
  if (!tables) {
    puts(tables.error().message.c_str());
    return 1;
  }
  KernelTimes kernels(*tables, cluster->chip, sw->kernel_generation);
  auto t1 = std::chrono::steady_clock::now();
  Job job{model->spec, *cluster, *sw, training, *pins};
  auto r = search(job, kernels, {});
  auto t2 = std::chrono::steady_clock::now();
  fmt::print("load {:.3f} search {:.3f}\n", std::chrono::duration<double>(t1 - t0).count(),
             std::chrono::duration<double>(t2 - t1).count());
  if (!r) {
    puts(r.error().message.c_str());
    return 1;
  }
  fmt::print("space {} eval {} feasible {} sim {} gap {}\n", r->space, r->evaluated, r->feasible,
             r->simulated, r->gap);
  if (r->infeasible) {
    {
      auto counts = routed_groups(job.model);
      LeafEvaluator leaf(job, kernels, counts);
      auto c = leaf.simulate(r->infeasible->strategy);
      for (size_t i = 0; i < c.prediction.memory.size(); ++i)
        fmt::print("rank {}: {:.1f} kept {:.1f} GB\n", i, total(c.prediction.memory[i]) / GB,
                   c.prediction.memory[i].kept / GB);
      for (auto& run : c.runs) fmt::print("[{},{}] ", run.first, run.last);
      puts("");
      r->best.push_back(c);
    }
    auto& i = *r->infeasible;
    fmt::print("infeasible: needs {:.1f} GB of {:.1f}\n", total(i.needed) / GB, i.available / GB);
    fmt::print("{}\n", to_json(i.needed).text());
  }
  for (auto& c : r->best) {
    Plan p = plan_of(job, c, {2 * usd / hour});
    auto& s = c.strategy;
    fmt::print(
        "step {:.3f} bound {:.3f} tp{} cp{} pp{} vpp{} ep{} etp{} dp{} z{} mb{} m{} {} {} {} {} "
        "mem {:.1f}GB mfu {:.3f}\n",
        c.prediction.step.ns * 1e-9, c.bound.ns * 1e-9, s.tp, s.cp, s.pp, s.vpp, s.ep, s.etp, s.dp,
        s.zero, s.micro_batch, s.micro_batches, to_string(s.schedule), to_string(s.precision),
        to_string(s.recompute), to_string(s.order), p.forecast->memory_peak / GB, p.forecast->mfu);
  }
  if (!r->best.empty()) {
    auto& c = r->best[0];
    auto counts = routed_groups(job.model);
    LeafEvaluator leaf(job, kernels, counts);
    Grid g(c.strategy);
    auto bl = block_layout(c.strategy, training.sequence, g, job.cluster);
    for (auto k : {ItemKind::Embedding, ItemKind::DenseLayer, ItemKind::MoeLayer,
                   ItemKind::MtpBlock, ItemKind::Head}) {
      if (k == ItemKind::MoeLayer && !model->spec.moe) continue;
      if (k == ItemKind::MtpBlock && !model->spec.mtp_layers) continue;
      auto& ic = leaf.items().price({k, false}, bl);
      auto& ph = ic.phases;
      fmt::print(
          "{}: F {:.3f} I {:.3f} W {:.3f} ms; aF {:.3f} mF {:.3f} aI {:.3f} mI {:.3f} aW {:.3f} mW "
          "{:.3f} disp {:.3f} comb {:.3f} dX {:.3f} dY {:.3f} pair {:.3f} exp {:.3f} kept "
          "{:.1f}+{:.1f}+{:.1f} MB trans {:.1f}/{:.1f}/{:.1f}\n",
          to_string(k), ic.forward.ns * 1e-6, ic.input_grad.ns * 1e-6, ic.weight_grad.ns * 1e-6,
          ph.attention_forward / ms, ph.mlp_forward / ms, ph.attention_input_grad / ms,
          ph.mlp_input_grad / ms, ph.attention_weight_grad / ms, ph.mlp_weight_grad / ms,
          ph.exchange.dispatch / ms, ph.exchange.combine / ms, ph.exchange.dispatch_gradient / ms,
          ph.exchange.combine_gradient / ms,
          leaf.items().pair({k, false}, {k, false}, bl).ns * 1e-6,
          leaf.items().pair_exposed({k, false}, {k, false}, bl).ns * 1e-6,
          ic.kept.until_input_grad / MB, ic.kept.until_weight_grad / MB,
          ic.kept.input_to_weight_grad / MB, ic.transient.forward / MB,
          ic.transient.input_grad / MB, ic.transient.weight_grad / MB);
    }
    for (auto& [n, t] : c.prediction.breakdown) fmt::print("{} {:.3f}\n", n, t.ns * 1e-9);
    Plan p = plan_of(job, c, {2 * usd / hour});
    fmt::print("{}\n", to_json(p.forecast->memory[c.prediction.fullest_rank]).text());
    for (auto& run : c.runs) fmt::print("[{},{}] ", run.first, run.last);
    puts("");
    fmt::print("basis {}\n", to_json(p.forecast->basis).compact());
  }
}
