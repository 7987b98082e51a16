// SPDX-License-Identifier: Apache-2.0
#include "accuracy/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/embedded.h"
#include "base/file.h"
#include "base/json.h"

namespace narrows {
namespace embedded {
std::vector<EmbeddedFile> validation_runs();
}  // namespace embedded
namespace {

constexpr std::int64_t kMost = 1'000'000'000;

Result<std::optional<int>> maybe_int(JsonObject& object, std::string_view key, int least) {
  if (!object.has(key)) return std::optional<int>();
  return std::optional<int>(static_cast<int>(TRY(object.integer(key, least, kMost))));
}

Result<std::optional<bool>> maybe_bool(JsonObject& object, std::string_view key) {
  if (!object.has(key)) return std::optional<bool>();
  return std::optional<bool>(TRY(object.boolean(key)));
}

Result<int> count_or(JsonObject& object, std::string_view key, int fallback) {
  return static_cast<int>(TRY(object.integer_or(key, 0, kMost, fallback)));
}

Result<MoeSpec> moe_of(JsonObject& parent) {
  JsonObject object = TRY(parent.object("moe"));
  MoeSpec moe;
  moe.experts = static_cast<int>(TRY(object.integer("experts", 1, kMost)));
  moe.top_k = static_cast<int>(TRY(object.integer("topk", 1, kMost)));
  moe.expert_ffn = static_cast<int>(TRY(object.integer("expert_ffn", 1, kMost)));
  // The records print the size of one shared expert.
  const int shared = TRY(count_or(object, "shared_experts", 0));
  moe.shared_ffn = shared * TRY(count_or(object, "shared_expert_ffn", 0));
  moe.dense_layers = TRY(count_or(object, "dense_layers", 0));
  moe.layer_step = static_cast<int>(TRY(object.integer_or("moe_layer_step", 1, kMost, 1)));
  return moe;
}

Status read_mla(JsonObject& parent, AttentionSpec& attention) {
  JsonObject object = TRY(parent.object("mla"));
  attention.kind = AttentionKind::Mla;
  attention.q_lora = TRY(count_or(object, "q_lora", 0));
  attention.kv_lora = static_cast<int>(TRY(object.integer("kv_lora", 1, kMost)));
  attention.qk_nope = static_cast<int>(TRY(object.integer("qk_nope_dim", 1, kMost)));
  attention.qk_rope = static_cast<int>(TRY(object.integer("qk_rope_dim", 1, kMost)));
  attention.v_dim = static_cast<int>(TRY(object.integer("v_dim", 1, kMost)));
  attention.kv_heads = attention.heads;
  attention.head_dim = 0;
  return {};
}

// Models without a gate in their FFN are of GPT's family: GELU, LayerNorm, and biases where
// positions are learned.
Result<std::optional<ModelSpec>> model_of(JsonObject& parent) {
  JsonObject object = TRY(parent.object("model"));
  ModelSpec model;
  model.name = TRY(object.string_or("name", "unnamed"));
  for (const char* needed : {"layers", "hidden", "heads", "vocab"}) {
    if (!object.has(needed)) return std::optional<ModelSpec>();
  }
  model.layers = static_cast<int>(TRY(object.integer("layers", 1, kMost)));
  model.hidden = static_cast<int>(TRY(object.integer("hidden", 1, kMost)));
  model.vocab = static_cast<int>(TRY(object.integer("vocab", 1, kMost)));
  model.ffn = TRY(count_or(object, "ffn", 0));
  model.tied_embeddings = TRY(object.boolean_or("tied_embeddings", false));
  model.learned_positions = TRY(count_or(object, "learned_pos", 0));
  model.mtp_layers = TRY(count_or(object, "mtp_layers", 0));
  if (!TRY(object.boolean_or("gated_mlp", true))) {
    model.activation = Activation::Gelu;
    model.norm = NormKind::Layer;
    model.linear_bias = model.learned_positions > 0;
  }
  AttentionSpec& attention = model.attention;
  attention.heads = static_cast<int>(TRY(object.integer("heads", 1, kMost)));
  attention.kv_heads =
      static_cast<int>(TRY(object.integer_or("kv_heads", 1, kMost, attention.heads)));
  attention.head_dim = static_cast<int>(
      TRY(object.integer_or("head_dim", 1, kMost, model.hidden / attention.heads)));
  if (object.has("mla")) TRY(read_mla(object, attention));
  if (object.has("moe")) model.moe = TRY(moe_of(object));
  return std::optional<ModelSpec>(model);
}

Status read_layout(JsonObject& parent, RunLayout& layout) {
  JsonObject object = TRY(parent.object("parallelism"));
  layout.tp = TRY(maybe_int(object, "tp", 1));
  layout.pp = TRY(maybe_int(object, "pp", 1));
  layout.vpp = TRY(maybe_int(object, "vpp", 1));
  layout.ep = TRY(maybe_int(object, "ep", 1));
  layout.etp = TRY(maybe_int(object, "etp", 1));
  layout.cp = TRY(maybe_int(object, "cp", 1));
  layout.zero = TRY(maybe_int(object, "zero_stage", 0));
  layout.shard = TRY(maybe_int(object, "fsdp", 1));
  return {};
}

Status read_norm(JsonObject& parent, Run& run) {
  JsonObject object = TRY(parent.object("norm"));
  RunHardware& hardware = run.hardware;
  hardware.chip = TRY(object.string_or("chip_profile", ""));
  hardware.gpus_per_node = TRY(maybe_int(object, "gpus_per_node", 1));
  hardware.nvlink_domain = TRY(maybe_int(object, "nvlink_domain", 1));
  if (object.has("nic_GBps_per_gpu")) {
    hardware.nic = TRY(object.number("nic_GBps_per_gpu", 1e-3, 1e6)) * (GB / sec);
  }
  run.layout.recipe = TRY(object.string_or("recipe", ""));
  run.layout.schedule = TRY(object.string_or("schedule", ""));
  run.layout.recompute = TRY(object.string_or("recompute", ""));
  run.routing = TRY(object.string_or("routing", ""));
  run.software = TRY(object.string_or("software", ""));
  run.software_date = TRY(object.string_or("software_date", ""));
  if (object.has("memory")) {
    JsonObject memory = TRY(object.object("memory"));
    if (memory.has("bytes")) run.memory = TRY(memory.number("bytes", 0, 1e18)) * byte;
    const std::string kind = TRY(memory.string_or("kind", ""));
    if (kind == "allocated") run.memory_count = MemoryCount::Allocated;
    if (kind == "process") run.memory_count = MemoryCount::Process;
  }
  if (object.has("optional")) {
    JsonObject optional = TRY(object.object("optional"));
    run.layout.sequence_parallel = TRY(maybe_bool(optional, "sequence_parallel"));
    run.layout.sharded_optimizer = TRY(maybe_bool(optional, "distributed_optimizer"));
    run.layout.tp_overlap = TRY(maybe_bool(optional, "tp_overlap"));
  }
  return {};
}

Result<std::string> source_of(JsonObject& parent) {
  JsonObject object = TRY(parent.object("source"));
  const std::string address = TRY(object.string_or("url_or_repo", ""));
  const std::string where = TRY(object.string_or("where", ""));
  return address.empty() || where.empty() ? address + where : address + ": " + where;
}

Result<Run> run_of(const Json& node, const std::string& place) {
  JsonObject object = TRY(JsonObject::of(node, place));
  Run run;
  run.id = TRY(object.string("id"));
  run.group = TRY(object.string_or("group", ""));
  run.task = TRY(object.string_or("task", "pretrain"));
  if (object.has("model")) run.model = TRY(model_of(object));
  if (object.has("seq_len")) run.sequence = TRY(object.integer("seq_len", 1, kMost));
  if (object.has("global_batch_seqs"))
    run.global_batch = TRY(object.integer("global_batch_seqs", 1, kMost));
  run.layout.micro_batch = TRY(maybe_int(object, "micro_batch", 1));
  if (object.has("hardware")) {
    JsonObject hardware = TRY(object.object("hardware"));
    run.hardware.gpus = TRY(maybe_int(hardware, "n_gpus", 1));
  }
  if (object.has("parallelism")) TRY(read_layout(object, run.layout));
  if (object.has("norm")) TRY(read_norm(object, run));
  if (object.has("flags")) {
    for (const Json& flag : TRY(object.array("flags"))->items())
      run.layout.compiled |= flag.is_string() && flag.string() == "compile";
  }
  if (object.has("software")) {
    JsonObject software = TRY(object.object("software"));
    run.software_version = TRY(software.string_or("version", ""));
  }
  if (object.has("source")) run.source = TRY(source_of(object));
  if (object.has("score")) {
    JsonObject score = TRY(object.object("score"));
    if (score.has("step_time_s")) run.step = TRY(score.number("step_time_s", 1e-9, 1e9)) * sec;
  }
  return run;
}

Result<std::map<std::string, std::string>> reasons_of(std::string_view text,
                                                      const std::string& name) {
  std::map<std::string, std::string> reasons;
  if (text.empty()) return reasons;
  const Json root = TRY(parse_json(text, name));
  if (!root.is_object()) {
    return invalid(fmt::format("{}: expected an object of ids and reasons, found {}", name,
                               root.description()));
  }
  for (const auto& [id, reason] : root.members()) {
    reasons[id] = reason.is_string() && !reason.string().empty() ? reason.string() : "excluded";
  }
  return reasons;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

}  // namespace

Result<std::vector<Run>> parse_runs(std::string_view text, const std::string& name,
                                    std::string_view exclusions) {
  const std::map<std::string, std::string> reasons =
      TRY(reasons_of(exclusions, folder_of(name) + "exclude.json"));
  std::vector<Run> runs;
  int line = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view record = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line;
    if (record.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}:{}", name, line);
    const Json node = TRY(parse_json(record, place));
    Run run = TRY(run_of(node, place));
    const auto reason = reasons.find(run.id);
    if (reason != reasons.end()) run.excluded = reason->second;
    runs.push_back(std::move(run));
  }
  return runs;
}

Result<std::vector<Run>> read_runs(const std::string& path) {
  const std::string text = TRY(read_file(path));
  const Result<std::string> exclusions =
      path == "-" ? Result<std::string>("") : read_file(folder_of(path) + "exclude.json");
  if (!exclusions && exclusions.error().code != ErrorCode::NotFound)
    return tl::unexpected(exclusions.error());
  return parse_runs(text, path, exclusions ? *exclusions : "");
}

Result<std::vector<Run>> published_runs() {
  const std::vector<EmbeddedFile> files = embedded::validation_runs();
  std::string_view runs, exclusions;
  for (const EmbeddedFile& file : files) {
    (file.path.ends_with(".jsonl") ? runs : exclusions) = file.content;
  }
  return parse_runs(runs, "validation/runs.jsonl", exclusions);
}

}  // namespace narrows
