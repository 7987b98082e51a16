// SPDX-License-Identifier: Apache-2.0
#include "cost/kernel_time_attention.h"

#include <algorithm>

namespace narrows {
namespace {

// Fewer rows than this and the next relative's are added: a handful does not cover lengths and
// widths.
constexpr std::size_t kEnough = 8;

Scatter::Place place_of(const AttentionShape& shape, double multiprocessors) {
  const double length = attended_keys(shape) * (shape.causal ? 2 : 1);
  const double queries = static_cast<double>(std::max<std::int64_t>(shape.queries, 1));
  // 128 queries of a head are one block of work: enough of them fill the chip, and more change
  // little.
  const double blocks = shape.batch * shape.heads * queries / 128;
  const double each = std::clamp(blocks / std::max(multiprocessors, 1.0), 0.25, 32.0);
  return {log2_of(length), 1.5 * log2_of(std::max(shape.qk_dim + shape.v_dim, 1)),
          0.7 * log2_of(each), shape.causal ? 0.7 : 0.0};
}

// A multiprocessor of Ampere to Blackwell multiplies 8,192 (at most) 16-bit FLOPs a clock and makes
// 16 exponentials, one a query and key. How much of the exponentials' time adds to the matmuls':
// 0.49 and 0.42 at heads of 64 and 128 columns, from what B300, which makes 32, gains on B200
// (S-AIC, causal forward; see the chip's profile).
constexpr double kFlopsPerExponential = 8192.0 / 16;
constexpr double kUncovered = 0.45;

double deviation(double a, double b) { return a < b ? b / a - 1 : a / b - 1; }

}  // namespace

AttentionTimes::AttentionTimes(const KernelTables& tables, const Chip& chip,
                               const std::string& generation) {
  const Site site = site_of(chip);
  FlopRate peak = site.bf16;
  if (!(peak > FlopRate{})) peak = matmul_peak(Recipe::Fp16, chip);
  FlopRate wide = matmul_peak(Recipe::F32, chip);
  if (!(wide > FlopRate{})) wide = max(peak, 1 * GFLOP / sec);
  if (!(peak > FlopRate{})) peak = wide;
  rates_ = {peak, site.bandwidth, site.multiprocessors};
  wide_ = {wide, site.bandwidth, site.multiprocessors};
  exponentials_ = site.exponentials;
  build(tables, site, false, generation);
  build(tables, site, true, generation);
}

void AttentionTimes::build(const KernelTables& tables, const Site& site, bool forward,
                           const std::string& generation) {
  Model& model = models_[forward ? 1 : 0];
  for (Relation relation : {Relation::Own, Relation::Like, Relation::Architecture}) {
    if (generation.empty() || !model.efficiencies.empty()) break;
    if (pool(tables, site, forward, generation, relation)) model.relation = relation;
  }
  for (Relation relation : {Relation::Own, Relation::Like, Relation::Architecture,
                            Relation::LikeElsewhere, Relation::Any}) {
    if (model.efficiencies.size() >= kEnough) break;
    const bool first = model.efficiencies.empty();
    if (pool(tables, site, forward, "", relation) && first) model.relation = relation;
  }
}

bool AttentionTimes::pool(const KernelTables& tables, const Site& site, bool forward,
                          const std::string& generation, Relation relation) {
  Model& model = models_[forward ? 1 : 0];
  std::vector<Scatter::Place> places;
  std::vector<double> values;
  const std::size_t before = model.efficiencies.size();
  for (const Measurement& row : tables.rows(KernelFamily::Attention)) {
    if ((row.direction == Direction::Forward) != forward || row.generation != generation) continue;
    const MeasuredChip& chip = *tables.chip(row.chip);
    if (narrows::relation(site, chip, false) != relation) continue;
    const double all = chip.multiprocessors;
    const double used = row.multiprocessors > 0 ? row.multiprocessors : all;
    const ChipRates rates{used / all * chip.bf16, chip.bandwidth, used};
    places.push_back(place_of(row.attention, all));
    values.push_back(attention_floor(rates, row.direction, row.attention) / row.time);
    model.efficiencies.add(places.back(), values.back());
    if (relation == Relation::Own && row.multiprocessors == 0)
      model.exact.push_back({row.attention, row.time});
  }
  std::vector<double> deviations;
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places.size() > 1) {
      deviations.push_back(
          deviation(model.efficiencies.at(places[i], before + i).value, values[i]));
    }
  }
  std::sort(deviations.begin(), deviations.end());
  if (!deviations.empty())
    model.residual = std::max(model.residual, deviations[deviations.size() / 2]);
  return !places.empty();
}

double AttentionTimes::softmax_gain(Relation relation, Direction direction,
                                    const AttentionShape& shape) const {
  if (relation == Relation::Own || exponentials_ == 1) return 1;
  const double flops = attention_pair_flops(direction, shape);
  const double softmax = kUncovered * kFlopsPerExponential / flops;
  return (1 + softmax / exponentials_) / (1 + softmax);
}

Estimate AttentionTimes::time(Recipe recipe, Direction direction,
                              const AttentionShape& shape) const {
  const Model& model = models_[direction == Direction::Forward ? 1 : 0];
  const bool wide = recipe == Recipe::F32;
  AttentionShape measured = shape;
  measured.kv_heads = shape.heads;  // grouping of keys and values changes traffic only
  for (const Exact& exact : model.exact) {
    if (exact.shape == measured && !wide)
      return {exact.time, Basis::Measured, error_of(Basis::Measured, 0)};
  }
  const Seconds floor = attention_floor(wide ? wide_ : rates_, direction, shape);
  if (model.efficiencies.empty()) return {floor / 0.5, Basis::Roofline, 0.5};
  const Interpolated result = model.efficiencies.at(place_of(shape, rates_.multiprocessors));
  Basis basis = basis_of(model.relation);
  if (basis == Basis::Interpolated && !result.inside) basis = Basis::Transferred;
  if (wide) basis = Basis::Roofline;
  const double gain = softmax_gain(model.relation, direction, shape);
  return {gain * floor / result.value, basis, error_of(basis, model.residual, model.relation)};
}

}  // namespace narrows
