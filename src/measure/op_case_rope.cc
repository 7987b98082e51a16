// Rotary positions, as src/runtime/ops_attention.cc adds them: GQA's heads where they lie, MLA's
// queries, and its keys as they are assembled.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "measure/op_case_parts.h"

namespace narrows::op_parts {
namespace {

struct RopePlan {
  std::int64_t rows = 0, heads = 0, kv_heads = 0;
  bool narrow = false;
  AttentionSpec spec;
  std::vector<std::int32_t> positions;
  kernels::RotaryTable table;
  bool is_mla() const { return spec.kind == AttentionKind::Mla; }
  std::int64_t width() const {
    return is_mla() ? heads * spec.qk_dim() : (heads + 2 * kv_heads) * spec.head_dim;
  }
};

kernels::Rotation rotation(const RopePlan& p, const Made& x, bool back) {
  const std::int64_t first = p.is_mla() ? p.spec.qk_nope : 0;
  return {.x = x.wide == nullptr ? nullptr : x.wide + first,
          .rows = p.rows,
          .stride = p.width(),
          .heads = p.is_mla() ? p.heads : p.heads + p.kv_heads,
          .head_stride = p.spec.qk_dim(),
          .positions = p.positions.data(),
          .table = &p.table,
          .back = back,
          .x_narrow = x.narrow == nullptr ? nullptr : x.narrow + first};
}

kernels::KeyAssembly assembly(const RopePlan& p) {
  return {.shared_stride = p.spec.kv_lora + p.spec.qk_rope,
          .rows = p.rows,
          .heads = p.heads,
          .nope = p.spec.qk_nope,
          .value = p.spec.v_dim,
          .positions = p.positions.data(),
          .table = &p.table};
}

void rotate(const RopePlan& p, Backend& backend, RotatingMemory& memory) {
  const std::int64_t count = p.rows * p.width();
  if (!p.is_mla()) {
    memory.reserve(count, count);
    const Given in = recent(memory, count, p.narrow);
    const Made out = kept(memory, count, p.narrow);
    if (p.narrow) std::copy_n(in.narrow, count, out.narrow);
    if (!p.narrow) std::copy_n(in.wide, count, out.wide);
    return backend.run(rotation(p, out, false));
  }
  const std::int64_t kv = p.rows * p.heads * (p.spec.qk_nope + p.spec.v_dim);
  const std::int64_t latent = p.rows * (p.spec.kv_lora + p.spec.qk_rope);
  memory.reserve(kv + latent, 2 * count);
  const Given up = recent(memory, kv, p.narrow), shared = recent(memory, latent, p.narrow);
  const Made key = kept(memory, count, p.narrow);
  kernels::KeyAssembly keys = assembly(p);
  keys.kv = up.wide;
  keys.kv_narrow = up.narrow;
  keys.key = key.wide;
  keys.key_narrow = key.narrow;
  if (p.narrow) keys.shared_narrow = shared.narrow + p.spec.kv_lora;
  if (!p.narrow) keys.shared = shared.wide + p.spec.kv_lora;
  backend.run(keys);
  backend.run(rotation(p, kept(memory, count, p.narrow), false));
}

void rotate_back(const RopePlan& p, Backend& backend, RotatingMemory& memory) {
  const std::int64_t floats = p.rows * p.width();
  if (!p.is_mla()) {
    memory.reserve(0, floats);
    return backend.run(rotation(p, fresh(memory, floats, false), true));
  }
  const std::int64_t kv = p.rows * p.heads * (p.spec.qk_nope + p.spec.v_dim);
  const std::int64_t latent = p.rows * (p.spec.kv_lora + p.spec.qk_rope);
  memory.reserve(floats, floats + kv + latent);
  backend.run(rotation(p, fresh(memory, floats, false), true));
  float* const dlatent = memory.recent_output(latent);
  std::fill_n(dlatent, latent, 0.0f);
  backend.run(kernels::KeyAssemblyGrad{.forward = assembly(p),
                                       .dkey = memory.recent_input(floats),
                                       .dkv = memory.recent_output(kv),
                                       .dshared = dlatent + p.spec.kv_lora});
}

}  // namespace

Run rope(std::int64_t rows, const AttentionSpec& spec, const Sharding& sharding,
         Direction direction, bool narrow) {
  RopePlan plan{.rows = rows,
                .heads = spec.heads / sharding.tp,
                .kv_heads = std::max(1, spec.kv_heads / sharding.tp),
                .narrow = narrow,
                .spec = spec};
  const std::int64_t sequence = std::max<std::int64_t>(1, sharding.sequence);
  for (std::int64_t i = 0; i < rows; ++i)
    plan.positions.push_back(static_cast<std::int32_t>(i % sequence));
  plan.table = kernels::rotary_table(sequence, plan.is_mla() ? spec.qk_rope : spec.head_dim,
                                     Numerics().rope_theta);
  if (direction == Direction::Forward)
    return [plan](Backend& b, RotatingMemory& m) { rotate(plan, b, m); };
  return [plan](Backend& b, RotatingMemory& m) { rotate_back(plan, b, m); };
}

}  // namespace narrows::op_parts
