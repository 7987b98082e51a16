// SPDX-License-Identifier: Apache-2.0
#include "cost/item_cost.h"

#include <algorithm>

namespace narrows {

std::vector<ItemClass> classes_of(const ModelSpec& model) {
  std::vector<ItemClass> classes;
  int layer = 0;
  for (const ItemKind kind : items_of(model)) {
    const bool is_layer = kind == ItemKind::DenseLayer || kind == ItemKind::MoeLayer;
    classes.push_back({kind, is_layer && has_window(model, layer)});
    if (is_layer) ++layer;
  }
  return classes;
}

namespace {

// The blocks of an item, in order; at most two halves, attention and MLP.
struct Halves {
  PassCost forward, input_grad, weight_grad;  // with recomputation in the input gradient
};

// The most at once of an item that grows by a block behind those it has. Backward begins with the
// new block, and has let go of what that kept when it comes to the others.
void add_memory(ItemCost& item, const BlockCost& block) {
  const KeptBytes& more = block.kept;
  TransientBytes& t = item.transient;
  const Bytes kept = more.until_input_grad + more.until_weight_grad;
  t.forward = max(t.forward - kept, block.transient.forward);
  t.backward = max(t.backward - kept, block.transient.backward);
  t.input_grad = max(t.input_grad + more.input_to_weight_grad - more.until_input_grad,
                     block.transient.input_grad);
  t.weight_grad = max(t.weight_grad, block.transient.weight_grad);
  t.remade += block.transient.remade;
  item.kept.until_input_grad += more.until_input_grad;
  item.kept.until_weight_grad += more.until_weight_grad;
  item.kept.input_to_weight_grad += more.input_to_weight_grad;
}

// Both halves of a layer that runs again as a whole: it keeps its input alone, and all that it
// makes again is there when the second half's gradient begins.
void add_memory_of_whole(ItemCost& item, const BlockCost& attention, const BlockCost& mlp) {
  item.kept.until_input_grad = attention.kept.until_input_grad;
  const TransientBytes &a = attention.transient, &m = mlp.transient;
  item.transient.forward = max(a.forward, m.forward + mlp.kept.until_input_grad);
  const Bytes between = mlp.kept.until_input_grad;  // made again, too
  item.transient.backward = max(a.backward, a.remade + between + m.backward);
  item.transient.input_grad =
      max(a.input_grad + mlp.kept.input_to_weight_grad, a.remade + between + m.input_grad);
}

void add(Halves& half, ItemCost& item, const BlockCost& block) {
  half.forward += block.forward;
  half.input_grad += block.recompute;
  half.input_grad += block.input_grad;
  half.weight_grad += block.weight_grad;
  add_memory(item, block);
  ExchangeCost& x = item.phases.exchange;
  x.dispatch += block.exchange.dispatch;
  x.combine += block.exchange.combine;
  x.dispatch_gradient += block.exchange.dispatch_gradient + block.recomputed_exchange;
  x.combine_gradient += block.exchange.combine_gradient;
}

Seconds duration(const PassCost& pass) { return pass.compute() + pass.exposed; }

// The share of the chip that communication kernels leave to what needs multiprocessors.
double share_left(const SoftwareProfile& software, double multiprocessors) {
  const double left = multiprocessors - software.comm_multiprocessors;
  return left > 0 ? left / multiprocessors : 1;
}

// Expert traffic of a pass where another micro-batch's compute runs meanwhile: what is not hidden,
// and what hiding costs that compute.
Seconds beside_other(Seconds traffic, Seconds compute, const ItemPhases& phases,
                     const SoftwareProfile& software, double multiprocessors) {
  const Seconds hidden = min(software.overlap_ep * traffic, (1 / software.comm_slowdown) * compute);
  const double held = phases.multiply_share * (1 - share_left(software, multiprocessors)) +
                      (1 - 1 / software.compute_slowdown);
  return traffic - hidden + software.comm_slowdown * held * hidden;
}

// Multiplying takes `factor` times as long.
void stretch(PassCost& pass, double factor) {
  const Seconds before = pass.compute();
  if (before <= Seconds()) return;
  pass.multiply *= factor;
  const double all = pass.compute() / before;
  for (Seconds& time : pass.by_basis) time *= all;
  pass.uncertain *= all;
}

// Published kernels were timed at boost clocks; a training holds the tensor cores under load, and
// power brings the clock down, the more the larger their share of the time.
// The input gradient is taken to multiply as much of its time as the forward pass, so that
// recomputation changes neither.
void slow_down_under_load(Halves& attention, Halves& mlp, const ExchangeCost& exchange, double full,
                          double slowest) {
  Seconds multiply, all = 2 * exchange.forward();
  for (const Halves* half : {&attention, &mlp}) {
    multiply += 2 * half->forward.multiply + half->weight_grad.multiply;
    all += 2 * duration(half->forward) + duration(half->weight_grad);
  }
  const double factor = slowest * load_slowdown(full, all > Seconds() ? multiply / all : 0);
  for (Halves* half : {&attention, &mlp}) {
    for (PassCost* pass : {&half->forward, &half->input_grad, &half->weight_grad})
      stretch(*pass, factor);
  }
}

ItemCost assemble(const Halves& attention, const Halves& mlp, const SoftwareProfile& software,
                  double multiprocessors, ItemCost item) {
  const bool overlap_shared = software.overlap_shared_expert;
  ItemPhases& p = item.phases;
  p.attention_forward = duration(attention.forward);
  p.attention_input_grad = duration(attention.input_grad);
  p.attention_weight_grad = duration(attention.weight_grad);
  p.mlp_forward = duration(mlp.forward);
  p.mlp_input_grad = duration(mlp.input_grad);
  p.mlp_weight_grad = duration(mlp.weight_grad);

  Seconds multiply, all;
  for (const Halves* half : {&attention, &mlp}) {
    for (const PassCost* pass : {&half->forward, &half->input_grad, &half->weight_grad}) {
      multiply += pass->multiply;
      all += duration(*pass);
      for (std::size_t b = 0; b < kBases; ++b) item.by_basis[b] += pass->by_basis[b];
      item.uncertain += pass->uncertain;
    }
  }
  p.multiply_share = all > Seconds() ? multiply / all : 0;

  // Tokens travel alone, or beside the shared experts where the stack overlaps those.
  const Seconds none;
  Seconds sent =
      p.exchange.forward() - min(p.exchange.forward(), overlap_shared ? mlp.forward.beside : none);
  Seconds returned = p.exchange.backward() -
                     min(p.exchange.backward(), overlap_shared ? mlp.input_grad.beside : none);
  const Seconds forward = p.attention_forward + p.mlp_forward;
  const Seconds input_grad = p.attention_input_grad + p.mlp_input_grad;
  const Seconds weight_grad = p.attention_weight_grad + p.mlp_weight_grad;
  sent = beside_other(sent, forward, p, software, multiprocessors);
  returned = beside_other(returned, input_grad + weight_grad, p, software, multiprocessors);
  // The host runs ahead of the device, or the device waits for it.
  const Seconds host_input = attention.input_grad.host + mlp.input_grad.host;
  const Seconds host_weight = attention.weight_grad.host + mlp.weight_grad.host;
  p.host_forward = attention.forward.host + mlp.forward.host;
  p.host_backward = host_input + host_weight;
  item.forward = round_up(max(forward + sent, p.host_forward));
  item.input_grad = round_up(max(input_grad + returned, host_input));
  item.weight_grad = round_up(max(weight_grad, host_weight));
  item.forward_exposed = round_up(attention.forward.exposed + mlp.forward.exposed + sent);
  item.input_grad_exposed =
      round_up(attention.input_grad.exposed + mlp.input_grad.exposed + returned);
  return item;
}

Recompute recompute_of_ends(Recompute layers, const SoftwareProfile& software) {
  const bool wraps =
      layers == Recompute::Full || (layers == Recompute::Selective && software.selective_by_op);
  return wraps ? Recompute::None : layers;
}

}  // namespace

double ItemPricer::multiprocessors() const {
  const auto& sms = blocks_.cluster().chip.multiprocessors;
  return sms ? sms->value : 0;
}

const ItemCost& ItemPricer::price(ItemClass item, const BlockLayout& layout) {
  const auto key = std::pair(item, layout);
  const auto found = items_.find(key);
  if (found != items_.end()) return found->second;

  ItemCost cost;
  Halves attention, mlp;
  // Layers are recomputed, the ends of the model are not (checkpointing wraps layers).
  BlockLayout ends = layout;
  ends.recompute = recompute_of_ends(layout.recompute, blocks_.software());
  const bool whole = layout.recompute == Recompute::Full && !blocks_.software().recomputes_ffn_only;
  BlockLayout attends = layout;
  if (layout.recompute == Recompute::Full && !whole)
    attends.recompute = blocks_.software().fused_attention ? Recompute::V3 : Recompute::Selective;
  const auto block = [&](BlockKind kind) -> const BlockCost& {
    const bool end = kind == BlockKind::Head || kind == BlockKind::Embedding;
    const BlockLayout& own = kind == BlockKind::Attention ? attends : layout;
    return blocks_.price(kind, item.window, end ? ends : own);
  };
  const bool moe = blocks_.model().moe.has_value();
  switch (item.kind) {
    case ItemKind::Embedding:
      add(mlp, cost, block(BlockKind::Embedding));
      break;
    case ItemKind::Head:
      add(mlp, cost, block(BlockKind::Head));
      break;
    case ItemKind::MtpBlock:
      add(attention, cost, block(BlockKind::MtpEntry));
      add(attention, cost, block(BlockKind::Attention));
      add(mlp, cost, block(moe ? BlockKind::Moe : BlockKind::DenseFfn));
      // The block predicts too, through the shared head.
      add(mlp, cost, block(BlockKind::Head));
      break;
    case ItemKind::DenseLayer:
    case ItemKind::MoeLayer: {
      const BlockCost& first = block(BlockKind::Attention);
      const BlockCost& second =
          block(item.kind == ItemKind::MoeLayer ? BlockKind::Moe : BlockKind::DenseFfn);
      add(attention, cost, first);
      add(mlp, cost, second);
      if (whole) add_memory_of_whole(cost, first, second);
      break;
    }
  }
  // Kernels of a stack's own generation were measured in training, and what the ranks of an expert
  // group differ by is in its expert_skew.
  const Chip& chip = blocks_.cluster().chip;
  const bool timed_alone = blocks_.software().kernel_generation.empty();
  const double known = timed_alone ? 1 : slowest_of(chip, layout.sharding.ep);
  slow_down_under_load(attention, mlp, cost.phases.exchange, timed_alone ? load_slowdown(chip) : 1,
                       std::max(1.0, slowest_ / known));
  return items_
      .emplace(key,
               assemble(attention, mlp, blocks_.software(), multiprocessors(), std::move(cost)))
      .first->second;
}

PairTime pair_time(const ItemPhases& ahead, const ItemPhases& back, const SoftwareProfile& software,
                   double multiprocessors) {
  // While communication kernels hold some multiprocessors, what they bind takes that much longer on
  // the rest.
  const bool talks = ahead.exchange.forward() > Seconds() || back.exchange.backward() > Seconds();
  const double squeeze = talks ? 1 / share_left(software, multiprocessors) : 1;
  const auto slowed = [&](Seconds t, const ItemPhases& phases) {
    const double factor = 1 + phases.multiply_share * (squeeze - 1);
    return talks ? t * factor * software.compute_slowdown : t;
  };
  const double transfer = software.comm_slowdown;

  // Two streams, in the order of deepseek2024's Figure 4: attn F, mlp B, mlp W, mlp F, attn B, attn
  // W on one, and on the other combine B, dispatch F, dispatch B, combine F. Played over a few
  // layers to reach the steady state.
  Seconds compute, comm, busy;           // ends of the streams; work done on compute
  Seconds combined_forward, input_grad;  // when combine F and attn B of the layer before ended
  Seconds time, waiting, last_end, last_busy;
  constexpr int kWarm = 4;
  for (int layer = 0; layer < 2 * kWarm; ++layer) {
    const auto run = [&](Seconds ready, Seconds work) {
      compute = max(compute, ready) + work;
      busy += work;
      return compute;
    };
    const auto send = [&](Seconds ready, Seconds work) {
      if (work <= Seconds()) return ready;
      comm = max(comm, ready) + work * transfer;
      return comm;
    };
    const Seconds gradient_arrived = send(input_grad, back.exchange.combine_gradient);
    const Seconds attended = run(combined_forward, slowed(ahead.attention_forward, ahead));
    const Seconds dispatched = send(attended, ahead.exchange.dispatch);
    const Seconds mlp_back = run(gradient_arrived, slowed(back.mlp_input_grad, back));
    const Seconds returned = send(mlp_back, back.exchange.dispatch_gradient);
    run(mlp_back, slowed(back.mlp_weight_grad, back));
    const Seconds mlp = run(dispatched, slowed(ahead.mlp_forward, ahead));
    combined_forward = send(mlp, ahead.exchange.combine);
    input_grad = run(returned, slowed(back.attention_input_grad, back));
    run(input_grad, slowed(back.attention_weight_grad, back));
    if (layer == kWarm - 1) {
      last_end = max(compute, comm);
      last_busy = busy;
    }
  }
  time = (max(compute, comm) - last_end) / kWarm;
  waiting = max(Seconds(), time - (busy - last_busy) / kWarm);
  return {time, waiting};
}

const ItemPricer::PairCost& ItemPricer::pair_cost(ItemClass ahead, ItemClass back,
                                                  const BlockLayout& layout) {
  const auto key = std::tuple(ahead, back, layout);
  const auto found = pairs_.find(key);
  if (found != pairs_.end()) return found->second;
  const ItemCost& a = price(ahead, layout);
  const ItemCost& b = price(back, layout);
  PairCost cost;
  if (blocks_.software().overlap_ep_in_pairs) {
    const PairTime t = pair_time(a.phases, b.phases, blocks_.software(), multiprocessors());
    cost = {round_up(max(t.time, a.phases.host_forward + b.phases.host_backward)),
            round_up(t.waiting)};
  }
  // A stack that cannot overlap, or would lose by it, runs one after the other.
  const Tick apart = a.forward + b.input_grad + b.weight_grad;
  if (!blocks_.software().overlap_ep_in_pairs || apart < cost.time) {
    cost = {apart, a.forward_exposed + b.input_grad_exposed};
  }
  return pairs_.emplace(key, cost).first->second;
}

Tick ItemPricer::pair(ItemClass ahead, ItemClass back, const BlockLayout& layout) {
  return pair_cost(ahead, back, layout).time;
}
Tick ItemPricer::pair_exposed(ItemClass ahead, ItemClass back, const BlockLayout& layout) {
  return pair_cost(ahead, back, layout).exposed;
}

void ItemPricer::forget() {
  pairs_.clear();
  items_.clear();
}

}  // namespace narrows
