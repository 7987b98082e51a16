// The models that narrows knows by name: hwprofiles/models/*.json, compiled into the program. A
// file holds one shape (spec_json.h) with its source, its other names, and how the model was really
// trained where that was published. Strict: an unknown key, a file that is not called like its
// model, or a missing source is refused with its place.
//
//   {"source": "...", "aliases": ["deepseek-r1"], "model": {"name": "deepseek-v3", ...},
//    "training": {"sequence": 4096, "global_batch": 15360, "tokens": "14.8T",
//                 "recipe": "fp8-block", "source": "..."}}
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/embedded.h"
#include "base/json.h"
#include "base/result.h"
#include "model/spec.h"

namespace narrows {

struct BuiltinModel {
  ModelSpec spec;
  std::optional<PublishedTraining> training;
  std::string source;                // of the shape
  std::vector<std::string> aliases;  // other names of the same shape
};

// A file of the form above; `file` is its name for messages.
Result<BuiltinModel> model_file_from_json(const Json& node, const std::string& file);

// The built-in model of this name or alias. An override whose path ends in "models/<file>.json"
// takes the place of the built-in file of that name, or adds to them. NotFound, with the nearest
// name, if there is none.
Result<BuiltinModel> builtin_model(const std::string& name,
                                   const std::vector<EmbeddedFile>& overrides = {});

// Names in alphabetical order, without aliases.
std::vector<std::string> builtin_model_names(const std::vector<EmbeddedFile>& overrides = {});

// A built-in name, or a path: a Hugging Face config.json or a file of the form above, recognised by
// content ("-" is stdin). What has a '/' or ends in ".json" is a path; another word is one if no
// model but a file has that name.
Result<BuiltinModel> load_model(const std::string& name_or_path,
                                const std::vector<EmbeddedFile>& overrides = {});

// What a run trains with where nobody says otherwise: the published training, and for what is not
// published a sequence of min(4096, the model's limit) and a global batch of 4 Mi tokens' worth.
// `tokens` stays 0, `recipe` "" where unpublished; `source` names what was assumed.
PublishedTraining default_training(const BuiltinModel& model);

}  // namespace narrows
