// The rules that a layout must keep: one list for the plan file, for `--fix` and for the
// enumeration, so that what is enumerated and what is refused cannot disagree. `broken_rule` is
// cheap (no strings, no allocation) and works on `Limits`, the few numbers of model, cluster,
// training and software that the rules look at; `explain` says in words which rule is broken, in
// the form `tp=7: 128 attention heads are not divisible by 7`.
//
// The predicates of one axis are offered by themselves, so that a nested enumeration can cut a
// branch as soon as its axis is chosen; `broken_rule` is nothing but all of them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "hardware/cluster.h"
#include "model/spec.h"
#include "plan/strategy.h"
#include "plan/training.h"
#include "software/profile.h"

namespace narrows {

enum class Rule {
  // Each axis by itself.
  Positive,        // every size is at least 1, zero in 0 … 3
  TpHeads,         // tp divides the attention heads
  TpKvHeads,       // tp divides the KV heads or is a multiple of them (then they are replicated)
  TpFfn,           // tp divides the dense FFN
  TpSharedFfn,     // tp divides the shared experts' FFN
  TpVocab,         // tp is at most the vocabulary (which is padded to a multiple)
  CpUnsupported,   // the software has no context parallelism
  CpHeads,         // spreading heads instead of tokens (all-to-all): cp divides a rank's heads
  CpSequence,      // 2 cp divides the sequence: causal work is balanced by pairing chunks
  SpNeedsTp,       // sequence parallelism needs tp > 1
  SpUnsupported,   // the software has none
  SpSequence,      // cp * tp divides the sequence
  EpDense,         // ep, etp > 1 need experts
  EpExperts,       // ep divides the routed experts
  EtpUnsupported,  // the software does not split experts
  EtpFfn,          // etp divides an expert's FFN
  ExpertsNeedSp,   // with tp > 1, experts are dispatched from distinct tokens only under sequence
                   // parallelism
  // Products.
  Gpus,        // pp * dp * cp * tp = GPUs
  ExpertFold,  // ep * etp divides dp * cp * tp
  Batch,       // dp * micro_batch * micro_batches = global batch
  // ZeRO.
  ZeroUnsupported,  // the software's stages
  ShardDivides,     // dp_shard divides dp * cp
  ShardNeedsZero,   // dp_shard > 1 needs ZeRO
  ZeroNeedsShard,   // ZeRO needs something to shard over
  ShardExperts,     // ep * etp and dp_shard * tp divide one another
  // Schedule.
  ScheduleUnsupported,
  PpOne,               // one pipeline rank runs 1f1b
  PpNeedsTwo,          // interleaved, V schedules and DualPipe need two pipeline ranks
  VppOne,              // only the interleaved schedule has vpp > 1
  VppTwo,              // which needs vpp >= 2
  VppMost,             // the software's most chunks a rank
  StagesItems,         // at most one stage an item
  InterleavedBatches,  // micro-batches are a multiple of pp
  DualPipeEvenRanks,
  DualPipeEvenBatches,
  DualPipeBatches,  // at least 2 pp micro-batches
  // Precision and recomputation.
  RecipeUnsupported,
  RecipeChip,  // the chip multiplies in the format, or the software emulates it
  RecomputeUnsupported,
  RecomputeV3  // recomputes MLA's up-projections
};
inline constexpr int kRules = static_cast<int>(Rule::RecomputeV3) + 1;

// What the rules look at, gathered once.
struct Limits {
  int gpus = 1;
  int heads = 1;
  int kv_heads = 1;
  int ffn = 0;  // of dense layers; 0 = there is none
  int vocab = 1;
  int experts = 0;  // 0 = dense model
  int expert_ffn = 0;
  int shared_ffn = 0;
  int items = 3;
  bool mla = false;
  bool v3 = false;  // `v3` recomputation has what it makes again
  std::int64_t sequence = 1;
  std::int64_t global_batch = 1;
  // Of the software, as bit sets over the enumerators.
  unsigned schedules = 0;
  unsigned recipes = 0;       // that the software runs
  unsigned chip_recipes = 0;  // that the chip multiplies in or the software emulates
  unsigned recomputes = 0;
  unsigned zero_stages = 0;
  bool sequence_parallel = false;
  unsigned context_exchanges = 0;  // of context parallelism; none = it has none
  bool expert_tensor_parallel = false;
  int most_chunks_per_rank = 1;
  // For words only.
  std::string chip;
  std::string software;
};
Limits limits_of(const ModelSpec& model, const Cluster& cluster, const Training& training,
                 const SoftwareProfile& software);

// The first broken rule, in the order of `Rule` within each of these, or nothing.
std::optional<Rule> broken_tensor_rule(const Strategy& s,
                                       const Limits& limits);  // tp, cp, sequence_parallel
std::optional<Rule> broken_expert_rule(const Strategy& s,
                                       const Limits& limits);  // ep, etp (given tp, sp)
std::optional<Rule> broken_product_rule(const Strategy& s,
                                        const Limits& limits);                  // GPUs, fold, batch
std::optional<Rule> broken_zero_rule(const Strategy& s, const Limits& limits);  // zero, dp_shard
std::optional<Rule> broken_schedule_rule(const Strategy& s,
                                         const Limits& limits);  // schedule, pp, vpp, micro_batches
std::optional<Rule> broken_precision_rule(const Strategy& s,
                                          const Limits& limits);  // precision, recompute
std::optional<Rule> broken_rule(const Strategy& s, const Limits& limits);

// One clause that names the field, what is required and what was found. The strategy must break the
// rule.
std::string explain(Rule rule, const Strategy& s, const Limits& limits);

// The chip's peak that a recipe multiplies at: "fp8" for fp8-block. mxfp8 and nvfp4 need
// block-scaled tensor cores, which come with an "fp4" peak.
std::string peak_format(Recipe recipe);

// InvalidInput with `explain`'s words.
Status validate(const Strategy& strategy, const Limits& limits);
Status validate(const Strategy& strategy, const ModelSpec& model, const Cluster& cluster,
                const Training& training, const SoftwareProfile& software);

}  // namespace narrows
