// SPDX-License-Identifier: Apache-2.0
#include "cost/step_cost.h"

#include <algorithm>
#include <cmath>

#include "cost/collective_time.h"
#include "cost/overlap.h"

namespace narrows {
namespace {

// Weights, norms included, that are tensors of their own in a layer.
int tensors_of_layer(const ModelSpec& model, const SoftwareProfile& software) {
  const bool fused = software.fused_projections;
  const int ffn = fused || model.activation != Activation::SwiGlu ? 2 : 3;
  const int attention = model.attention.kind == AttentionKind::Mla ? 7 : fused ? 2 : 4;
  return attention + ffn * (model.moe ? 2 : 1) + 2;
}

// How many reductions of about a bucket's size the gradients of these weights are.
double buckets_of(Bytes weights, const SoftwareProfile& software) {
  if (software.gradient_bucket <= Bytes()) return 1;
  return std::max(1.0, std::ceil(weights / software.gradient_bucket));
}

}  // namespace

BlockLayout block_layout(const Strategy& s, std::int64_t sequence, const Grid& grid,
                         const Cluster& cluster) {
  BlockLayout layout;
  layout.sharding = {s.tp, s.sequence_parallel, s.cp, s.ep, s.etp, s.micro_batch, sequence};
  layout.recipe = s.precision;
  layout.recompute = s.recompute;
  layout.tp = grid.span(cluster, Axis::Tp);
  layout.cp = grid.span(cluster, Axis::Cp);
  layout.ep = grid.span(cluster, Axis::Ep);
  layout.etp = grid.span(cluster, Axis::Etp);
  return layout;
}

LayoutCost layout_cost(const BlockLayout& layout, ItemPricer& pricer) {
  LayoutCost shared{layout, classes_of(pricer.blocks().model()), {}, {}, {}, {}, {}};
  std::vector<ItemClass> distinct;
  for (const ItemClass& item : shared.classes) {
    const auto known = std::find(distinct.begin(), distinct.end(), item);
    shared.index.push_back(static_cast<int>(known - distinct.begin()));
    if (known == distinct.end()) distinct.push_back(item);
    const ItemCost& cost = pricer.price(item, layout);
    shared.costs.push_back(&cost);
    shared.items.push_back({cost.forward,
                            cost.input_grad,
                            cost.weight_grad,
                            cost.forward_exposed,
                            cost.input_grad_exposed,
                            {}});
  }
  for (const ItemClass& ahead : distinct) {
    shared.pairs.emplace_back();
    for (const ItemClass& back : distinct) {
      shared.pairs.back().push_back(
          {pricer.pair(ahead, back, layout), pricer.pair_exposed(ahead, back, layout)});
    }
  }
  const auto context = pricer.blocks().context_exchange(layout);
  if (context) shared.comm.cp = to_string(*context);
  if (layout.sharding.ep > 1) shared.comm.ep = to_string(pricer.blocks().software().dispatcher);
  return shared;
}

Bytes stage_message(const BlockLayout& layout, const BlockPricer& blocks) {
  const Bytes activation = size_of(activation_dtype(layout.recipe));
  const Bytes gradient = size_of(stored_dtype(blocks.software(), layout.recipe));
  return tokens_outside(layout.sharding) * blocks.model().hidden * (activation + gradient) / 2;
}

Tick send_time(const Strategy& strategy, const BlockLayout& layout, const Grid& grid,
               const BlockPricer& blocks) {
  if (strategy.pp == 1) return {};
  const Bytes message = stage_message(layout, blocks);
  const Span neighbours = span_of(blocks.cluster(), 2, grid.stride(Axis::Pp));
  const auto send = [&](Bytes bytes) {
    return collective_time({CollectiveKind::SendRecv, Axis::Pp, bytes, 0}, neighbours,
                           blocks.cluster())
        .time;
  };
  const Sharding& s = layout.sharding;
  if (s.tp == 1 || s.sequence_parallel || !blocks.software().scatters_sends)
    return round_up(send(message));
  return round_up(send(message / s.tp) +
                  collective_time({CollectiveKind::AllGather, Axis::Tp, message, 0}, layout.tp,
                                  blocks.cluster())
                      .time);
}

StepCost::StepCost(const Strategy& strategy, const LayoutCost& layout, ItemPricer& pricer)
    : strategy_(strategy),
      grid_(strategy),
      held_(pricer.blocks().model(), strategy),
      shared_(layout),
      pricer_(pricer),
      items_(layout.items) {
  send_ = send_time(strategy, layout.layout, grid_, pricer.blocks());
  if (strategy_.zero >= 2) {
    for (std::size_t i = 0; i < items_.size(); ++i) add_shard_traffic(static_cast<int>(i));
  }
}

// Where gradients are sharded (ZeRO-2 on) each micro-batch scatters them after W; where weights are
// too (ZeRO-3) it gathers them before F and before I. The stack hides a share of that under the
// item's own compute. Items that cost the same move the same.
void StepCost::add_shard_traffic(int index) {
  const int alike = static_cast<int>(std::find(shared_.index.begin(), shared_.index.end(),
                                               shared_.index[static_cast<std::size_t>(index)]) -
                                     shared_.index.begin());
  if (alike < index) {
    items_[static_cast<std::size_t>(index)] = items_[static_cast<std::size_t>(alike)];
    return;
  }
  const SoftwareProfile& software = pricer_.blocks().software();
  const Cluster& cluster = pricer_.blocks().cluster();
  ItemTicks& ticks = items_[static_cast<std::size_t>(index)];
  const HeldParameters held =
      held_.of(std::span(&shared_.classes[static_cast<std::size_t>(index)], 1));
  const ItemKind kind = shared_.classes[static_cast<std::size_t>(index)].kind;
  const bool layer = kind != ItemKind::Embedding && kind != ItemKind::Head;
  // Norms are too small to be sharded, where tensors are gathered one by one.
  const double tensors = software.gathers_by_tensor && layer
                             ? tensors_of_layer(pricer_.blocks().model(), software) - 2
                             : 1;
  const Seconds pieces = tensors * strategy_.dp_shard * software.shard_piece;
  const auto move = [&](CollectiveKind what, const HeldParameters& moved, Bytes element) {
    const double dense = moved.dense + moved.norm + moved.tables;
    return pieces +
           tensors * collective_time({what, Axis::DpShard, dense / tensors * element, 0},
                                     grid_.span(cluster, Axis::DpShard), cluster)
                         .time +
           collective_time({what, Axis::Edp, moved.expert * element, 0},
                           span_of(cluster, grid_.expert_shard(), grid_.stride(Axis::Edp)), cluster)
               .time;
  };
  const bool gathers = strategy_.zero == 3;
  const Bytes element = size_of(stored_weight(strategy_.precision, true, software));
  const auto copied = [&](const HeldParameters& moved, Bytes from, Bytes to) {
    if (!software.copies_shards || moved.all() <= 0) return Seconds();
    return pricer_.blocks()
        .kernels()
        .memory_bound(OpKind::Elementwise, moved.all() * (from + to))
        .time;
  };
  const Bytes wire = size_of(software.gradient_wire_dtype);
  const Seconds gather = gathers ? move(CollectiveKind::AllGather, held, element) : Seconds();
  const Seconds scatter = move(CollectiveKind::ReduceScatter, trained(held), wire);
  const Contention contention =
      contention_of(software, cluster.chip, item(index).phases.multiply_share);
  // What the stack cannot hide comes on top; the rest runs beside the pass, and slows it down.
  const auto stretch = [&](Tick& pass, Tick& exposed, Seconds traffic, Seconds compute,
                           double hidden) {
    const Seconds beside = together(compute, hidden * traffic, contention);
    const Tick more = round_up((1 - hidden) * traffic + beside - compute);
    pass += more;
    exposed += more;
  };
  const Seconds forward = to_seconds(ticks.forward);
  const Seconds backward = to_seconds(ticks.input_grad + ticks.weight_grad);
  if (!gathers) {
    if (strategy_.pp == 1) {
      stretch(ticks.weight_grad, ticks.weight_grad_exposed, scatter, backward,
              software.overlap_fsdp);
      return;
    }
    // In a pipeline scattered gradients hide under whatever runs next, waiting included.
    const Tick more =
        round_up(max(Seconds(), scatter - software.overlap_gradients * (forward + backward)));
    ticks.weight_grad += more;
    ticks.weight_grad_exposed += more;
    return;
  }
  stretch(ticks.forward, ticks.forward_exposed, gather, forward, software.overlap_fsdp);
  // Weights that recomputation gathered are let go tensor by tensor, and gathered again for I and
  // W.
  const bool twice = software.gathers_by_tensor && strategy_.recompute == Recompute::Full && layer;
  const Seconds again = twice ? gather + gather : gather;
  stretch(ticks.weight_grad, ticks.weight_grad_exposed, again + scatter, backward,
          software.overlap_fsdp);
  const Seconds out = copied(held, element, element);
  const Tick in = round_up(out + copied(trained(held), element, wire));
  ticks.forward += round_up(out);
  ticks.weight_grad += in;
}

double StepCost::speed_alone() const {
  const Chip& chip = pricer_.blocks().cluster().chip;
  const double share = chip.multiprocessors ? chip.multiprocessors->value : 1;
  return share > 0 && share < 1 ? 1 / share : 1;
}

double StepCost::expert_skew() const {
  return strategy_.ep > 1 ? pricer_.blocks().software().expert_skew : 0;
}

// Items of layers stand behind the embedding.
bool StepCost::offloaded(int index) const {
  const ItemKind kind = shared_.classes[static_cast<std::size_t>(index)].kind;
  const bool layer = kind == ItemKind::DenseLayer || kind == ItemKind::MoeLayer;
  return layer && index <= pricer_.blocks().software().offloaded_layers;
}

// Recomputation starts from the input, or makes the norm's output again from it.
Bytes StepCost::freed_input(int first) const {
  const bool received = strategy_.pp > 1 && first > 0;
  const bool read = strategy_.recompute == Recompute::Full || strategy_.recompute == Recompute::V3;
  if (!received || read || !pricer_.blocks().software().frees_stage_input) return {};
  return stage_message(shared_.layout, pricer_.blocks());
}

ShardBuffers StepCost::shard_buffers(Run run) const {
  ShardBuffers largest;
  if (strategy_.zero < 2) return largest;
  const SoftwareProfile& software = pricer_.blocks().software();
  for (int i = run.first; i <= run.last; ++i) {
    const HeldParameters held =
        held_.of(std::span(&shared_.classes[static_cast<std::size_t>(i)], 1));
    // Tensor by tensor at most the projection up or down of a layer: a third of it.
    const double share = software.gathers_by_tensor && strategy_.zero == 3 ? 1.0 / 3 : 1;
    const double parameters = std::ceil(share * held.all());
    largest.gradients = max(largest.gradients,
                            std::ceil(share * trained(held).all()) * unsharded_gradient(software));
    // The item that runs and the one that is fetched meanwhile.
    if (strategy_.zero == 3) {
      largest.weights =
          max(largest.weights,
              2 * parameters * size_of(stored_weight(strategy_.precision, true, software)));
    }
  }
  return largest;
}

// ZeRO-3 makes a layer's gradients in the format of its weights, and a copy where they travel in
// another.
Bytes StepCost::unsharded_gradient(const SoftwareProfile& software) const {
  if (strategy_.zero < 3) return size_of(software.gradient_dtype);
  const Bytes made = size_of(activation_dtype(strategy_.precision));
  const Bytes sent = size_of(software.gradient_wire_dtype);
  return sent > made ? made + sent : made;
}

const LayoutCost::PairTicks& StepCost::pair_of(int ahead, int back) const {
  const auto row = static_cast<std::size_t>(shared_.index[static_cast<std::size_t>(ahead)]);
  const auto column = static_cast<std::size_t>(shared_.index[static_cast<std::size_t>(back)]);
  return shared_.pairs[row][column];
}

Tick StepCost::fsdp(int ahead, int back) const {
  const auto a = static_cast<std::size_t>(ahead), b = static_cast<std::size_t>(back);
  const ItemTicks& plain = shared_.items[b];
  return items_[a].forward - shared_.items[a].forward + items_[b].input_grad - plain.input_grad +
         items_[b].weight_grad - plain.weight_grad;
}

Tick StepCost::pair(Run ahead, Run back) const {
  // Forward runs through its items upwards, backward downwards; what has no partner runs alone.
  Tick total;
  int a = ahead.first;
  int b = back.last;
  for (; a <= ahead.last && b >= back.first; ++a, --b) total += pair_of(a, b).time + fsdp(a, b);
  for (; a <= ahead.last; ++a) total += items_[static_cast<std::size_t>(a)].forward;
  for (; b >= back.first; --b) {
    const ItemTicks& t = items_[static_cast<std::size_t>(b)];
    total += t.input_grad + t.weight_grad;
  }
  return total;
}

Tick StepCost::pair_exposed(Run ahead, Run back) const {
  Tick total;
  int a = ahead.first;
  int b = back.last;
  for (; a <= ahead.last && b >= back.first; ++a, --b) total += pair_of(a, b).exposed + fsdp(a, b);
  for (; a <= ahead.last; ++a) total += items_[static_cast<std::size_t>(a)].forward_exposed;
  for (; b >= back.first; --b) {
    const ItemTicks& t = items_[static_cast<std::size_t>(b)];
    total += t.input_grad_exposed + t.weight_grad_exposed;
  }
  return total;
}

Seconds StepCost::reduce_shards(const HeldParameters& held) const {
  const Cluster& cluster = pricer_.blocks().cluster();
  const Bytes wire = size_of(pricer_.blocks().software().gradient_wire_dtype);
  const auto over = [&](double parameters, Axis axis, int shard, int all) {
    if (all == shard || parameters <= 0) return Seconds();
    const Span replicas = span_of(cluster, all / shard, shard * grid_.stride(axis));
    return collective_time({CollectiveKind::AllReduce, axis, parameters / shard * wire, 0},
                           replicas, cluster)
        .time;
  };
  return over(held.dense + held.norm + held.tables, Axis::DpShard, strategy_.dp_shard,
              strategy_.dp * strategy_.cp) +
         over(held.expert, Axis::Edp, grid_.expert_shard(), grid_.size(Axis::Edp));
}

// Lists of pieces: one for each tensor of the rank and each rank of its replicas.
Seconds StepCost::piece_time() const {
  const BlockPricer& blocks = pricer_.blocks();
  const int layers = (blocks.model().layers + strategy_.pp - 1) / strategy_.pp;
  const double pieces = static_cast<double>(layers) *
                        tensors_of_layer(blocks.model(), blocks.software()) * strategy_.dp *
                        strategy_.cp;
  return pieces * blocks.software().shard_piece;
}

TailCost StepCost::tail(const HeldParameters& all, Seconds window) const {
  const HeldParameters held = trained(all);
  const SoftwareProfile& software = pricer_.blocks().software();
  const Cluster& cluster = pricer_.blocks().cluster();
  const ModelSpec& model = pricer_.blocks().model();
  const Bytes wire = size_of(software.gradient_wire_dtype);
  const Bytes weight = size_of(stored_dtype(software, strategy_.precision));
  const auto over = [&](CollectiveKind what, Bytes element) {
    Seconds time;
    const auto add = [&](double parameters, ParamClass group) {
      if (parameters <= 0) return;
      const double buckets =
          what == CollectiveKind::AllGather ? 1 : buckets_of(parameters * weight, software);
      time += buckets * collective_time({what, Axis::Dp, parameters / buckets * element, 0},
                                        grid_.reduction_span(group, model, cluster), cluster)
                            .time;
    };
    add(held.dense + held.norm, ParamClass::Dense);
    add(held.expert, ParamClass::Expert);
    add(held.tables, ParamClass::Embedding);
    return time;
  };
  TailCost tail;
  tail.optimizer = pricer_.blocks()
                       .kernels()
                       .optimizer(optimizer_traffic(held, strategy_, grid_, software))
                       .time;
  const auto gather_parameters = [&] {
    return (1 - software.overlap_parameters) * over(CollectiveKind::AllGather, weight);
  };
  if (strategy_.zero >=
      2) {  // scattered micro-batch by micro-batch; what is left are replicas of shards
    const Seconds replicas = reduce_shards(held);
    tail.reduce = max((1 - software.overlap_gradients) * replicas, replicas - window);
    if (strategy_.zero == 2) tail.gather = gather_parameters();
    return tail;
  }
  const Seconds reduce =
      over(strategy_.zero == 0 ? CollectiveKind::AllReduce : CollectiveKind::ReduceScatter, wire);
  tail.reduce = max((1 - software.overlap_gradients) * reduce, reduce - window);
  if (strategy_.zero == 0) return tail;
  tail.reduce += piece_time();
  tail.gather = gather_parameters() + piece_time();
  return tail;
}

}  // namespace narrows
