// Matmuls by cuBLASLt: dense in bf16 and f32, and E4M3 with scales by block. cuBLASLt counts
// columns first, so a row-major c = a b is its c^T = b^T a^T. What it chose for a shape is kept;
// pointers and scales are given anew each time.
//
// Floor: 2 m n k FLOPs over the chip's rate for the operands' format.
// SPDX-License-Identifier: Apache-2.0
#include <cublasLt.h>

#include <map>
#include <tuple>

#include "kernels/cuda/libraries.cuh"
#include "kernels/cuda/vector.cuh"

namespace narrows::gpu {

namespace {

// d (m, n) = op(a) op(b), columns first.
struct Shape {
  cudaDataType_t in, out;
  bool transpose_a, transpose_b;
  std::int64_t m, n, k, stride_a, stride_b, stride_c;
  int scale_a, scale_b;  // modes, 0 = none
  std::uint32_t align_a, align_b, align_c;
  bool adds;  // reads c
};

bool operator<(const Shape& x, const Shape& y) {
  const auto all = [](const Shape& s) {
    return std::tie(s.in, s.out, s.transpose_a, s.transpose_b, s.m, s.n, s.k, s.stride_a,
                    s.stride_b, s.stride_c, s.scale_a, s.scale_b, s.align_a, s.align_b, s.align_c,
                    s.adds);
  };
  return all(x) < all(y);
}

struct Operands {
  const void* a;
  const void* b;
  void* c;
  const void* scale_a;
  const void* scale_b;
  float beta;
};

struct Planned {
  cublasLtMatmulDesc_t what = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algorithm;
};

// Of 2^8 at most, what a heuristic may rely on.
std::uint32_t alignment_of(const void* place) {
  const std::uintptr_t bits = reinterpret_cast<std::uintptr_t>(place) | 256u;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

}  // namespace

struct MatmulLibrary {
  SharedLibrary library;
  cublasLtHandle_t handle = nullptr;
  char version[48] = "";
  std::map<Shape, Planned> planned;
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetVersion) get_version;
  decltype(&cublasLtMatmulDescCreate) create_what;
  decltype(&cublasLtMatmulDescSetAttribute) set_what;
  decltype(&cublasLtMatmulDescDestroy) destroy_what;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulAlgoGetHeuristic) choose;
  decltype(&cublasLtMatmul) multiply;
};

namespace {

bool bind_all(Context& context, MatmulLibrary& l) {
  const SharedLibrary& from = l.library;
  return from.bind(context, l.create, "cublasLtCreate") &&
         from.bind(context, l.destroy, "cublasLtDestroy") &&
         from.bind(context, l.get_version, "cublasLtGetVersion") &&
         from.bind(context, l.create_what, "cublasLtMatmulDescCreate") &&
         from.bind(context, l.set_what, "cublasLtMatmulDescSetAttribute") &&
         from.bind(context, l.destroy_what, "cublasLtMatmulDescDestroy") &&
         from.bind(context, l.create_layout, "cublasLtMatrixLayoutCreate") &&
         from.bind(context, l.destroy_layout, "cublasLtMatrixLayoutDestroy") &&
         from.bind(context, l.create_preference, "cublasLtMatmulPreferenceCreate") &&
         from.bind(context, l.set_preference, "cublasLtMatmulPreferenceSetAttribute") &&
         from.bind(context, l.destroy_preference, "cublasLtMatmulPreferenceDestroy") &&
         from.bind(context, l.choose, "cublasLtMatmulAlgoGetHeuristic") &&
         from.bind(context, l.multiply, "cublasLtMatmul");
}

Code open_library(Context& context, MatmulLibrary*& out) {
  if (context.libraries->matmul != nullptr) {
    out = context.libraries->matmul;
    return Code::Ok;
  }
  MatmulLibrary* l = new MatmulLibrary;
  if (!l->library.open(context, "matmul", {"libcublasLt.so.13", "libcublasLt.so"}) ||
      !bind_all(context, *l)) {
    delete l;
    return Code::Unsupported;
  }
  if (l->create(&l->handle) != CUBLAS_STATUS_SUCCESS) {
    delete l;
    return refuse(context, Code::Device, "cublasLt: cannot be set up on this device");
  }
  const unsigned long long version = l->get_version();
  std::snprintf(l->version, sizeof l->version, "cublasLt %llu.%llu.%llu", version / 10000,
                version / 100 % 100, version % 100);
  out = context.libraries->matmul = l;
  return Code::Ok;
}

template <typename Value>
bool set(const MatmulLibrary& l, cublasLtMatmulDesc_t what, cublasLtMatmulDescAttributes_t name,
         Value value) {
  return l.set_what(what, name, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
}

bool describe(MatmulLibrary& l, const Shape& s, Planned& p) {
  const cublasOperation_t a = s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasOperation_t b = s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  bool ok = l.create_what(&p.what, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS;
  ok = ok && set(l, p.what, CUBLASLT_MATMUL_DESC_TRANSA, a) &&
       set(l, p.what, CUBLASLT_MATMUL_DESC_TRANSB, b);
  if (s.in == CUDA_R_8F_E4M3) {
    ok = ok && set(l, p.what, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, s.scale_a) &&
         set(l, p.what, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, s.scale_b);
  }
  const auto layout = [&](cublasLtMatrixLayout_t& out, cudaDataType_t type, std::int64_t rows,
                          std::int64_t columns, std::int64_t stride) {
    return l.create_layout(&out, type, static_cast<std::uint64_t>(rows),
                           static_cast<std::uint64_t>(columns), stride) == CUBLAS_STATUS_SUCCESS;
  };
  return ok &&
         layout(p.a, s.in, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k, s.stride_a) &&
         layout(p.b, s.in, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n, s.stride_b) &&
         layout(p.c, s.out, s.m, s.n, s.stride_c);
}

void forget(const MatmulLibrary& l, Planned& p) {
  if (p.what != nullptr) l.destroy_what(p.what);
  for (cublasLtMatrixLayout_t layout : {p.a, p.b, p.c}) {
    if (layout != nullptr) l.destroy_layout(layout);
  }
}

bool choose(Context& context, const MatmulLibrary& l, const Shape& s, Planned& p) {
  cublasLtMatmulPreference_t preference = nullptr;
  if (l.create_preference(&preference) != CUBLAS_STATUS_SUCCESS) return false;
  const std::uint64_t workspace = static_cast<std::uint64_t>(context.workspace_bytes);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    return l.set_preference(preference, name, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
  };
  cublasLtMatmulHeuristicResult_t best;
  int found = 0;
  const bool ok = set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace) &&
                  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, s.align_a) &&
                  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, s.align_b) &&
                  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, s.align_c) &&
                  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, s.align_c) &&
                  l.choose(l.handle, p.what, p.a, p.b, p.c, p.c, preference, 1, &best, &found) ==
                      CUBLAS_STATUS_SUCCESS &&
                  found > 0 && best.state == CUBLAS_STATUS_SUCCESS;
  l.destroy_preference(preference);
  if (ok) p.algorithm = best.algo;
  return ok;
}

