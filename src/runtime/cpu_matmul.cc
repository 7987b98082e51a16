// The only file that knows oneDNN. f32 goes to its sgemm, which needs no preparation for a new
// shape.
// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu_matmul.h"

#include "base/result.h"
#include "runtime/cpu_backend.h"

#ifdef NARROWS_ONEDNN
#include <dnnl.h>
#include <omp.h>
#endif

namespace narrows {

#ifdef NARROWS_ONEDNN

void be_single_threaded() { omp_set_num_threads(1); }

const char* cpu_matmul_library() { return "oneDNN"; }

namespace {

void multiply_f32(const kernels::Matmul& op) {
  if (op.m == 0 || op.n == 0) return;
  if (op.k == 0) return kernels::matmul(op);
  const dnnl_status_t status =
      dnnl_sgemm(op.transpose_a ? 'T' : 'N', op.transpose_b ? 'T' : 'N', op.m, op.n, op.k, 1.0f,
                 op.a, op.stride_a, op.b, op.stride_b, op.beta, op.c, op.stride_c);
  ASSERT(status == dnnl_success);
}

}  // namespace

#else

void be_single_threaded() {}

const char* cpu_matmul_library() { return "built-in"; }

namespace {

void multiply_f32(const kernels::Matmul& op) { kernels::matmul(op); }

}  // namespace

#endif

void cpu_matmul(const kernels::Matmul& op, Multiply format) {
  ASSERT(format == Multiply::F32);
  multiply_f32(op);
}

kernels::MatmulFunction small_matmul(Multiply) { return multiply_f32; }

}  // namespace narrows
