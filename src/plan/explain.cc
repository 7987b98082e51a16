// The words for each rule of validate.h.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "base/text.h"
#include "plan/validate.h"

namespace narrows {
namespace {

std::string tensor_words(Rule rule, const Strategy& s, const Limits& limits) {
  const std::string sequence = with_commas(limits.sequence);
  switch (rule) {
    case Rule::TpHeads:
      return fmt::format("tp={0}: {1} attention heads are not divisible by {0}", s.tp,
                         limits.heads);
    case Rule::TpKvHeads:
      return fmt::format("tp={0}: {1} KV heads neither divide {0} nor are divisible by it", s.tp,
                         limits.kv_heads);
    case Rule::TpFfn:
      return fmt::format("tp={0}: the FFN's {1} columns are not divisible by {0}", s.tp,
                         limits.ffn);
    case Rule::TpSharedFfn:
      return fmt::format("tp={0}: the shared experts' {1} columns are not divisible by {0}", s.tp,
                         limits.shared_ffn);
    case Rule::TpVocab:
      return fmt::format("tp={}: a vocabulary of {} cannot be split that far", s.tp, limits.vocab);
    case Rule::CpUnsupported:
      return fmt::format("cp={}: {} has no context parallelism", s.cp, limits.software);
    case Rule::CpHeads:
      return fmt::format(
          "cp={}: {} spreads heads over context-parallel ranks; tp={} leaves a rank {} heads and "
          "{} "
          "KV heads, which are not both divisible",
          s.cp, limits.software, s.tp, limits.heads / s.tp, std::max(1, limits.kv_heads / s.tp));
    case Rule::CpSequence:
      return fmt::format("cp={}: a sequence of {} tokens is not divisible by 2*cp = {}", s.cp,
                         sequence, 2 * std::int64_t{s.cp});
    case Rule::SpNeedsTp:
      return "sequence_parallel=true: needs tp > 1, found tp=1";
    case Rule::SpUnsupported:
      return fmt::format("sequence_parallel=true: {} has no sequence parallelism", limits.software);
    default:
      return fmt::format(
          "sequence_parallel=true: a sequence of {} tokens is not divisible by cp*tp = {}",
          sequence, std::int64_t{s.cp} * s.tp);
  }
}

std::string expert_words(Rule rule, const Strategy& s, const Limits& limits) {
  switch (rule) {
    case Rule::EpDense:
      return fmt::format("{}={}: the model has no experts", s.ep > 1 ? "ep" : "etp",
                         s.ep > 1 ? s.ep : s.etp);
    case Rule::EpExperts:
      return fmt::format("ep={0}: {1} experts are not divisible by {0}", s.ep, limits.experts);
    case Rule::EtpUnsupported:
      return fmt::format("etp={}: {} does not split an expert", s.etp, limits.software);
    case Rule::EtpFfn:
      return fmt::format("etp={0}: an expert's {1} columns are not divisible by {0}", s.etp,
                         limits.expert_ffn);
    default:
      return fmt::format(
          "sequence_parallel=false: with tp={} the experts (ep={}, etp={}) need sequence "
          "parallelism, else tp ranks "
          "send the same tokens",
          s.tp, s.ep, s.etp);
  }
}

std::string product_words(Rule rule, const Strategy& s, const Limits& limits) {
  const std::int64_t stage = std::int64_t{s.dp} * s.cp * s.tp;
  switch (rule) {
    case Rule::Gpus:
      if (stage > (std::int64_t{1} << 60) / s.pp) {
        return fmt::format("gpus: pp*dp*cp*tp = {}*{}*{}*{} is far more than {}", s.pp, s.dp, s.cp,
                           s.tp, with_commas(limits.gpus));
      }
      return fmt::format("gpus: pp*dp*cp*tp = {}*{}*{}*{} = {} is not {}", s.pp, s.dp, s.cp, s.tp,
                         with_commas(s.pp * stage), with_commas(limits.gpus));
    case Rule::ExpertFold:
      return fmt::format("ep={}: ep*etp = {} does not divide the stage's dp*cp*tp = {} ranks", s.ep,
                         std::int64_t{s.ep} * s.etp, stage);
    default: {
      const std::int64_t rows = std::int64_t{s.dp} * s.micro_batch;
      if (limits.global_batch % rows != 0) {
        return fmt::format(
            "micro_batch={}: a global batch of {} is not divisible by dp*micro_batch = {}*{}",
            s.micro_batch, with_commas(limits.global_batch), s.dp, s.micro_batch);
      }
      return fmt::format(
          "micro_batches={}: a global batch of {} over dp*micro_batch = {}*{} makes {}",
          s.micro_batches, with_commas(limits.global_batch), s.dp, s.micro_batch,
          limits.global_batch / rows);
    }
  }
}

std::string zero_words(Rule rule, const Strategy& s, const Limits& limits) {
  const std::int64_t replicas = std::int64_t{s.dp} * s.cp;
  switch (rule) {
    case Rule::ZeroUnsupported: {
      std::string stages;
      for (int stage = 0; stage <= 3; ++stage) {
        if ((limits.zero_stages >> stage & 1u) != 0)
          stages += fmt::format("{}{}", stages.empty() ? "" : ", ", stage);
      }
      return fmt::format("zero={}: {} has {}", s.zero, limits.software, stages);
    }
    case Rule::ShardDivides:
      return fmt::format("dp_shard={}: does not divide dp*cp = {}", s.dp_shard, replicas);
    case Rule::ShardNeedsZero:
      return fmt::format("dp_shard={}: zero=0 shards nothing, so dp_shard must be 1", s.dp_shard);
    case Rule::ZeroNeedsShard:
      return fmt::format(
          "zero={}: needs dp_shard > 1 to shard over, found dp_shard=1 of dp*cp = {}", s.zero,
          replicas);
    default:
      return fmt::format(
          "dp_shard={}: neither of dp_shard*tp = {} and ep*etp = {} divides the other", s.dp_shard,
          std::int64_t{s.dp_shard} * s.tp, std::int64_t{s.ep} * s.etp);
  }
}

std::string schedule_words(Rule rule, const Strategy& s, const Limits& limits) {
  const std::string name = to_string(s.schedule);
  switch (rule) {
    case Rule::ScheduleUnsupported:
      return fmt::format("schedule={}: {} does not run it", name, limits.software);
    case Rule::PpOne:
      return fmt::format("schedule={}: one pipeline rank (pp=1) runs 1f1b only", name);
    case Rule::PpNeedsTwo:
      return fmt::format("schedule={}: needs pp >= 2, found pp=1", name);
    case Rule::VppOne:
      return fmt::format("vpp={}: schedule {} has vpp=1; only interleaved has more", s.vpp, name);
    case Rule::VppTwo:
      return fmt::format("vpp={}: schedule interleaved needs vpp >= 2", s.vpp);
    case Rule::VppMost:
      return fmt::format("vpp={}: {} has at most {} chunks a rank", s.vpp, limits.software,
                         limits.most_chunks_per_rank);
    case Rule::StagesItems:
      return fmt::format(
          "pp={}: {} stages for a model of {} items (embedding, layers, MTP blocks, head)", s.pp,
          stages_of(s), limits.items);
    case Rule::InterleavedBatches:
      return fmt::format("micro_batches={}: schedule interleaved needs a multiple of pp={}",
                         s.micro_batches, s.pp);
    case Rule::DualPipeEvenRanks:
      return fmt::format("pp={}: schedule dualpipe needs an even pp", s.pp);
    case Rule::DualPipeEvenBatches:
      return fmt::format("micro_batches={}: schedule dualpipe needs an even number",
                         s.micro_batches);
    default:
      return fmt::format("micro_batches={}: schedule {} needs at least 2*pp = {}", s.micro_batches,
                         name, 2 * std::int64_t{s.pp});
  }
}

std::string precision_words(Rule rule, const Strategy& s, const Limits& limits) {
  switch (rule) {
    case Rule::RecipeUnsupported:
      return fmt::format("precision={}: {} does not run it", to_string(s.precision),
                         limits.software);
    case Rule::RecipeChip:
      return s.precision == Recipe::Mxfp8
                 ? fmt::format("precision=mxfp8: {} has no block-scaled fp8", limits.chip)
                 : fmt::format("precision={}: {} has no {} peak", to_string(s.precision),
                               limits.chip, peak_format(s.precision));
    case Rule::RecomputeUnsupported:
      return fmt::format("recompute={}: {} does not run it", to_string(s.recompute),
                         limits.software);
    default:
      return "recompute=v3: needs multi-head latent attention, whose up-projections it recomputes";
  }
}

std::string positive_words(const Strategy& s) {
  const std::pair<const char*, std::int64_t> sizes[] = {{"tp", s.tp},
                                                        {"pp", s.pp},
                                                        {"vpp", s.vpp},
                                                        {"ep", s.ep},
                                                        {"etp", s.etp},
                                                        {"cp", s.cp},
                                                        {"dp", s.dp},
                                                        {"dp_shard", s.dp_shard},
                                                        {"micro_batch", s.micro_batch},
                                                        {"micro_batches", s.micro_batches}};
  for (const auto& [name, size] : sizes) {
    if (size < 1) return fmt::format("{}={}: must be at least 1", name, size);
  }
  return fmt::format("zero={}: must be 0, 1, 2 or 3", s.zero);
}

}  // namespace

std::string explain(Rule rule, const Strategy& s, const Limits& limits) {
  if (rule == Rule::Positive) return positive_words(s);
  if (rule < Rule::EpDense) return tensor_words(rule, s, limits);
  if (rule < Rule::Gpus) return expert_words(rule, s, limits);
  if (rule < Rule::ZeroUnsupported) return product_words(rule, s, limits);
  if (rule < Rule::ScheduleUnsupported) return zero_words(rule, s, limits);
  if (rule < Rule::RecipeUnsupported) return schedule_words(rule, s, limits);
  return precision_words(rule, s, limits);
}

}  // namespace narrows
