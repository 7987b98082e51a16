// The only file that knows oneDNN. f32 goes to its sgemm, which needs no preparation for a new
// shape. bf16 goes, where the processor has no tiles for kernels/amx.h, to a matmul primitive that
// learns at run time how many tokens there are, so that routing does not make new ones.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu_matmul.h"

#include "base/result.h"
#include "kernels/amx.h"
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
  const auto strides = [](bool transpose, std::int64_t stride) {
    return transpose ? memory::dims{1, stride} : memory::dims{stride, 1};
  };
  const memory::dims a = strides(op.transpose_a, op.stride_a_narrow);
  const memory::dims b = strides(op.transpose_b, op.stride_b_narrow);
  return {{{m, k}, memory::data_type::bf16, a},
          {{k, op.n}, memory::data_type::bf16, b},
          {{m, op.n}, memory::data_type::f32, {op.stride_c, 1}}};
}

template <typename T>
void* writable(const T* data) {
  return const_cast<void*>(static_cast<const void*>(data));
}

}  // namespace

void multiply_bf16(const kernels::Matmul& s) {
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
  product.execute(stream, {{DNNL_ARG_SRC, memory(now.a, engine, writable(s.a_narrow))},
                           {DNNL_ARG_WEIGHTS, memory(now.b, engine, writable(s.b_narrow))},
                           {DNNL_ARG_DST, memory(now.c, engine, s.c)}});
  stream.wait();
}

#else

void be_single_threaded() {}

const char* cpu_matmul_library() { return "built-in"; }

void multiply_f32(const kernels::Matmul& op) { kernels::matmul(op); }

void multiply_bf16(const kernels::Matmul& op) { kernels::matmul(op); }

#endif

namespace {

constexpr std::int64_t kScratch = kernels::kAmxScratch / 4;

// `rows` of `columns` elements, packed and rounded.
void round_into(std::uint16_t* to, const float* from, std::int64_t stride, std::int64_t rows,
                std::int64_t columns) {
  kernels::to_bf16(from, stride, columns, to, 0, rows);
}

void multiply_rounded(const kernels::Matmul& op, float* scratch) {
  kernels::Matmul narrow = op;
  auto* const a = reinterpret_cast<std::uint16_t*>(scratch);
  auto* const b = a + (op.m * op.k + 31) / 32 * 32;
  narrow.stride_a_narrow = op.transpose_a ? op.m : op.k;
  narrow.stride_b_narrow = op.transpose_b ? op.k : op.n;
  round_into(a, op.a, op.stride_a, op.transpose_a ? op.k : op.m, narrow.stride_a_narrow);
  round_into(b, op.b, op.stride_b, op.transpose_b ? op.n : op.k, narrow.stride_b_narrow);
  narrow.a_narrow = a;
  narrow.b_narrow = b;
  multiply_bf16(narrow);
}

}  // namespace

kernels::SmallMatmul small_f32() {
  return {[](const kernels::Matmul& op, float*) { multiply_f32(op); }, 0};
}

namespace {

kernels::SmallMatmul small_amx() {
  return {[](const kernels::Matmul& op, float* scratch) { kernels::amx_matmul(op, scratch); },
          kScratch};
}

}  // namespace

kernels::SmallMatmul small_narrow() {
  if (kernels::has_amx()) return small_amx();
  return {[](const kernels::Matmul& op, float*) { multiply_bf16(op); }, 0};
}

kernels::SmallMatmul small_bf16(std::int64_t elements) {
  if (kernels::has_amx()) return small_amx();
  return {multiply_rounded, (elements + 31) / 32 * 32};
}

}  // namespace narrows
