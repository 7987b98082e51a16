// A Hugging Face config.json from any bytes: refused in a sentence, or a model whose parameters
// and own file can be computed.
// SPDX-License-Identifier: Apache-2.0
#include "model/import.h"
#include "model/parameters.h"
#include "model/spec_json.h"
#include "tests/fuzz/fuzz.h"

using namespace narrows;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto document = parse_json({reinterpret_cast<const char*>(data), size}, fuzz::kFile);
  if (!document) return 0;
  const Result<ModelSpec> model = import_config(*document, fuzz::kFile);
  if (!model) {
    fuzz::expect_sentence(model.error());
    return 0;
  }
  ASSERT(count_parameters(*model).total > 0);
  const std::string text = to_json(*model).text();
  const auto again = parse_json(text, "again.json");
  ASSERT(again.has_value());
  const Result<ModelSpec> same = fuzz::whole(model_from_json)(*again);
  ASSERT(same.has_value());
  ASSERT(*same == *model);
  return 0;
}
