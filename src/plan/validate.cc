// SPDX-License-Identifier: Apache-2.0
#include "plan/validate.h"

#include <algorithm>

namespace narrows {
namespace {

template <typename T>
constexpr unsigned bit(T value) {
  return 1u << static_cast<unsigned>(value);
}
template <typename T>
unsigned bits(const std::vector<T>& values) {
  unsigned all = 0;
  for (const T value : values) all |= bit(value);
  return all;
}

bool has_dense_ffn(const ModelSpec& model) {
  for (int layer = 0; layer < model.layers; ++layer) {
    if (!is_moe_layer(model, layer)) return true;
  }
  return false;
}

unsigned chip_recipes(const Chip& chip, const SoftwareProfile& software) {
  unsigned all = bits(software.emulated_recipes);
  for (const Recipe recipe : software.recipes) {
    const bool block_scaled = recipe == Recipe::Mxfp8;
    if (chip.peak.contains(peak_format(recipe)) && (!block_scaled || chip.peak.contains("fp4"))) {
      all |= bit(recipe);
    }
  }
  return all;
}

bool needs_two_ranks(ScheduleKind schedule) {
  switch (schedule) {
    case ScheduleKind::Interleaved:
    case ScheduleKind::ZbV:
    case ScheduleKind::DualPipe:
    case ScheduleKind::DualPipeV:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string peak_format(Recipe recipe) {
  switch (recipe) {
    case Recipe::F32:
      return "fp32";
    case Recipe::Fp16:
      return "fp16";
    case Recipe::Bf16:
      return "bf16";
    case Recipe::Nvfp4:
      return "fp4";
    default:
      return "fp8";
  }
}

Limits limits_of(const ModelSpec& model, const Cluster& cluster, const Training& training,
                 const SoftwareProfile& software) {
  Limits limits;
  limits.gpus = cluster.gpus;
  limits.heads = model.attention.heads;
  limits.mla = model.attention.kind == AttentionKind::Mla;
  limits.v3 = limits.mla || software.v3_modules == V3Modules::NormsAndActivation;
  limits.kv_heads = limits.mla ? model.attention.heads : model.attention.kv_heads;
  limits.ffn = has_dense_ffn(model) ? model.ffn : 0;
  limits.vocab = model.vocab;
  if (model.moe) {
    limits.experts = model.moe->experts;
    limits.expert_ffn = model.moe->expert_ffn;
    limits.shared_ffn = model.moe->shared_ffn;
  }
  limits.items = model.layers + model.mtp_layers + 2;
  limits.sequence = training.sequence;
  limits.global_batch = training.global_batch;
  limits.schedules = bits(software.schedules);
  limits.recipes = bits(software.recipes);
  limits.chip_recipes = chip_recipes(cluster.chip, software);
  limits.recomputes = bits(software.recomputes);
  limits.zero_stages = bits(software.zero_stages);
  limits.sequence_parallel = software.sequence_parallel;
  limits.context_exchanges = bits(software.context_parallel);
  limits.expert_tensor_parallel = software.expert_tensor_parallel;
  limits.most_chunks_per_rank = software.most_chunks_per_rank;
  limits.chip = cluster.chip.name;
  limits.software = software.name;
  return limits;
}

std::optional<Rule> broken_tensor_rule(const Strategy& s, const Limits& limits) {
  if (limits.heads % s.tp != 0) return Rule::TpHeads;
  if (limits.kv_heads % s.tp != 0 && s.tp % limits.kv_heads != 0) return Rule::TpKvHeads;
  if (limits.ffn % s.tp != 0) return Rule::TpFfn;
  if (limits.shared_ffn % s.tp != 0) return Rule::TpSharedFfn;
  if (s.tp > limits.vocab) return Rule::TpVocab;
  if (s.cp > 1) {
    if (limits.context_exchanges == 0) return Rule::CpUnsupported;
    // Other exchanges leave the heads as they are.
    const bool heads_only = limits.context_exchanges == bit(ContextExchange::AllToAll);
    const int kv_heads = std::max(1, limits.kv_heads / s.tp);
    if (heads_only && (limits.heads / s.tp % s.cp != 0 || kv_heads % s.cp != 0))
      return Rule::CpHeads;
    if (limits.sequence % (2 * std::int64_t{s.cp}) != 0) return Rule::CpSequence;
  }
  if (s.sequence_parallel) {
    if (s.tp == 1) return Rule::SpNeedsTp;
    if (!limits.sequence_parallel) return Rule::SpUnsupported;
    if (limits.sequence % (std::int64_t{s.cp} * s.tp) != 0) return Rule::SpSequence;
  }
  return std::nullopt;
}

std::optional<Rule> broken_expert_rule(const Strategy& s, const Limits& limits) {
  if (limits.experts == 0) {
    if (s.ep > 1 || s.etp > 1) return Rule::EpDense;
    return std::nullopt;
  }
  if (limits.experts % s.ep != 0) return Rule::EpExperts;
  if (s.etp > 1 && !limits.expert_tensor_parallel) return Rule::EtpUnsupported;
  if (limits.expert_ffn % s.etp != 0) return Rule::EtpFfn;
  // Without it the ranks of a tp group hold the same tokens: fine if they split every expert, else
  // sent twice.
  const bool same_tokens = s.tp > 1 && !s.sequence_parallel;
  if (same_tokens && (s.ep > 1 || s.etp != s.tp)) return Rule::ExpertsNeedSp;
  return std::nullopt;
}

std::optional<Rule> broken_product_rule(const Strategy& s, const Limits& limits) {
  const std::int64_t of_stage = std::int64_t{s.dp} * s.cp * s.tp;
  if (of_stage > limits.gpus || of_stage * s.pp != limits.gpus) return Rule::Gpus;
  if (of_stage % (std::int64_t{s.ep} * s.etp) != 0) return Rule::ExpertFold;
  const std::int64_t rows = std::int64_t{s.dp} * s.micro_batch;
  if (limits.global_batch % rows != 0 || limits.global_batch / rows != s.micro_batches)
    return Rule::Batch;
  return std::nullopt;
}

std::optional<Rule> broken_zero_rule(const Strategy& s, const Limits& limits) {
  if ((limits.zero_stages & bit(s.zero)) == 0) return Rule::ZeroUnsupported;
  const std::int64_t replicas = std::int64_t{s.dp} * s.cp;
  if (replicas % s.dp_shard != 0) return Rule::ShardDivides;
  if (s.zero == 0 && s.dp_shard > 1) return Rule::ShardNeedsZero;
  if (s.zero > 0 && s.dp_shard == 1) return Rule::ZeroNeedsShard;
  const std::int64_t expert = std::int64_t{s.ep} * s.etp;
  const std::int64_t block = std::int64_t{s.dp_shard} * s.tp;
  if (s.zero > 0 && expert % block != 0 && block % expert != 0) return Rule::ShardExperts;
  return std::nullopt;
}

std::optional<Rule> broken_schedule_rule(const Strategy& s, const Limits& limits) {
  if ((limits.schedules & bit(s.schedule)) == 0) return Rule::ScheduleUnsupported;
  if (s.pp == 1 && needs_two_ranks(s.schedule)) return Rule::PpNeedsTwo;
  if (s.pp == 1 && s.schedule != ScheduleKind::OneFOneB) return Rule::PpOne;
  const bool interleaved = s.schedule == ScheduleKind::Interleaved;
  if (!interleaved && s.vpp != 1) return Rule::VppOne;
  if (interleaved && s.vpp < 2) return Rule::VppTwo;
  if (interleaved && s.vpp > limits.most_chunks_per_rank) return Rule::VppMost;
  if (std::int64_t{s.pp} * s.vpp > limits.items || stages_of(s) > limits.items)
    return Rule::StagesItems;
  if (interleaved && s.micro_batches % s.pp != 0) return Rule::InterleavedBatches;
  const bool dual = s.schedule == ScheduleKind::DualPipe;
  if (dual && s.pp % 2 != 0) return Rule::DualPipeEvenRanks;
  if (dual && s.micro_batches % 2 != 0) return Rule::DualPipeEvenBatches;
  if ((dual || s.schedule == ScheduleKind::DualPipeV) && s.micro_batches < 2 * std::int64_t{s.pp}) {
    return Rule::DualPipeBatches;
  }
  return std::nullopt;
}

std::optional<Rule> broken_precision_rule(const Strategy& s, const Limits& limits) {
  if ((limits.recipes & bit(s.precision)) == 0) return Rule::RecipeUnsupported;
  if ((limits.chip_recipes & bit(s.precision)) == 0) return Rule::RecipeChip;
  if ((limits.recomputes & bit(s.recompute)) == 0) return Rule::RecomputeUnsupported;
  if (s.recompute == Recompute::V3 && !limits.v3) return Rule::RecomputeV3;
  return std::nullopt;
}

std::optional<Rule> broken_rule(const Strategy& s, const Limits& limits) {
  const int least =
      std::min({s.tp, s.pp, s.vpp, s.ep, s.etp, s.cp, s.dp, s.dp_shard, s.micro_batch});
  if (least < 1 || s.micro_batches < 1 || s.zero < 0 || s.zero > 3) return Rule::Positive;
  if (const auto rule = broken_tensor_rule(s, limits)) return rule;
  if (const auto rule = broken_expert_rule(s, limits)) return rule;
  if (const auto rule = broken_product_rule(s, limits)) return rule;
  if (const auto rule = broken_zero_rule(s, limits)) return rule;
  if (const auto rule = broken_schedule_rule(s, limits)) return rule;
  return broken_precision_rule(s, limits);
}

Status validate(const Strategy& strategy, const Limits& limits) {
  if (const std::optional<Rule> rule = broken_rule(strategy, limits)) {
    return invalid(explain(*rule, strategy, limits));
  }
  return {};
}

Status validate(const Strategy& strategy, const ModelSpec& model, const Cluster& cluster,
                const Training& training, const SoftwareProfile& software) {
  return validate(strategy, limits_of(model, cluster, training, software));
}

}  // namespace narrows