// Scales must be known when an algorithm is chosen, and may change afterwards.
bool set_scales(const MatmulLibrary& l, const Planned& p, const Operands& o) {
  return o.scale_a == nullptr || (set(l, p.what, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, o.scale_a) &&
                                  set(l, p.what, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, o.scale_b));
}

Code multiply(Context& context, const Shape& s, const Operands& o) {
  if (s.m == 0 || s.n == 0) return Code::Ok;
  MatmulLibrary* l = nullptr;
  const Code opened = open_library(context, l);
  if (opened != Code::Ok) return opened;
  auto at = l->planned.find(s);
  if (at == l->planned.end()) {
    Planned fresh;
    if (!describe(*l, s, fresh) || !set_scales(*l, fresh, o) || !choose(context, *l, s, fresh)) {
      forget(*l, fresh);
      return refuse(context, Code::Unsupported,
                    "%s: no matmul of m %lld, n %lld, k %lld in this format on sm_%d", l->version,
                    static_cast<long long>(s.m), static_cast<long long>(s.n),
                    static_cast<long long>(s.k), context.architecture);
    }
    at = l->planned.emplace(s, fresh).first;
  }
  const Planned& p = at->second;
  const float one = 1;
  set_scales(*l, p, o);
  const cublasStatus_t status = l->multiply(l->handle, p.what, &one, o.a, p.a, o.b, p.b, &o.beta,
                                            o.c, p.c, o.c, p.c, &p.algorithm, context.workspace,
                                            static_cast<std::size_t>(context.workspace_bytes),
                                            static_cast<cudaStream_t>(context.stream));
  if (status == CUBLAS_STATUS_SUCCESS) return Code::Ok;
  return refuse(context, Code::Device, "%s: a matmul failed with status %d", l->version,
                static_cast<int>(status));
}

cudaDataType_t type_of(Type type) { return type == Type::F32 ? CUDA_R_32F : CUDA_R_16BF; }

Code run_row_major(Context& context, const Matmul& op) {
  if (op.type == Type::F32 && op.out != Type::F32) {
    return refuse(context, Code::Unsupported, "matmul: f32 operands give f32");
  }
  if (op.k == 0) return refuse(context, Code::Invalid, "matmul: nothing to sum over");
  const Shape s{.in = type_of(op.type),
                .out = type_of(op.out),
                .transpose_a = op.transpose_b,
                .transpose_b = op.transpose_a,
                .m = op.n,
                .n = op.m,
                .k = op.k,
                .stride_a = op.stride_b,
                .stride_b = op.stride_a,
                .stride_c = op.stride_c,
                .scale_a = 0,
                .scale_b = 0,
                .align_a = alignment_of(op.b),
                .align_b = alignment_of(op.a),
                .align_c = alignment_of(op.c),
                .adds = op.beta != 0};
  return multiply(context, s, {op.b, op.a, op.c, nullptr, nullptr, op.beta});
}

}  // namespace

void release(MatmulLibrary* l) {
  if (l == nullptr) return;
  for (auto& [shape, planned] : l->planned) forget(*l, planned);
  l->destroy(l->handle);
  delete l;
}
const char* version_of(const MatmulLibrary* l) { return l == nullptr ? "" : l->version; }

Code run(Context& context, const Matmul& op) { return run_row_major(context, op); }

Code scaled_by_library(Context& context, const ScaledMatmul& op, std::int64_t pitch) {
  const int by_row = CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F;
  const int by_block = CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F;
  const Shape s{.in = CUDA_R_8F_E4M3,
                .out = type_of(op.out),
                .transpose_a = true,
                .transpose_b = false,
                .m = op.n,
                .n = op.m,
                .k = op.k,
                .stride_a = pitch,
                .stride_b = pitch,
                .stride_c = op.n,
                .scale_a = op.b_blocks ? by_block : by_row,
                .scale_b = by_row,
                .align_a = alignment_of(op.b),
                .align_b = alignment_of(op.a),
                .align_c = alignment_of(op.c),
                .adds = op.beta != 0};
  return multiply(context, s, {op.b, op.a, op.c, op.scale_b, op.scale_a, op.beta});
}

}  // namespace narrows::gpu
