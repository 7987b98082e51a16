// SPDX-License-Identifier: Apache-2.0
#include "model/builtin.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "model/recipe.h"
#include "model/validate.h"

namespace narrows {
namespace {

const char* const kTiny =
    R"({"source": "made up", "model": {"name": "tiny", "layers": 2, "hidden": 64, "ffn": 256,
 "vocab": 1000, "attention": {"kind": "gqa", "heads": 8, "head_dim": 8}}})";

std::string complaint(const std::string& from, const std::string& to) {
  std::string text = kTiny;
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  const Result<BuiltinModel> model = builtin_model("tiny", {{"hwprofiles/models/tiny.json", text}});
  return model ? "accepted" : model.error().message;
}

// A folder for one test, removed with what is in it.
struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / "narrows_builtin_test";
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

}  // namespace

TEST_CASE(
    "built-in models: each is valid, sourced and called like its file; no name stands twice") {
  const std::vector<std::string> names = builtin_model_names();
  CHECK(std::is_sorted(names.begin(), names.end()));
  std::set<std::string> all(names.begin(), names.end());
  CHECK(all.size() == names.size());
  for (const std::string& name : names) {
    INFO(name);
    const Result<BuiltinModel> model = builtin_model(name);
    INFO((model ? "" : model.error().message));
    REQUIRE(model.has_value());
    CHECK(model->spec.name == name);
    CHECK(validate(model->spec).has_value());
    CHECK_FALSE(model->source.empty());
    for (const std::string& alias : model->aliases) CHECK(all.insert(alias).second);
  }
}

TEST_CASE("built-in models: the names that the command line promises") {
  for (const char* name :
       {"deepseek-v3",      "deepseek-r1",     "deepseek-v2",       "deepseek-v2-lite",
        "deepseek-moe-16b", "deepseek-llm-7b", "deepseek-llm-67b",  "deepseek-coder-33b",
        "llama-3.1-405b",   "llama-3.1-8b",    "llama-2-70b",       "qwen3-235b-a22b",
        "mixtral-8x7b",     "kimi-k2",         "gpt3-175b",         "megatron-1t",
        "megatron-1.7b",    "megatron-145b",   "qwen2.5-math-1.5b", "qwen2.5-math-7b",
        "qwen2.5-14b",      "qwen2.5-32b",     "llama-3.3-70b"}) {
    INFO(name);
    CHECK(builtin_model(name).has_value());
  }
}

TEST_CASE(
    "built-in models: V3 was trained on 14.8 T tokens in batches of 15,360 sequences of 4,096, in "
    "fp8") {
  const BuiltinModel v3 = builtin_model("deepseek-v3").value();
  REQUIRE(v3.training.has_value());
  CHECK(v3.training->sequence == 4096);
  CHECK(v3.training->global_batch == 15360);
  CHECK(v3.training->tokens == 14'800'000'000'000);
  CHECK(recipe_of(v3.training->recipe) == Recipe::Fp8Block);
  CHECK_FALSE(v3.training->source.empty());
  // 62,914,560 tokens a step, as in isca2025 table 4.
  CHECK(v3.training->sequence * v3.training->global_batch == 62'914'560);
}

TEST_CASE("built-in models: an alias is the same shape under its first name") {
  CHECK(builtin_model("deepseek-r1")->spec == builtin_model("deepseek-v3")->spec);
  CHECK(builtin_model("megatron-145.6b")->spec.name == "megatron-145b");
}

TEST_CASE("built-in models: an unknown name is refused with the nearest") {
  const Result<BuiltinModel> model = builtin_model("deepseek-v33");
  REQUIRE_FALSE(model.has_value());
  CHECK(model.error().code == ErrorCode::NotFound);
  CHECK(model.error().message ==
        "model \"deepseek-v33\": expected a built-in name or a path to a config.json, found "
        "neither; did you mean "
        "\"deepseek-v3\"?");
}

TEST_CASE("built-in models: an override takes the place of a file or adds one") {
  std::string text = kTiny;
  CHECK(builtin_model("tiny", {{"models/tiny.json", text}})->spec.layers == 2);
  CHECK_FALSE(builtin_model("tiny", {{"chips/tiny.json", text}}).has_value());
  text.replace(text.find("tiny"), 4, "llama-2-7b");
  const std::vector<EmbeddedFile> overrides = {{"mine/models/llama-2-7b.json", text}};
  CHECK(builtin_model("llama-2-7b", overrides)->spec.layers == 2);
  CHECK(builtin_model_names(overrides) == builtin_model_names());
}

