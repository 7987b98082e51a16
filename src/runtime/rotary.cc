// SPDX-License-Identifier: Apache-2.0
#include "runtime/rotary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/elementary.h"

namespace narrows {
namespace {

constexpr double kPi = 3.14159265358979323846;

// The pair, as a number, that turns `turns` times within the positions of before.
double pair_of(double turns, const Numerics& n, int dim) {
  const double length = static_cast<double>(n.scaling.positions) / (turns * 2 * kPi);
  return dim * kernels::natural_logarithm(length) / (2 * kernels::natural_logarithm(n.rope_theta));
}

// 1 where pair j stays as it is, 0 where it is stretched in full.
double kept_by_yarn(const Numerics& n, int dim, int j) {
  const double low = std::max(0.0, std::floor(pair_of(n.scaling.beta_fast, n, dim)));
  const double high =
      std::min(static_cast<double>(dim - 1), std::ceil(pair_of(n.scaling.beta_slow, n, dim)));
  return 1 - std::clamp((j - low) / std::max(high - low, 0.001), 0.0, 1.0);
}

double kept_by_llama3(const RopeScaling& s, double step) {
  const double turns = static_cast<double>(s.positions) * step / (2 * kPi);
  return std::clamp((turns - s.low_frequency) / (s.high_frequency - s.low_frequency), 0.0, 1.0);
}

double longer(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * kernels::natural_logarithm(factor) + 1;
}

// How much of pair j's angle is kept as it is.
double kept(const Numerics& n, int dim, int j, double step) {
  if (n.rope_scaling == "yarn") return kept_by_yarn(n, dim, j);
  if (n.rope_scaling == "llama3") return kept_by_llama3(n.scaling, step);
  return n.rope_scaling.empty() ? 1 : 0;
}

Status check(const ModelSpec& model, const Numerics& n) {
  const std::string& kind = n.rope_scaling;
  if (kind.empty() || kind == "linear") return {};
  if (kind != "yarn" && kind != "llama3") {
    return unsupported(fmt::format(
        "{}: the runtime does not train rotary positions scaled by {} yet", model.name, kind));
  }
  if (n.scaling.positions > 0) return {};
  return unsupported(fmt::format(
      "{}: expected the positions that {} stretches (original_max_position_embeddings), found none",
      model.name, kind));
}

}  // namespace

bool rotates_neighbours(const ModelSpec& model) {
  const bool latent = model.attention.kind == AttentionKind::Mla;
  return latent && model.numerics.value_or(Numerics{}).rope_interleaved;
}

Result<Rotary> rotary_of(const ModelSpec& model, std::int64_t positions) {
  const Numerics n = model.numerics.value_or(Numerics{});
  TRY(check(model, n));
  const bool latent = model.attention.kind == AttentionKind::Mla;
  const int dim = latent ? model.attention.qk_rope : model.attention.head_dim;
  std::vector<double> steps;
  for (int j = 0; j < dim / 2; ++j) {
    const double step = kernels::power(n.rope_theta, -2.0 * j / dim);
    const double share = kept(n, dim, j, step);
    steps.push_back(step * share + step / n.scaling.factor * (1 - share));
  }
  Rotary rotary;
  double amplitude = 1;
  if (n.rope_scaling == "yarn") {
    const double factor = n.scaling.factor;
    const bool both = n.scaling.mscale > 0 && n.scaling.mscale_all_dim > 0;
    amplitude = both ? longer(factor, n.scaling.mscale) / longer(factor, n.scaling.mscale_all_dim)
                     : longer(factor, 1);
    const double all = longer(factor, n.scaling.mscale_all_dim);
    if (latent && n.scaling.mscale_all_dim > 0) rotary.sharpness = all * all;
  }
  rotary.table = kernels::rotary_table(positions, steps, amplitude);
  rotary.table.neighbours = rotates_neighbours(model);
  return rotary;
}

}  // namespace narrows
