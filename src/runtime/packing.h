// Activations that wait for their gradient wait in the recipe's format, not in floats: packed when
// the block's forward ends, floats again when an op asks for them (OpSite::value). Under bf16 the
// ops have rounded what they made (Norm::narrow and the like), so that packing loses nothing, and
// what is computed again is what it was.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/buffer.h"
#include "runtime/backend.h"
#include "runtime/storage.h"

namespace narrows {

// Nothing if it is in the form already, or empty.
void pack(Storage& matrix, Form form, Backend& backend, StoragePool& pool);
void unpack(Storage& matrix, Backend& backend, StoragePool& pool);

// What travels: the whole matrix, floats or numbers of bf16.
View view_of(const Storage& matrix);
Buffer buffer_of(Storage& matrix);

// As numbers of bf16; null in another form.
const std::uint16_t* bf16_of(const Storage& matrix);
std::uint16_t* bf16_of(Storage& matrix);
// As floats; null in another form.
inline const float* floats_of(const Storage& matrix) {
  return matrix.form() == Form::F32 ? matrix.data() : nullptr;
}
inline float* floats_of(Storage& matrix) {
  return matrix.form() == Form::F32 ? matrix.data() : nullptr;
}

}  // namespace narrows