TEST_CASE("built-in models: a file that is wrong is refused with its place") {
  CHECK(complaint("tiny", "tiny") == "accepted");
  CHECK(complaint("\"tiny\"", "\"huge\"") ==
        "hwprofiles/models/tiny.json: model.name: expected \"tiny\", the file's name, found "
        "\"huge\"");
  CHECK(complaint("\"made up\"", "\"\"") ==
        "hwprofiles/models/tiny.json:1: source: expected a source, found \"\"");
  CHECK(complaint("\"source\": \"made up\", ", "") ==
        "hwprofiles/models/tiny.json:1: source: expected a string, found no such key");
  CHECK(complaint("\"source\"", "\"sauce\": 1, \"source\"") ==
        "hwprofiles/models/tiny.json:1: sauce: unknown key; did you mean \"source\"?");
  CHECK(complaint("\"layers\": 2", "\"layers\": -2") ==
        "hwprofiles/models/tiny.json:1: model.layers: expected a whole number from 1 to 4096, "
        "found the number -2");
  const auto training = [](const std::string& fields) {
    return complaint("{\"source\"", "{\"training\": {" + fields + "}, \"source\"");
  };
  CHECK(training(R"("sequence": 4096, "tokens": "2T", "source": "a paper")") == "accepted");
  CHECK(training(R"("sequence": 4096, "tokens": 2e12, "source": "a paper")") ==
        "hwprofiles/models/tiny.json:1: training.tokens: expected a string, found the number "
        "2000000000000");
  CHECK(training(R"("sequence": 4096, "tokens": "many", "source": "a paper")") ==
        "hwprofiles/models/tiny.json:1: training.tokens: expected a count such as \"14.8T\", found "
        "\"many\"");
  CHECK(training(R"("sequence": 4096, "recipe": "fp7", "source": "a paper")") ==
        "hwprofiles/models/tiny.json:1: training.recipe: expected one of f32 fp16 bf16 fp8-block "
        "fp8-tensor fp8-row "
        "mxfp8 nvfp4, found \"fp7\"");
  CHECK(training(R"("sequence": 4096)") ==
        "hwprofiles/models/tiny.json:1: training.source: expected a string, found no such key");
}

TEST_CASE("load_model: a name, one of our files, or a config.json, recognised by content") {
  const Folder folder;
  const std::string ours = (folder.path / "tiny.json").string();
  const std::string theirs = (folder.path / "config.json").string();
  REQUIRE(write_file(ours, kTiny).has_value());
  REQUIRE(write_file(
              theirs,
              R"({"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 16,
    "vocab_size": 10})")
              .has_value());
  CHECK(load_model("llama-2-7b")->spec.layers == 32);
  CHECK(load_model(ours)->spec.name == "tiny");
  CHECK(load_model(theirs)->spec.name == "narrows_builtin_test");
  CHECK_FALSE(load_model(theirs)->training.has_value());
  CHECK(load_model((folder.path / "none.json").string()).error().code == ErrorCode::NotFound);
  CHECK(load_model("no-such-model").error().code == ErrorCode::NotFound);
}

TEST_CASE("default training: the published figures, else 4 Mi tokens of at most 4096 a sequence") {
  const PublishedTraining llama = default_training(builtin_model("llama-3.1-8b").value());
  CHECK(llama.sequence == 8192);
  CHECK(llama.global_batch == 512);  // the batch is not published
  CHECK(llama.tokens == 15'000'000'000'000);
  CHECK(llama.source.ends_with("global batch 512 (4 Mi tokens) assumed"));
  const PublishedTraining gpt3 = default_training(builtin_model("gpt3-175b").value());
  CHECK(gpt3.sequence == 2048);  // its positions are learned
  CHECK(gpt3.global_batch == 2048);
  CHECK(gpt3.tokens == 0);
  CHECK(gpt3.source == "sequence 2048 assumed, global batch 2048 (4 Mi tokens) assumed");
  const PublishedTraining qwen = default_training(builtin_model("qwen3-8b").value());
  CHECK(qwen.sequence == 4096);
  CHECK(qwen.global_batch == 1024);
}

}  // namespace narrows
