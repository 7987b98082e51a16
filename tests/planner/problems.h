// Small seeded planning problems: models of a few layers on a few GPUs under the stacks we know.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "cost/cost_fixture.h"
#include "planner/leaf.h"
#include "planner/search.h"
#include "planner/space.h"

namespace narrows {

// Owns what a Job borrows. Not movable.
struct Problem {
  ModelSpec model;
  Cluster cluster;
  SoftwareProfile software;
  Training training;
  Pins pins;
  KernelTimes kernels;

  Problem(ModelSpec m, Cluster c, SoftwareProfile s, Training t, Pins p)
      : model(std::move(m)),
        cluster(std::move(c)),
        software(std::move(s)),
        training(t),
        pins(p),
        kernels(shared_tables(), cluster.chip, software) {}
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  Job job() const { return {model, cluster, software, training, pins}; }
  Space space() const {
    return {limits_of(model, cluster, training, software), pins, cluster.gpus_per_node,
            cluster.levels.front().group};
  }
  std::vector<Strategy> strategies() const {
    std::vector<Strategy> all;
    for (const StrategyFamily& family : enumerate(space()))
      all.insert(all.end(), family.strategies.begin(), family.strategies.end());
    return all;
  }
  Result<SearchResult> search_with(int threads) const {
    SearchOptions options;
    options.threads = threads;
    return search(job(), kernels, options);
  }
};

template <typename T>
T pick(Random& random, std::initializer_list<T> choices) {
  return choices.begin()[random.below(choices.size())];
}

inline ModelSpec random_model(Random& random) {
  ModelSpec model;
  model.name = "small";
  model.layers = static_cast<int>(random.between(2, 8));
  const int heads = pick(random, {4, 8});
  model.hidden = heads * 64;
  model.ffn = pick(random, {1024, 1536, 4096});
  model.vocab = pick(random, {1024, 8000, 32000});
  model.tied_embeddings = random.below(4) == 0;
  if (random.below(3) == 0) {
    model.attention = {.kind = AttentionKind::Mla,
                       .heads = heads,
                       .kv_heads = heads,
                       .q_lora = 192,
                       .kv_lora = 128,
                       .qk_nope = 32,
                       .qk_rope = 16,
                       .v_dim = 32};
  } else {
    model.attention = {.heads = heads, .kv_heads = pick(random, {2, 4}), .head_dim = 64};
  }
  if (random.below(2) == 0) {
    model.moe = MoeSpec{.experts = pick(random, {4, 8}),
                        .top_k = 2,
                        .expert_ffn = 512,
                        .shared_ffn = pick(random, {0, 512}),
                        .dense_layers = pick(random, {0, 1})};
    model.mtp_layers = random.below(4) == 0;
  }
  return model;
}

// `memory`: the chips' in GB; 0 draws it.
inline Problem random_problem(Random& random, double memory = 0) {
  ModelSpec model = random_model(random);
  const int gpus = pick(random, {4, 8, 16});
  const char* chip = pick(random, {"h100", "h800", "a100"});
  Cluster cluster = cluster_named(std::string(chip) + ":" + std::to_string(gpus));
  SoftwareProfile software = value_of(find_software(
      pick(random, {"narrows", "megatron-core", "hai-llm", "fsdp", "megatron-2021"})));
  // Sizes at which no room is left for contexts alone are of no interest.
  software.context = 0.1 * GB;
  software.comm_buffers = 0.05 * GB;
  if (memory <= 0) memory = 0.2 + random.uniform() * random.uniform() * 6;
  cluster.chip.memory_reported.value = memory * GB;
  const Training training{.sequence = 512,
                          .global_batch = pick<std::int64_t>(random, {8, 16, 24}),
                          .routing = pick(random, {Routing::Balanced, Routing::Natural})};
  Pins pins;
  pins.precision = software.name == "megatron-2021" ? Recipe::Fp16 : Recipe::Bf16;
  const bool narrow = software.name == "narrows" || software.name == "hai-llm";
  if (narrow && std::string(chip) != "a100" && random.below(2) == 0)
    pins.precision = Recipe::Fp8Block;
  pins.micro_batch = pick(random, {1, 2});
  if (random.below(2) == 0) pins.recompute = Recompute::None;
  if (random.below(2) == 0) pins.cp = 1;
  return Problem(std::move(model), std::move(cluster), std::move(software), training, pins);
}

inline Bytes memory_of(const Candidate& candidate) {
  const StepPrediction& p = candidate.prediction;
  return total(p.memory[static_cast<std::size_t>(p.fullest_rank)]);
}

}  // namespace narrows
