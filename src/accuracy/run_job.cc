// SPDX-License-Identifier: Apache-2.0
#include "accuracy/run_job.h"

#include <fmt/format.h>

#include <algorithm>

#include "accuracy/run_strategy.h"
#include "hardware/cluster_json.h"
#include "plan/validate.h"
#include "software/library.h"

namespace narrows {
namespace {

// Family names of runs -> software profiles. Forks and wrappers of Megatron-Core count as it.
struct Alias {
  const char* family;
  const char* profile;
};
constexpr Alias kAliases[] = {
    {"hai-llm", "hai-llm"},
    {"megatron-2021", "megatron-2021"},
    {"megatron-2022", "megatron-2022"},
    {"megatron-core", "megatron-core"},
    {"megatron-bridge", "megatron-bridge"},
    {"nemo", "nemo"},
    {"dgxc", "nemo"},
    {"nanotron", "nanotron"},
    {"zero-bubble", "zero-bubble"},
    {"fsdp-llm-foundry", "llm-foundry"},
    {"llm-foundry", "llm-foundry"},
    {"torchtitan", "torchtitan"},
    {"fms-fsdp", "fms-fsdp"},
    {"xtuner", "deepspeed"},
    {"deepspeed", "deepspeed"},
    {"deepspeed-megatron", "deepspeed-2021"},
    {"fsdp", "fsdp"},
    {"maxtext", "maxtext"},
    {"narrows", "narrows"},
};

// Before this month Megatron's wrappers ran attention unfused by default; a stack without a name is
// taken to have done the same.
constexpr const char* kFusedAttention = "2023-08";

// NVIDIA's LoRA benchmarks put adapters of this rank beside the projection to queries, keys and
// values (NeMo's peft.target_modules and dim of its Llama recipes; 405B of Megatron-Bridge).
constexpr int kLoraRank = 16;

constexpr int kEveryChip = 1 << 20;

template <typename T>
void include(std::vector<T>& all, T value) {
  if (std::find(all.begin(), all.end(), value) == all.end()) all.push_back(value);
}

// A stack that ran it can run it.
void widen(SoftwareProfile& software, const ModelSpec& model, const Strategy& s) {
  include(software.schedules, s.schedule);
  include(software.recipes, s.precision);
  include(software.recomputes, s.recompute);
  include(software.zero_stages, s.zero);
  if (s.sequence_parallel) software.sequence_parallel = true;
  // The record does not say how: the stack's default, which its profile names first, or the next
  // one that this model's heads allow.
  if (s.cp > 1) {
    std::erase_if(software.context_parallel, [&](ContextExchange exchange) {
      return !spreads(exchange, model.attention, s.tp, s.cp);
    });
    if (software.context_parallel.empty()) software.context_parallel = {ContextExchange::Ring};
    software.context_parallel.resize(1);
  }
  if (s.etp > 1) software.expert_tensor_parallel = true;
  software.most_chunks_per_rank = std::max(software.most_chunks_per_rank, s.vpp);
}

// Same layers, widths, heads and experts; vocabularies are padded differently and do not count.
bool same_shape(const ModelSpec& a, const ModelSpec& b) {
  const AttentionSpec &p = a.attention, &q = b.attention;
  if (a.layers != b.layers || a.hidden != b.hidden || p.kind != q.kind || p.heads != q.heads)
    return false;
  if (p.kv_heads != q.kv_heads || p.kv_lora != q.kv_lora) return false;
  if (a.moe.has_value() != b.moe.has_value()) return false;
  if (!a.moe) return a.ffn == b.ffn;
  return a.moe->experts == b.moe->experts && a.moe->top_k == b.moe->top_k &&
         a.moe->expert_ffn == b.moe->expert_ffn;
}

Training training_of(const Run& run, std::vector<std::string>& assumed) {
  Training training;
  training.sequence = *run.sequence;
  training.global_batch = *run.global_batch;
  if (!run.model->moe) return training;
  training.routing = run.routing == "natural" ? Routing::Natural : Routing::Balanced;
  if (run.routing.empty()) assumed.push_back("routing=balanced");
  return training;
}

Status check_complete(const Run& run) {
  if (!run.model) return unsupported("the model's shape is not published");
  if (!run.hardware.gpus) return unsupported("the number of GPUs is not published");
  if (!run.sequence || !run.global_batch) return unsupported("the batch is not published");
  if (run.hardware.chip.empty()) return unsupported("the chip is not published");
  return {};
}

// A node of a chip that no node type carries: its own links, of which large messages reach the
// share that they do on NVIDIA's nodes (232 of 300 GB/s on A100, 22 of 25 on InfiniBand). A torus
// joins all chips; a run's record says how many the others join.
Cluster node_around(const Chip& chip) {
  constexpr double kLinkShare = 0.77, kNetworkShare = 0.88, kRelayShare = 0.7;
  const auto figure = [](Bandwidth rate, const char* of) {
    return Figure<Bandwidth>{rate, of, "derived", ""};
  };
  const Bandwidth pcie = chip.pcie ? chip.pcie->value : 32 * GB / sec;
  const Bandwidth link = chip.link ? chip.link->value : pcie;
  const bool torus = chip.link_type.find("torus") != std::string::npos;
  const Figure<Seconds> latency{4 * us, "as on NVIDIA's nodes", "derived", ""};
  Cluster cluster;
  cluster.title = cluster.node = chip.name;
  cluster.chip = chip;
  cluster.gpus_per_node = torus ? 4 : 8;
  Level inside{"link", torus ? kEveryChip : cluster.gpus_per_node, figure(link, "the chip's"),
               figure(kLinkShare * link, "as on NVIDIA's nodes"), latency};
  inside.forwarded = figure(kRelayShare * link, "as on NVIDIA's nodes");
  const Bandwidth line = 25 * GB / sec;
  Level network{"network", kEveryChip, figure(line, "assumed: 200 Gb/s"),
                figure(kNetworkShare * line, "as InfiniBand"), latency};
  network.forwarded = network.usable;
  cluster.levels = {inside, network};
  return cluster;
}

// What Megatron-Bridge's presets for mixtures of experts have in common, by release.
constexpr const char* kHybridEpInRacks = "25.11";  // v0.2.0, on GB200 and GB300
constexpr const char* kHybridEp = "26.02";         // v0.3.0, elsewhere
constexpr const char* kFusedExperts = "26.06";     // v0.5.0, mxfp8 on GB200 and GB300

std::string bridge_variant(const Run& run) {
  const std::string release = release_of(run);
  if (!run.model || !run.model->moe || release.empty()) return "megatron-bridge";
  const bool rack = run.hardware.chip == "gb200" || run.hardware.chip == "gb300";
  if (rack && release >= kFusedExperts && run.layout.recipe == "mxfp8")
    return "megatron-bridge-fused";
  return release >= (rack ? kHybridEpInRacks : kHybridEp) ? "megatron-bridge-hybridep"
                                                          : "megatron-bridge";
}

// Tokens are dropped by Megatron-Core's all-to-all dispatcher alone, and experts padded to their
// capacity, so that the host knows all shapes.
void drop_tokens(SoftwareProfile& software) {
  software.dispatcher = Dispatcher::AllToAll;
  software.overlap_ep = 0;
  software.dispatch_sync = {};
}

// torchtitan's switches change what its kernels are, and what hides.
std::string variant_of(const std::string& profile, const Run& run) {
  if (profile == "megatron-bridge") return bridge_variant(run);
  if (profile != "torchtitan") return profile;
  if (!run.layout.compiled) return "torchtitan-eager";
  return run.layout.tp_overlap.value_or(false) ? "torchtitan-async-tp" : profile;
}

}  // namespace

SoftwareFamily software_family(const Run& run) {
  for (const Alias& alias : kAliases) {
    if (run.software != alias.family) continue;
    const bool early = !run.software_date.empty() && run.software_date < kFusedAttention;
    const bool core =
        std::string(alias.profile) == "megatron-core" || std::string(alias.profile) == "nemo";
    return {core && early ? "megatron-2022" : variant_of(alias.profile, run), true};
  }
  const bool fsdp =
      run.layout.zero == 3 && run.layout.tp.value_or(1) == 1 && run.layout.pp.value_or(1) == 1;
  return {fsdp ? "fsdp" : "megatron-core", false};
}

StageRuns even_stages(const ModelSpec& model, int stages) {
  const int items = static_cast<int>(items_of(model).size());
  const bool ends_on_top = model.layers % stages == 0;
  const int layers = ends_on_top ? model.layers : model.layers + 2;
  if (layers % stages != 0) return {};
  const int each = layers / stages;
  std::vector<int> last_items;
  for (int stage = 1; stage < stages; ++stage)
    last_items.push_back(stage * each - (ends_on_top ? 0 : 1));
  last_items.push_back(items - 1);
  return runs_from_cuts(last_items);
}

RunJobs::RunJobs(const ProfileLibrary& library, std::vector<EmbeddedFile> overrides)
    : library_(library), overrides_(std::move(overrides)) {
  for (const std::string& name : builtin_model_names(overrides_)) {
    const Result<BuiltinModel> model = builtin_model(name, overrides_);
    if (model) models_.push_back(model->spec);
  }
  const Result<std::vector<RecipeRule>> recipes = published_recipe_rules();
  ASSERT(recipes.has_value());
  recipes_ = *recipes;
}

Result<SoftwareProfile> RunJobs::software_of(const std::string& name) {
  const auto found = software_.find(name);
  if (found != software_.end()) return found->second;
  return software_.emplace(name, TRY(find_software(name, overrides_))).first->second;
}

std::optional<std::string> RunJobs::architecture_of(const std::string& chip) {
  const auto found = architectures_.find(chip);
  if (found != architectures_.end()) return found->second;
  const Result<Chip> known = library_.chip(chip);
  const std::optional<std::string> name =
      known ? std::optional<std::string>(known->architecture) : std::nullopt;
  return architectures_.emplace(chip, name).first->second;
}

void RunJobs::complete(ModelSpec& model) const {
  for (const ModelSpec& known : models_) {
    if (!same_shape(model, known)) continue;
    model.attention.qk_norm = known.attention.qk_norm;
    model.attention.qkv_bias = known.attention.qkv_bias;
    model.linear_bias = known.linear_bias;
    model.attention.window = known.attention.window;
    model.attention.window_every = known.attention.window_every;
    if (!model.moe) return;
    model.moe->groups = known.moe->groups;
    model.moe->top_groups = known.moe->top_groups;
    model.moe->score = known.moe->score;
    model.moe->selection_bias = known.moe->selection_bias;
    model.moe->shared_gate = known.moe->shared_gate;
    return;
  }
}

Result<Cluster> RunJobs::node_of(const std::string& name) const {
  const Chip chip = TRY(library_.chip(name));
  const Result<Cluster> node = library_.node_of(name);
  if (node) {
    // A relative's links are another maker's only by coincidence.
    const Cluster own = TRY(library_.node(node->node));
    if (own.chip.vendor == chip.vendor) return *node;
  }
  return node_around(chip);
}

Result<Cluster> RunJobs::cluster_of(const RunHardware& hardware,
                                    std::vector<std::string>& assumed) {
  auto found = nodes_.find(hardware.chip);
  if (found == nodes_.end())
    found = nodes_.emplace(hardware.chip, TRY(node_of(hardware.chip))).first;
  Cluster cluster = found->second;
  if (hardware.gpus_per_node) cluster.gpus_per_node = *hardware.gpus_per_node;
  if (hardware.nvlink_domain) cluster.levels.front().group = *hardware.nvlink_domain;
  Level& network = cluster.levels.back();
  if (hardware.nic) {
    // What large messages reach keeps its share of the line rate.
    const double ratio = *hardware.nic / network.nominal.value;
    network.nominal.value = *hardware.nic;
    network.usable.value *= ratio;
    network.forwarded.value *= ratio;
  } else if (*hardware.gpus > cluster.levels.front().group) {
    assumed.push_back(fmt::format("network={}: {:.0f} GB/s a GPU", cluster.node,
                                  network.nominal.value / (GB / sec)));
  }
  return first_gpus(cluster, *hardware.gpus, fmt::format("{} x {}", *hardware.gpus, hardware.chip));
}

Result<RunJob> RunJobs::job_of(const Run& printed) {
  TRY(check_complete(printed));
  RunJob job;
  const Run run = with_published_layout(printed, recipes_);
  const SoftwareFamily family = software_family(run);
  const std::string like = profile_of_recipes(run, recipes_);
  job.software = TRY(software_of(like.empty() ? family.profile : like));
  job.software_known = family.known;
  if (!family.known) {
    const std::string stack = run.software.empty() ? "unnamed" : run.software;
    job.assumed.push_back(fmt::format("software={} (for {})", job.software.name, stack));
    if (!run.software_date.empty() && run.software_date < kFusedAttention) {
      job.software.fused_attention = false;
      job.assumed.push_back("fused_attention=false");
    }
  }
  job.model = *run.model;
  if (run.task == "lora") {
    job.model.lora_rank = kLoraRank;
    job.assumed.push_back(fmt::format("lora_rank={}", kLoraRank));
  }
  if (const std::optional<int> packed = packing_of_recipes(run, recipes_)) {
    job.model.packed_samples = *packed;
    job.assumed.push_back(fmt::format("packed_samples={}", *packed));
  }
  complete(job.model);
  job.cluster = TRY(cluster_of(run.hardware, job.assumed));
  job.training = training_of(run, job.assumed);
  job.software = TRY(with_recipes(job.software, run, recipes_));
  const bool megatron = job.software.family == "megatron-core";
  if (megatron && run.routing == "token-drop") drop_tokens(job.software);
  job.strategy = TRY(strategy_of(run, job.software, job.assumed));
  widen(job.software, job.model, job.strategy);
  job.recompute_stated = recompute_of(run.layout.recompute).has_value();
  if (job.software.even_stages && !is_mirrored(job.strategy.schedule))
    job.stages = even_stages(job.model, stages_of(job.strategy));
  const Status valid = validate(job.strategy, job.model, job.cluster, job.training, job.software);
  if (!valid) return unsupported(valid.error().message);
  return job;
}

}  // namespace narrows
