// SPDX-License-Identifier: Apache-2.0
#include "runtime/packing.h"

#include <utility>

#include "base/result.h"

namespace narrows {
namespace {

kernels::PackRows packing_of(Storage& wide, Storage& narrow) {
  kernels::PackRows op{.wide = wide.data(), .rows = wide.rows(), .columns = wide.columns()};
  if (narrow.form() == Form::Bf16) {
    op.halves = static_cast<std::uint16_t*>(narrow.memory());
  } else {
    op.codes = static_cast<std::uint8_t*>(narrow.memory());
    op.scales = reinterpret_cast<float*>(op.codes + fp8_scales_at(narrow));
  }
  return op;
}

}  // namespace

void pack(Storage& matrix, Form form, Backend& backend, StoragePool& pool) {
  if (!matrix.held() || matrix.form() == form) return;
  unpack(matrix, backend, pool);
  if (form == Form::F32) return;
  Storage narrow = pool.matrix(matrix.rows(), matrix.columns(), form);
  backend.run(packing_of(matrix, narrow));
  matrix = std::move(narrow);
}

void unpack(Storage& matrix, Backend& backend, StoragePool& pool) {
  if (!matrix.held() || matrix.form() == Form::F32) return;
  Storage wide = pool.matrix(matrix.rows(), matrix.columns());
  kernels::PackRows op = packing_of(wide, matrix);
  op.back = true;
  backend.run(op);
  matrix = std::move(wide);
}

namespace {

Element element_of(const Storage& matrix) {
  ASSERT(matrix.form() != Form::Fp8);
  return matrix.form() == Form::Bf16 ? Element::Bf16 : Element::F32;
}

}  // namespace

View view_of(const Storage& matrix) {
  return {matrix.memory(), matrix.count(), element_of(matrix)};
}
Buffer buffer_of(Storage& matrix) { return {matrix.memory(), matrix.count(), element_of(matrix)}; }

const std::uint16_t* bf16_of(const Storage& matrix) {
  return matrix.form() == Form::Bf16 ? static_cast<const std::uint16_t*>(matrix.memory()) : nullptr;
}
std::uint16_t* bf16_of(Storage& matrix) {
  return matrix.form() == Form::Bf16 ? static_cast<std::uint16_t*>(matrix.memory()) : nullptr;
}

}  // namespace narrows
