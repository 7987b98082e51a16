// SPDX-License-Identifier: Apache-2.0
#include "runtime/balance.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace narrows {
namespace {

// Every rank of the stage, and of the mirror, has the same layers.
Status sum_over_stage(std::vector<double>& loads, const Groups& groups) {
  for (Communicator* group : {groups.shard.get(), groups.stage_across.get(), groups.mirror.get()}) {
    if (group != nullptr) TRY(group->all_reduce(std::span<double>(loads)));
  }
  return {};
}

void move_biases(Balance::Layer& layer, double rate) {
  const double slots = std::accumulate(layer.load.begin(), layer.load.end(), 0.0);
  const double mean = slots / static_cast<double>(layer.load.size());
  for (std::size_t e = 0; e < layer.load.size(); ++e) {
    if (layer.load[e] > mean) layer.bias[e] -= static_cast<float>(rate);
    if (layer.load[e] < mean) layer.bias[e] += static_cast<float>(rate);
  }
}

}  // namespace

void Balance::add(int layer, int experts) {
  if (of(layer) != nullptr) return;
  const std::size_t n = static_cast<std::size_t>(experts);
  layers_.push_back({layer, std::vector<float>(n), std::vector<double>(n)});
  std::sort(layers_.begin(), layers_.end(),
            [](const Layer& a, const Layer& b) { return a.layer < b.layer; });
}

Balance::Layer* Balance::of(int layer) {
  for (Layer& one : layers_) {
    if (one.layer == layer) return &one;
  }
  return nullptr;
}

Status Balance::update(const Groups& groups, double rate) {
  if (layers_.empty()) return {};
  std::vector<double> loads;
  for (const Layer& layer : layers_)
    loads.insert(loads.end(), layer.load.begin(), layer.load.end());
  TRY(sum_over_stage(loads, groups));
  std::vector<double>::const_iterator next = loads.begin();
  for (Layer& layer : layers_) {
    std::copy_n(next, layer.load.size(), layer.load.begin());
    next += std::ssize(layer.load);
    move_biases(layer, rate);
    std::fill(layer.load.begin(), layer.load.end(), 0.0);
  }
  return {};
}

std::vector<TensorPart> Balance::parts() {
  std::vector<TensorPart> parts;
  for (Layer& layer : layers_) {
    const std::int64_t experts = std::ssize(layer.bias);
    parts.push_back({.name = name_of_bias(layer.layer),
                     .shape = {experts},
                     .columns = experts,
                     .data = layer.bias.data(),
                     .stride = experts});
  }
  return parts;
}

std::string name_of_bias(int layer) {
  return fmt::format("model.layers.{}.mlp.gate.e_score_correction_bias", layer);
}

}  // namespace narrows
