// Rotary positions (su2021), of pairs (a, b) that are the two halves of the vector, or neighbours:
//   (a cos t - b sin t, b cos t + a sin t),  t_j = position * theta^(-2j / dim)
// and the assembly of MLA's keys (deepseekv2): a head's key is its own part without position
// followed by the one rotated part that all heads share. Gradients rotate back.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace narrows::kernels {

// Cosine and sine of every position below `positions`: (positions, dim / 2) each.
struct RotaryTable {
  std::int64_t dim = 0;
  std::vector<float> cosine;
  std::vector<float> sine;
  bool neighbours = false;
};
RotaryTable rotary_table(std::int64_t positions, std::int64_t dim, double theta);
// With the angle that each pair turns by from one position to the next, and vectors made longer by
// `amplitude`.
RotaryTable rotary_table(std::int64_t positions, const std::vector<double>& steps,
                         double amplitude);

// Rotates the same `dim` floats of `heads` heads of every row in place; the first begins at x.
struct Rotation {
  float* x = nullptr;
  std::int64_t rows = 0;
  std::int64_t stride = 0;
  std::int64_t heads = 1;
  std::int64_t head_stride = 0;
  const std::int32_t* positions = nullptr;  // (rows)
  const RotaryTable* table = nullptr;
  bool back = false;                  // by the negative angle
  bool to_bf16 = false;               // what is rotated is rounded to bf16
  std::uint16_t* x_narrow = nullptr;  // in bf16, instead of x
};
void rotate(const Rotation& op, std::int64_t first_row, std::int64_t last_row);

struct KeyAssembly {
  const float* kv = nullptr;  // (rows, heads (nope + v)): nope of each head first
  const float* shared =
      nullptr;  // the key's part with position, not yet rotated; rows shared_stride apart
  std::int64_t shared_stride = 0;
  float* key = nullptr;  // (rows, heads (nope + dim))
  std::int64_t rows = 0;
  std::int64_t heads = 0;
  std::int64_t nope = 0;
  std::int64_t value = 0;
  const std::int32_t* positions = nullptr;
  const RotaryTable* table = nullptr;
  bool to_bf16 = false;  // the keys are rounded to bf16
  // In bf16, instead of kv, shared and key: all three or none.
  const std::uint16_t* kv_narrow = nullptr;
  const std::uint16_t* shared_narrow = nullptr;
  std::uint16_t* key_narrow = nullptr;
};
void assemble_keys(const KeyAssembly& op, std::int64_t first_row, std::int64_t last_row);

struct KeyAssemblyGrad {
  KeyAssembly forward;  // kv, shared, key are not used
  const float* dkey = nullptr;
  float* dkv = nullptr;      // the parts without position are written, those of values are left
  float* dshared = nullptr;  // written, rows forward.shared_stride apart
};
void assemble_keys_grad(const KeyAssemblyGrad& op, std::int64_t first_row, std::int64_t last_row);

}  // namespace narrows::kernels
