// What a rank holds: its state, and what its chunks keep and need for a while.
// SPDX-License-Identifier: Apache-2.0
#include "sim/step.h"

namespace narrows {
namespace {

bool has_pairs(const Schedule& schedule) {
  return schedule.kind == ScheduleKind::DualPipe || schedule.kind == ScheduleKind::DualPipeV;
}

ChunkBytes chunk_bytes(const StepCost& cost, StepCost::Run run) {
  ChunkBytes b;
  Bytes moving;
  // From the last item on: what those behind an item keep is not there yet when it runs forward,
  // and gone when it runs backward.
  for (int i = run.last; i >= run.first; --i) {
    const ItemCost& item = cost.item(i);
    const TransientBytes& t = item.transient;
    b.forward = max(b.forward, t.forward - b.f_to_i - b.f_to_w);
    b.input_grad = max(b.input_grad, t.input_grad + b.i_to_w - b.f_to_i);
    b.weight_grad = max(b.weight_grad, t.weight_grad);
    b.backward = max(b.backward, t.backward - b.f_to_i - b.f_to_w);
    const Bytes until_input = item.kept.until_input_grad,
                until_weight = item.kept.until_weight_grad;
    if (cost.offloaded(i)) {
      // One layer's on their way while the next one's are made or read.
      moving = max(moving, 2 * (until_input + until_weight));
    } else {
      b.f_to_i += until_input;
      b.f_to_w += until_weight;
    }
    b.i_to_w += item.kept.input_to_weight_grad;
  }
  b.f_to_i -= min(b.f_to_i, cost.freed_input(run.first));
  const ShardBuffers buffers = cost.shard_buffers(run);
  b.forward += buffers.weights + moving;
  b.input_grad += buffers.weights + moving;
  b.weight_grad += buffers.gradients + moving;
  // A whole backward runs each item's W right after its I.
  b.backward += buffers.weights + buffers.gradients + moving;
  return b;
}

}  // namespace

LiveBytes live_bytes_of(const StepCost& cost, const Schedule& schedule, const Placement& place) {
  LiveBytes live;
  for (const std::vector<StepCost::Run>& chunks : place) {
    std::vector<ChunkBytes> bytes;
    for (const StepCost::Run& run : chunks) {
      bytes.push_back(chunk_bytes(cost, run));
    }
    if (has_pairs(schedule)) {
      std::vector<std::vector<Bytes>> pairs(bytes.size(), std::vector<Bytes>(bytes.size()));
      for (std::size_t a = 0; a < bytes.size(); ++a) {
        for (std::size_t c = 0; c < bytes.size(); ++c)
          pairs[a][c] = bytes[a].forward + bytes[c].backward;
      }
      live.pair.push_back(std::move(pairs));
    }
    live.chunk.push_back(std::move(bytes));
  }
  return live;
}

HeldParameters held_by_rank(const StepCost& cost, const std::vector<StepCost::Run>& chunks) {
  std::array<int, 5> counts{};
  for (const StepCost::Run& run : chunks) {
    for (int i = run.first; i <= run.last; ++i) {
      ++counts[static_cast<std::size_t>(cost.classes()[static_cast<std::size_t>(i)].kind)];
    }
  }
  return cost.held().of(counts);
}

RankMemory rank_memory(const HeldParameters& held, const Strategy& strategy, const Grid& grid,
                       Bytes live_peak, Bytes kept_peak, const SoftwareProfile& software) {
  const StateBytes state = state_bytes(held, strategy, grid, software);
  RankMemory m;
  m.parameters = state.weights;
  m.gradients = state.gradients;
  m.optimizer = state.optimizer;
  m.kept = kept_peak;
  m.transient = live_peak - kept_peak;
  m.comm_buffers = software.comm_buffers;
  m.context = software.context;
  m.allocator = software.allocator_overhead * live_peak;
  return m;
}

}  // namespace narrows
