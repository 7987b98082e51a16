// Training goes on from a checkpoint as if it had not been interrupted, also on another layout.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "comm/on_threads.h"
#include "runtime/scratch_folder.h"
#include "runtime/small_plans.h"
#include "runtime/trainer_state.h"

namespace narrows {
namespace {

constexpr std::int64_t kSequence = 16;
constexpr std::int64_t kBatch = 8;

Plan plan_of(Strategy s, const ModelSpec& model = testing::small_mla()) {
  s.precision = Recipe::F32;
  s.micro_batches = kBatch / s.dp / s.micro_batch;
  return testing::small_plan(model, s, kSequence, kBatch);
}

// Steps first … last-1 of the plan; loads a checkpoint before and saves one after if named.
struct Leg {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::string load, save;
};

std::vector<double> losses(const Plan& plan, const Leg& leg) {
  std::vector<double> all;
  const int ranks = gpus_of(plan.strategy);
  const std::vector<Status> results =
      test::on_threads({.ranks = ranks}, [&](Communicator& world) -> Status {
        const std::unique_ptr<Backend> backend = make_cpu_backend(1);
        const std::unique_ptr<Trainer> trainer =
            TRY(Trainer::make(plan, *backend, ranks > 1 ? &world : nullptr));
        const TrainingState here{leg.last, fingerprint_of(plan.model), "portable:1"};
        if (leg.load.empty()) {
          trainer->initialise(1);
        } else {
          const TrainingState found =
              TRY(load_checkpoint(leg.load, here, parts_to_load(*trainer), world));
          if (found.step != leg.first) return invalid("found another step");
        }
        const ReadTokens read = [&](std::int64_t step, std::int64_t row,
                                    std::span<std::int32_t> out) {
          fill(PortableRow{.seed = 1, .step = step, .row = row, .alphabet = plan.model.vocab}, out);
          return Status();
        };
        for (std::int64_t step = leg.first; step < leg.last; ++step) {
          const StepMetrics metrics = TRY(trainer->step(step, read, {.balance_rate = 0.05}));
          if (world.rank() == 0) all.push_back(metrics.loss + metrics.mtp_loss);
        }
        if (leg.save.empty()) return {};
        return save_checkpoint({.folder = leg.save}, here, parts_to_save(*trainer), world);
      });
  for (const Status& result : results) {
    INFO((result ? std::string() : result.error().message));
    CHECK(result.has_value());
  }
  return all;
}

std::vector<Strategy> layouts() {
  return {
      {.dp = 2, .dp_shard = 2, .zero = 1},
      {.tp = 2, .sequence_parallel = true},
      {.pp = 2, .dp = 2, .schedule = ScheduleKind::DualPipe},
      {.ep = 4, .dp = 4, .dp_shard = 4, .zero = 3},
      {.tp = 2, .pp = 2, .ep = 2, .dp = 2, .dp_shard = 2, .zero = 2, .sequence_parallel = true}};
}

}  // namespace

TEST_CASE("resume: the same layout goes on bit for bit") {
  for (const Strategy& s : layouts()) {
    const Plan plan = plan_of(s);
    const test::ScratchFolder folder;
    const std::vector<double> whole = losses(plan, {.first = 0, .last = 4});
    const std::vector<double> before = losses(plan, {.first = 0, .last = 2, .save = folder.path()});
    const std::vector<double> after = losses(plan, {.first = 2, .last = 4, .load = folder.path()});
    REQUIRE(after.size() == 2);
    CHECK(before == std::vector<double>(whole.begin(), whole.begin() + 2));
    CHECK(after == std::vector<double>(whole.begin() + 2, whole.end()));
  }
}

TEST_CASE("resume: moments in bf16 are saved as such, and go on bit for bit") {
  for (const Strategy& s : layouts()) {
    Plan plan = plan_of(s);
    plan.software.moment_dtype = Dtype::Bf16;
    const test::ScratchFolder folder;
    const std::vector<double> whole = losses(plan, {.first = 0, .last = 4});
    losses(plan, {.first = 0, .last = 2, .save = folder.path()});
    CHECK(losses(plan, {.first = 2, .last = 4, .load = folder.path()}) ==
          std::vector<double>(whole.begin() + 2, whole.end()));
  }
}

TEST_CASE("resume: another layout goes on with the curve of one rank") {
  const std::vector<Strategy> all = layouts();
  const std::vector<double> alone = losses(plan_of({}), {.first = 0, .last = 4});
  for (std::size_t i = 0; i < all.size(); ++i) {
    const test::ScratchFolder folder;
    losses(plan_of(all[i]), {.first = 0, .last = 2, .save = folder.path()});
    for (const Strategy& next : {Strategy{}, all[(i + 1) % all.size()]}) {
      const std::vector<double> after =
          losses(plan_of(next), {.first = 2, .last = 4, .load = folder.path()});
      REQUIRE(after.size() == 2);
      CHECK(after[0] == Approx(alone[2]).epsilon(1e-5));
      CHECK(after[1] == Approx(alone[3]).epsilon(1e-4));
    }
  }
}

TEST_CASE("resume: selection biases and a prediction block go on where they stood") {
  ModelSpec model = testing::small_mla();
  model.moe->score = RouterScore::Sigmoid;
  model.moe->selection_bias = true;
  model.mtp_layers = 1;
  const std::vector<double> alone = losses(plan_of({}, model), {.first = 0, .last = 4});
  for (const Strategy& s : layouts()) {
    const Plan plan = plan_of(s, model);
    const test::ScratchFolder folder;
    const std::vector<double> whole = losses(plan, {.first = 0, .last = 4});
    losses(plan, {.first = 0, .last = 2, .save = folder.path()});
    const std::vector<double> after = losses(plan, {.first = 2, .last = 4, .load = folder.path()});
    CHECK(after == std::vector<double>(whole.begin() + 2, whole.end()));
    const std::vector<double> other =
        losses(plan_of({}, model), {.first = 2, .last = 4, .load = folder.path()});
    CHECK(other[1] == Approx(alone[3]).epsilon(1e-4));
    const Result<SafetensorsHeader> header =
        read_header(folder.path() + "/step-0000000002/model.safetensors");
    REQUIRE(header);
    const auto is_bias = [](const TensorInfo& tensor) {
      return tensor.name == "model.layers.3.mlp.gate.e_score_correction_bias" &&
             tensor.shape == std::vector<std::int64_t>{4};
    };
    CHECK(std::count_if(header->tensors.begin(), header->tensors.end(), is_bias) == 1);
  }
}

TEST_CASE("resume: KV heads that several ranks hold are saved once") {
  const Plan four = plan_of({.tp = 4, .sequence_parallel = true}, testing::small_gqa());
  const test::ScratchFolder folder;
  const std::vector<double> whole = losses(four, {.first = 0, .last = 3});
  losses(four, {.first = 0, .last = 2, .save = folder.path()});
  CHECK(losses(four, {.first = 2, .last = 3, .load = folder.path()}).back() == whole[2]);
}

TEST_CASE("resume: only models that rotate neighbours ask for a checkpoint that has them so") {
  ModelSpec halves = testing::small_mla();
  halves.numerics = Numerics{.rope_interleaved = false};
  CHECK(oldest_checkpoint_of(testing::small_mla()) == kRotatedPairsSince);
  CHECK(oldest_checkpoint_of(halves) == 1);
  CHECK(oldest_checkpoint_of(testing::small_gqa()) == 1);
}

namespace {

// The model on one rank and on two; what the first saved, the second goes on with. The names and
// extents in the file.
std::map<std::string, std::vector<std::int64_t>> stored(const ModelSpec& model,
                                                        const std::string& folder) {
  const std::vector<double> whole = losses(plan_of({}, model), {.first = 0, .last = 3});
  losses(plan_of({.tp = 2}, model), {.first = 0, .last = 2, .save = folder});
  const Strategy other{.dp = 2, .dp_shard = 2, .zero = 3};
  const std::vector<double> after =
      losses(plan_of(other, model), {.first = 2, .last = 3, .load = folder});
  CHECK(after.front() == Approx(whole[2]).epsilon(1e-5));
  std::map<std::string, std::vector<std::int64_t>> shapes;
  const SafetensorsHeader header =
      read_header(folder + "/step-0000000002/model.safetensors").value();
  for (const TensorInfo& tensor : header.tensors) shapes[tensor.name] = tensor.shape;
  return shapes;
}

}  // namespace

TEST_CASE("resume: GPT-2's files have its names, with matrices transposed and QKV in one") {
  ModelSpec model = testing::small_gqa();
  model.attention.kv_heads = model.attention.heads;
  model.attention.qkv_bias = true;
  model.activation = Activation::Gelu;
  model.norm = NormKind::Layer;
  model.linear_bias = true;
  model.learned_positions = kSequence;
  model.tied_embeddings = true;
  const test::ScratchFolder folder;
  const auto shapes = stored(model, folder.path());
  const std::int64_t h = model.hidden, f = model.ffn;
  using Shape = std::vector<std::int64_t>;
  CHECK(shapes.at("wte.weight") == Shape{model.vocab, h});
  CHECK(shapes.at("wpe.weight") == Shape{kSequence, h});
  CHECK(shapes.at("ln_f.bias") == Shape{h});
  CHECK(shapes.at("h.0.ln_1.weight") == Shape{h});
  CHECK(shapes.at("h.1.attn.c_attn.weight") == Shape{h, 3 * h});
  CHECK(shapes.at("h.1.attn.c_attn.bias") == Shape{3 * h});
  CHECK(shapes.at("h.1.attn.c_proj.weight") == Shape{h, h});
  CHECK(shapes.at("h.1.mlp.c_fc.weight") == Shape{h, f});
  CHECK(shapes.at("h.1.mlp.c_proj.weight") == Shape{f, h});
  CHECK(std::ssize(shapes) == 4 + 12 * model.layers);
}

TEST_CASE("resume: Mixtral's files have its names") {
  ModelSpec model = testing::small_gqa();
  model.moe = testing::small_mla().moe;
  model.moe->shared_ffn = 0;
  model.moe->dense_layers = 0;
  const test::ScratchFolder folder;
  const auto shapes = stored(model, folder.path());
  const std::int64_t h = model.hidden, f = model.moe->expert_ffn;
  using Shape = std::vector<std::int64_t>;
  const std::string moe = "model.layers.1.block_sparse_moe.";
  CHECK(shapes.at(moe + "gate.weight") == Shape{model.moe->experts, h});
  CHECK(shapes.at(moe + "experts.2.w1.weight") == Shape{f, h});
  CHECK(shapes.at(moe + "experts.2.w2.weight") == Shape{h, f});
  CHECK(shapes.at(moe + "experts.2.w3.weight") == Shape{f, h});
  CHECK(shapes.count("model.layers.1.mlp.gate.weight") == 0);
}

TEST_CASE("resume: a tied table is saved once and read by both ends") {
  ModelSpec model = testing::small_gqa();
  model.tied_embeddings = true;
  const Plan two = plan_of({.pp = 2}, model);
  const test::ScratchFolder folder;
  const std::vector<double> whole = losses(two, {.first = 0, .last = 3});
  losses(two, {.first = 0, .last = 2, .save = folder.path()});
  const std::vector<double> after = losses(two, {.first = 2, .last = 3, .load = folder.path()});
  REQUIRE(after.size() == 1);
  CHECK(after[0] == whole[2]);
}

}  // namespace narrows
