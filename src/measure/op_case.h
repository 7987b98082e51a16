// An op of a model's op graph, ready to be timed: what it is called in the tables, and the same
// Backend calls that the runtime makes for it (src/runtime/ops_*.cc), on memory of its shape.
//
// Activations are floats, so that kernels that only move data are the same under all recipes,
// unless the Backend makes bf16: then they lie in that under the recipe bf16, and moves are cases
// of their own there, as matmuls are in each format. What the runtime does for nothing (the
// gradient of a sum is handed on) is no case.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "measure/rotating_memory.h"
#include "measurement/measurement.h"
#include "model/block.h"
#include "runtime/backend.h"

namespace narrows {

struct Rows32 {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  std::int64_t count() const { return rows * columns; }
};

struct OpCase {
  Measurement what;  // without chip, source and time
  Rows32 extent;     // of what moves memory: rows and their width, as GpuWork has them
  std::string name;  // of the op that it was found as: "kv_b"
  int parts = 1;     // `run` does the work of so many ops
  std::function<void(Backend& backend, RotatingMemory& memory)> run;
};

// Equal cases have equal words: family, class, format, direction and shape.
std::string key_of(const Measurement& what);

// A block's op graph with what its shapes were made from.
struct GraphSite {
  const Graph& graph;
  const ModelSpec& model;
  const Sharding& sharding;
  Recipe recipe = Recipe::F32;  // of its matmuls
  bool makes_bf16 = false;      // Backend::makes_bf16 of the one that will run it
};

// The case of an op of the graph, in any pass; `run` is empty for what cannot be run alone
// (collectives) and for passes that the runtime does not make.
OpCase op_case(const GraphSite& site, const Op& op);

// A plain matmul (forward) whose shape no model asks for.
OpCase matmul_case(Recipe recipe, const MatmulShape& shape);
// AdamW over `parameters` of a rank, the norm of their gradient and its clearing.
OpCase optimizer_case(std::int64_t parameters);
// `floats` packed to bf16 to wait for their gradient (forward), or made floats again (input
// gradient): class "quantise".
OpCase packing_case(std::int64_t floats, Direction direction);
// Rows of memory copied: `bytes` read and as many written.
OpCase copy_case(Bytes bytes);

}  // namespace narrows
