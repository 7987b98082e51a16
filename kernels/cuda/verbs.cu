// From a verb's number to its kernels.
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/context.cuh"

namespace narrows::gpu {
namespace {

template <typename Op>
Code run_as(Context& context, const void* op, std::size_t bytes) {
  if (bytes == sizeof(Op)) return run(context, *static_cast<const Op*>(op));
  return refuse(context, Code::Invalid,
                "verb %d: expected %zu bytes, found %zu: another version of gpu.h",
                static_cast<int>(Op::kVerb), sizeof(Op), bytes);
}

// The first of the list whose verb it is.
template <typename Op, typename... Rest>
Code dispatch(Context& context, Verb verb, const void* op, std::size_t bytes) {
  if (verb == Op::kVerb) return run_as<Op>(context, op, bytes);
  if constexpr (sizeof...(Rest) > 0) {
    return dispatch<Rest...>(context, verb, op, bytes);
  } else {
    return refuse(context, Code::Unsupported, "verb %d is unknown here", static_cast<int>(verb));
  }
}

}  // namespace

Code run_verb(Context& context, Verb verb, const void* op, std::size_t op_bytes) {
  return dispatch<Matmul, ScaledMatmul, GroupedMatmul, GroupedScaledMatmul, Attention,
                  AttentionGrad, Norm, NormGrad, SwiGlu, SwiGluGrad, Rotation, KeyAssembly,
                  KeyAssemblyGrad, Router, RouterGrad, PickRows, SumRows, ScatterRows, Add, Cast,
                  PartialSoftmax, LossGrad, AdamW, SumOfSquares, Quantise, Copy, Collective>(
      context, verb, op, op_bytes);
}

}  // namespace narrows::gpu
