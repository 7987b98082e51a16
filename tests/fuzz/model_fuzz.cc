// A model file of hwprofiles/models from any bytes.
// SPDX-License-Identifier: Apache-2.0
#include "model/builtin.h"
#include "model/spec_json.h"
#include "tests/fuzz/fuzz.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto document = parse_json({reinterpret_cast<const char*>(data), size}, fuzz::kFile);
  if (document) {
    const Result<BuiltinModel> model = model_file_from_json(*document, fuzz::kFile);
    if (!model) fuzz::expect_sentence(model.error());
    if (model) ASSERT(default_training(*model).sequence > 0);
  }
  return fuzz::check_reader(data, size, fuzz::whole(model_from_json),
                            [](const ModelSpec& model) { return to_json(model).text(); });
}
