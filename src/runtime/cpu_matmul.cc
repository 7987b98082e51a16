// The only file that knows oneDNN. f32 goes to its sgemm, which needs no preparation for a new
// shape. bf16 goes to a matmul primitive (AMX where the processor has it) that learns at run time
// how many tokens there are, so that routing does not make new ones.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu_matmul.h"

#include <vector>

#include "base/result.h"
#include "kernels/bf16.h"
#include "runtime/cpu_backend.h"

#ifdef NARROWS_ONEDNN
#include <omp.h>

#include <dnnl.hpp>
#endif

namespace narrows {

#ifdef NARROWS_ONEDNN

void be_single_threaded() { omp_set_num_threads(1); }

const char* cpu_matmul_library() { return "oneDNN"; }

void multiply_f32(const kernels::Matmul& op) {
  if (op.m == 0 || op.n == 0) return;
  if (op.k == 0) return kernels::matmul(op);
  const dnnl_status_t status =
      dnnl_sgemm(op.transpose_a ? 'T' : 'N', op.transpose_b ? 'T' : 'N', op.m, op.n, op.k, 1.0f,
                 op.a, op.stride_a, op.b, op.stride_b, op.beta, op.c, op.stride_c);
  ASSERT(status == dnnl_success);
}

namespace {

using dnnl::memory;

struct Descriptors {
  memory::desc a, b, c;
};
// Of (m, k), (k, n) and (m, n) with the strides of `op`.
Descriptors describe(const kernels::Matmul& op, memory::dim m, memory::dim k) {
  const memory::dims a =
      op.transpose_a ? memory::dims{1, op.stride_a} : memory::dims{op.stride_a, 1};
  const memory::dims b =
      op.transpose_b ? memory::dims{1, op.stride_b} : memory::dims{op.stride_b, 1};
  return {{{m, k}, memory::data_type::bf16, a},
          {{k, op.n}, memory::data_type::bf16, b},
          {{m, op.n}, memory::data_type::f32, {op.stride_c, 1}}};
}

template <typename T>
void* writable(const T* data) {
  return const_cast<void*>(static_cast<const void*>(data));
}

}  // namespace

void multiply_bf16(const Bf16Matmul& op) {
  const kernels::Matmul& s = op.shape;
  if (s.m == 0 || s.n == 0) return;
  if (s.k == 0) return kernels::matmul(s);
  // Tokens are the rows of forward and input gradient, and the sum of the weight gradient.
  const memory::dim open = DNNL_RUNTIME_DIM_VAL;
  const Descriptors made = describe(s, s.transpose_a ? s.m : open, s.transpose_a ? open : s.k);
  const Descriptors now = describe(s, s.m, s.k);
  dnnl::primitive_attr attributes;
  if (s.beta != 0) {
    dnnl::post_ops sum;
    sum.append_sum(s.beta);
    attributes.set_post_ops(sum);
  }
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const dnnl::matmul product(
      dnnl::matmul::primitive_desc(dnnl::matmul::desc(made.a, made.b, made.c), attributes, engine));
  product.execute(stream, {{DNNL_ARG_SRC, memory(now.a, engine, writable(op.a))},
                           {DNNL_ARG_WEIGHTS, memory(now.b, engine, writable(op.b))},
                           {DNNL_ARG_DST, memory(now.c, engine, s.c)}});
  stream.wait();
}

#else

void be_single_threaded() {}

const char* cpu_matmul_library() { return "built-in"; }

void multiply_f32(const kernels::Matmul& op) { kernels::matmul(op); }

// The operands as floats again: products and sums are the same.
void multiply_bf16(const Bf16Matmul& op) {
  kernels::Matmul wide = op.shape;
  std::vector<float> a(
      static_cast<std::size_t>((wide.transpose_a ? wide.k : wide.m) * wide.stride_a));
  std::vector<float> b(
      static_cast<std::size_t>((wide.transpose_b ? wide.n : wide.k) * wide.stride_b));
  kernels::from_bf16(op.a, a.data(), std::ssize(a));
  kernels::from_bf16(op.b, b.data(), std::ssize(b));
  wide.a = a.data();
  wide.b = b.data();
  kernels::matmul(wide);
}

#endif

}  // namespace narrows
