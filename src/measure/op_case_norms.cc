// Norms and activations, as src/runtime/ops_norm.cc and ops_experts.cc call them.
// SPDX-License-Identifier: Apache-2.0
#include "measure/op_case_parts.h"

namespace narrows::op_parts {
namespace {

// Where x comes from: an op's input was made just before in forward, and waited for its gradient.
const float* input_of(RotatingMemory& memory, std::int64_t count, Direction direction) {
  return direction == Direction::Forward ? memory.recent_input(count) : memory.input(count);
}

kernels::Norm norm_op(Rows32 in, std::int64_t columns, const Given& x, RotatingMemory& memory) {
  return {.x = x.wide,
          .weight = memory.input(in.columns),
          .rows = in.rows,
          .columns = columns,
          .stride = in.columns,
          .to_bf16 = x.narrow != nullptr,
          .x_narrow = x.narrow};
}

kernels::LayerNorm layer_norm_op(Rows32 in, RotatingMemory& memory, Direction direction) {
  return {.x = input_of(memory, in.count(), direction),
          .weight = memory.input(in.columns),
          .bias = memory.input(in.columns),
          .rows = in.rows,
          .columns = in.columns};
}

kernels::HeadNorm head_norm_op(const HeadRows& in, RotatingMemory& memory, Direction direction) {
  return {.x = input_of(memory, in.count(), direction),
          .weight = memory.input(in.weights()),
          .rows = in.rows,
          .heads = in.heads,
          .key_heads = in.key_heads,
          .dim = in.dim,
          .stride = in.stride,
          .key_dim = in.key_dim};
}

}  // namespace

Run norm(Rows32 in, std::int64_t columns, Direction direction, bool adds, bool narrow) {
  if (direction == Direction::Forward) {
    return [=](Backend& backend, RotatingMemory& memory) {
      memory.reserve(in.count() + in.columns, in.count());
      kernels::Norm op = norm_op(in, columns, recent(memory, in.count(), narrow), memory);
      const Made y = kept(memory, in.count(), narrow);
      op.y = y.wide;
      op.y_narrow = y.narrow;
      backend.run(op);
    };
  }
  return [=](Backend& backend, RotatingMemory& memory) {
    memory.reserve(3 * in.count() + in.columns, in.count() + in.rows + in.columns);
    const kernels::Norm forward = norm_op(in, columns, waited(memory, in.count(), narrow), memory);
    backend.run(kernels::NormGrad{.forward = forward,
                                  .dy = memory.recent_input(in.count()),
                                  .add = adds ? memory.recent_input(in.count()) : nullptr,
                                  .dx = memory.recent_output(in.count()),
                                  .inverse_rms = memory.output(in.rows),
                                  .dweight = memory.output(in.columns)});
  };
}

Run layer_norm(Rows32 in, Direction direction, bool adds) {
  if (direction == Direction::Forward) {
    return [=](Backend& backend, RotatingMemory& memory) {
      memory.reserve(in.count() + 2 * in.columns, in.count());
      kernels::LayerNorm op = layer_norm_op(in, memory, direction);
      op.y = memory.output(in.count());
      backend.run(op);
    };
  }
  return [=](Backend& backend, RotatingMemory& memory) {
    memory.reserve(3 * in.count() + 2 * in.columns, in.count() + 2 * (in.rows + in.columns));
    const kernels::LayerNorm forward = layer_norm_op(in, memory, direction);
    backend.run(kernels::LayerNormGrad{.forward = forward,
                                       .dy = memory.recent_input(in.count()),
                                       .add = adds ? memory.recent_input(in.count()) : nullptr,
                                       .dx = memory.recent_output(in.count()),
                                       .statistics = memory.output(2 * in.rows),
                                       .dweight = memory.output(in.columns),
                                       .dbias = memory.output(in.columns)});
  };
}

Run head_norm(const HeadRows& in, Direction direction) {
  if (direction == Direction::Forward) {
    return [=](Backend& backend, RotatingMemory& memory) {
      memory.reserve(in.count() + in.weights(), in.count());
      kernels::HeadNorm op = head_norm_op(in, memory, direction);
      op.y = memory.output(in.count());
      backend.run(op);
    };
  }
  return [=](Backend& backend, RotatingMemory& memory) {
    const std::int64_t roots = in.rows * (in.heads + in.key_heads);
    memory.reserve(2 * in.count() + in.weights(), in.count() + roots + in.weights());
    const kernels::HeadNorm forward = head_norm_op(in, memory, direction);
    backend.run(kernels::HeadNormGrad{.forward = forward,
                                      .dy = memory.recent_input(in.count()),
                                      .dx = memory.recent_output(in.count()),
                                      .inverse_rms = memory.output(roots),
                                      .dweight = memory.output(in.weights())});
  };
}

Run activation(Rows32 out, Direction direction, bool weighs, bool narrow) {
  const auto forward = [=](const Given& x, RotatingMemory& memory) {
    return kernels::SwiGlu{.x = x.wide,
                           .scale = weighs ? memory.input(out.rows) : nullptr,
                           .rows = out.rows,
                           .columns = out.columns,
                           .to_bf16 = narrow,
                           .x_narrow = x.narrow};
  };
  if (direction == Direction::Forward) {
    return [=](Backend& backend, RotatingMemory& memory) {
      memory.reserve(2 * out.count() + out.rows, out.count());
      kernels::SwiGlu op = forward(recent(memory, 2 * out.count(), narrow), memory);
      const Made y = kept(memory, out.count(), narrow);
      op.y = y.wide;
      op.y_narrow = y.narrow;
      backend.run(op);
    };
  }
  return [=](Backend& backend, RotatingMemory& memory) {
    memory.reserve(3 * out.count() + out.rows, 2 * out.count() + out.rows);
    const kernels::SwiGlu op = forward(waited(memory, 2 * out.count(), narrow), memory);
    const Made dx = fresh(memory, 2 * out.count(), narrow);
    backend.run(kernels::SwiGluGrad{.forward = op,
                                    .dy = memory.recent_input(out.count()),
                                    .dx = dx.wide,
                                    .dscale = weighs ? memory.output(out.rows) : nullptr,
                                    .dx_narrow = dx.narrow});
  };
}

Run gelu(Rows32 out, Direction direction) {
  const std::int64_t count = out.count();
  if (direction == Direction::Forward) {
    return [=](Backend& backend, RotatingMemory& memory) {
      memory.reserve(count, count);
      const float* const x = memory.recent_input(count);
      backend.run(kernels::Gelu{x, memory.output(count), count});
    };
  }
  return [=](Backend& backend, RotatingMemory& memory) {
    memory.reserve(2 * count, count);
    const float* const x = memory.input(count);
    const float* const dy = memory.recent_input(count);
    backend.run(kernels::GeluGrad{{x, nullptr, count}, dy, memory.recent_output(count)});
  };
}

}  // namespace narrows::op_parts
