// The routed experts. A row's weight scales the hidden activation of its expert
// (kernels/activation.h), so that copies of a token are merged by plain sums.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/ops.h"
#include "runtime/packing.h"

namespace narrows::ops {
namespace {

// Of x as it lies there, floats or bf16.
kernels::SwiGlu swiglu_of(const OpSite& site, const Op& op, const Storage& x) {
  const std::uint16_t* const narrow = bf16_of(x);
  return {.x = floats_of(x),
          .scale = is_grouped(op) ? site.run.exchange.copy_weight.data() : nullptr,
          .rows = x.rows(),
          .columns = x.columns() / 2,
          .to_bf16 = site.rounds(),
          .x_narrow = narrow};
}

bool is_gelu(const OpSite& site) { return site.rank.model().activation == Activation::Gelu; }

kernels::GatedSum gated_sum_of(const OpSite& site, const Op& op) {
  const Storage& x = site.value(op.inputs[1]);
  return {.a = site.value(op.inputs[0]).data(),
          .x = x.data(),
          .gate = site.value(op.inputs[2]).data(),
          .rows = x.rows(),
          .columns = x.columns(),
          .to_bf16 = site.rounds()};
}

// The form for a gradient that may be read by matmuls alone.
Form form_of_grad(const OpSite& site, TensorId id) {
  return site.only_multiplied(id) ? site.made_form(id) : Form::F32;
}

// The tensor in which the router left its choice.
TensorId chosen_of(const OpSite& site) {
  for (const Op& op : site.block.graph.forward) {
    if (op.kind == OpKind::Router) return op.outputs.front();
  }
  return kNoTensor;
}

kernels::SumRows sum_lists(const Lists& lists, const Storage& from, Storage& to, bool fresh) {
  return {.from = floats_of(from),
          .begin = lists.begin.data(),
          .slots = lists.items.data(),
          .to = to.data(),
          .rows = to.rows(),
          .columns = to.columns(),
          .accumulate = !fresh,
          .from_narrow = bf16_of(from)};
}

// The rows to send, one for each destination of a token; where all go to all, each token once.
Storage rows_to_send(const OpSite& site, const Storage& tokens, Form form) {
  const Exchange& x = site.run.exchange;
  const std::int64_t count = x.gathers ? tokens.rows() : x.rows_sent();
  Storage rows = site.rank.pool.matrix(count, tokens.columns(), form);
  site.rank.backend.run(kernels::PickRows{.from = floats_of(tokens),
                                          .index = x.sent_token.data(),
                                          .to = floats_of(rows),
                                          .rows = rows.rows(),
                                          .columns = rows.columns(),
                                          .from_narrow = bf16_of(tokens),
                                          .to_narrow = bf16_of(rows)});
  return rows;
}

// The same where every rank returns a row for every token.
Status merge_scattered(const OpSite& site, const Storage& received, const OpSite::Target& to) {
  const Exchange& x = site.run.exchange;
  Storage all = site.rank.pool.matrix(received.rows(), received.columns());
  std::copy_n(received.data(), received.count(), all.data());
  Storage own = site.rank.pool.matrix(to.storage.rows(), received.columns());
  TRY(travel(site.rank,
             scatter_sums(x, buffer_of(all), buffer_of(own), site.rank.groups.ep.get())));
  float* const sum = to.storage.data();
  if (to.fresh) {
    std::copy_n(own.data(), own.count(), sum);
  } else {
    site.rank.backend.run(kernels::Add{sum, own.data(), sum, own.count()});
  }
  return {};
}

// Each token's sum over its destinations.
Status merge_returned(const OpSite& site, const Storage& received, const OpSite::Target& to) {
  const Exchange& x = site.run.exchange;
  if (x.gathers) return merge_scattered(site, received, to);
  Storage rows = site.rank.pool.matrix(x.rows_sent(), received.columns());
  TRY(travel(site.rank, return_rows(x, view_of(received), buffer_of(rows), rows.columns(),
                                    site.rank.groups.ep.get())));
  site.rank.backend.run(sum_lists(x.sent_of_token, rows, to.storage, to.fresh));
  return {};
}

// The gradients of the routing weights, back at the tokens' rank: (tokens, top_k).
Status return_weight_grads(const OpSite& site, Storage& to) {
  const Exchange& x = site.run.exchange;
  Storage received = site.rank.pool.zeros(x.rows_received(), x.top_k);
  for (std::int64_t c = 0; c < x.copies(); ++c) {
    const std::size_t i = static_cast<std::size_t>(c);
    received.data()[x.copy_row[i] * x.top_k + x.copy_slot[i]] = x.copy_dweight[i];
  }
  if (site.rank.groups.ep != nullptr) return merge_returned(site, received, {to, true});
  std::fill_n(to.data(), to.count(), 0.0f);
  site.rank.backend.run(sum_lists(x.sent_of_token, received, to, true));
  return {};
}

}  // namespace

void activation(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  if (is_gelu(site)) {
    const Storage& x = site.value(op.inputs.front());
    Storage& y = site.make_value(op.outputs.front(), x.rows());
    return site.rank.backend.run(kernels::Gelu{x.data(), y.data(), x.count(), site.rounds()});
  }
  const Form form = site.made_form(op.outputs.front());
  Storage& x = site.waiting_value(op.inputs.front());
  const bool narrow = form == Form::Bf16 && x.form() == Form::Bf16;
  if (!narrow) unpack(x, site.rank.backend, site.rank.pool);
  kernels::SwiGlu work = swiglu_of(site, op, x);
  Storage& y = site.make_value(op.outputs.front(), work.rows, narrow ? form : Form::F32);
  work.y = floats_of(y);
  work.y_narrow = bf16_of(y);
  site.rank.backend.run(work);
}

void activation_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Storage& dy = site.grad(op.outputs.front());
  if (is_gelu(site)) {
    const OpSite::Target dx = site.grad_target(op.inputs.front(), dy.rows());
    ASSERT(dx.fresh);
    const Storage& input = site.value(op.inputs.front());
    return site.rank.backend.run(
        kernels::GeluGrad{{input.data(), nullptr, input.count()}, dy.data(), dx.storage.data()});
  }
  Storage& x = site.waiting_value(op.inputs.front());
  if (bf16_of(x) == nullptr) unpack(x, site.rank.backend, site.rank.pool);
  const Form form = bf16_of(x) == nullptr ? Form::F32 : form_of_grad(site, op.inputs.front());
  Storage& dx = site.make_grad(op.inputs.front(), dy.rows(), form);
  std::vector<float>& dweight = site.run.exchange.copy_dweight;
  if (is_grouped(op)) dweight.resize(static_cast<std::size_t>(dy.rows()));
  site.rank.backend.run(kernels::SwiGluGrad{.forward = swiglu_of(site, op, x),
                                            .dy = dy.data(),
                                            .dx = floats_of(dx),
                                            .dscale = is_grouped(op) ? dweight.data() : nullptr,
                                            .dx_narrow = bf16_of(dx)});
}

Status dispatch(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const MoeSpec& moe = *site.rank.model().moe;
  const Storage& chosen = site.value(chosen_of(site));
  Communicator* group = site.rank.groups.ep.get();
  if (site.run.exchange.top_k == 0) {
    site.run.exchange = TRY(plan_exchange({.chosen = chosen.data(),
                                           .tokens = chosen.rows(),
                                           .top_k = moe.top_k,
                                           .experts = moe.experts,
                                           .gathers = site.rank.plan.comm.ep == "all-gather"},
                                          group));
  }
  if (group == nullptr) return {};  // the tokens are where they belong
  const Storage& tokens = site.travelling(op.inputs.front());
  const Storage rows = rows_to_send(site, tokens, tokens.form());
  Storage& received =
      site.make_value(op.outputs.front(), site.run.exchange.rows_received(), rows.form());
  return travel(site.rank, send_rows(site.run.exchange, view_of(rows), buffer_of(received),
                                     rows.columns(), group));
}

Status dispatch_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const std::int64_t tokens = std::ssize(site.run.exchange.sent_of_token.begin) - 1;
  Storage& dweights = site.grad(chosen_of(site));
  dweights = site.rank.pool.matrix(tokens, site.run.exchange.top_k);
  TRY(return_weight_grads(site, dweights));
  if (site.rank.groups.ep == nullptr) return {};
  const Storage& received = site.grad(op.outputs.front());
  return merge_returned(site, received, site.grad_target(op.inputs.front(), tokens));
}

void permute(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Exchange& x = site.run.exchange;
  Storage& from = site.waiting_value(op.inputs.front());
  if (from.form() == Form::Fp8) unpack(from, site.rank.backend, site.rank.pool);
  if (op.name == "permute") {
    Storage& to = site.make_value(op.outputs.front(), x.copies(), from.form());
    site.rank.backend.run(kernels::PickRows{.from = floats_of(from),
                                            .index = x.copy_row.data(),
                                            .to = floats_of(to),
                                            .rows = to.rows(),
                                            .columns = to.columns(),
                                            .from_narrow = bf16_of(from),
                                            .to_narrow = bf16_of(to)});
  } else {
    Storage& to = site.make_value(op.outputs.front(), x.rows_received());
    site.rank.backend.run(sum_lists(x.copies_of_row, from, to, true));
  }
}

void permute_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Exchange& x = site.run.exchange;
  if (op.name == "permute") {
    const Storage& from = site.grad(op.outputs.front());
    const OpSite::Target to = site.grad_target(op.inputs.front(), x.rows_received());
    site.rank.backend.run(sum_lists(x.copies_of_row, from, to.storage, to.fresh));
  } else {
    const Storage& from = site.waiting_grad(op.outputs.front());
    const TensorId in = op.inputs.front();
    const Form form = bf16_of(from) == nullptr ? form_of_grad(site, in) : Form::Bf16;
    Storage& to = site.make_grad(in, x.copies(), form);
    site.rank.backend.run(kernels::PickRows{.from = floats_of(from),
                                            .index = x.copy_row.data(),
                                            .to = floats_of(to),
                                            .rows = to.rows(),
                                            .columns = to.columns(),
                                            .scale = share_of_gradient(site),
                                            .from_narrow = bf16_of(from),
                                            .to_narrow = bf16_of(to)});
  }
}

Status combine(const OpSite& site, int index) {
  if (site.rank.groups.ep == nullptr) return {};
  const Op& op = op_at(site, index);
  const std::int64_t tokens = std::ssize(site.run.exchange.sent_of_token.begin) - 1;
  return merge_returned(site, site.value(op.inputs.front()),
                        {site.make_value(op.outputs.front(), tokens), true});
}

Status combine_input_grad(const OpSite& site, int index) {
  if (site.rank.groups.ep == nullptr) return {};
  const Op& op = op_at(site, index);
  const TensorId in = op.inputs.front();
  const TensorId copies = op_at(site, site.producer(in)).inputs.front();
  const Form form = site.travelling_form_of_grad(copies);
  const Storage rows = rows_to_send(site, site.grad(op.outputs.front()), form);
  Storage& received = site.make_grad(in, site.run.exchange.rows_received(), rows.form());
  return travel(site.rank, send_rows(site.run.exchange, view_of(rows), buffer_of(received),
                                     rows.columns(), site.rank.groups.ep.get()));
}

void add_outputs(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Form form = site.made_form(op.outputs.front());
  Storage& a = site.waiting_value(op.inputs[0]);
  Storage& b = site.waiting_value(op.inputs[1]);
  for (Storage* operand : {&a, &b}) {
    const bool reads = operand->form() == Form::Bf16 && form == Form::Bf16;
    if (!reads) unpack(*operand, site.rank.backend, site.rank.pool);
  }
  Storage& sum = site.make_value(op.outputs.front(), a.rows(), form);
  site.rank.backend.run(kernels::Add{floats_of(a), floats_of(b), floats_of(sum), sum.count(),
                                     site.rounds(), bf16_of(a), bf16_of(b), bf16_of(sum)});
}

void gated_sum(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  kernels::GatedSum sum = gated_sum_of(site, op);
  sum.y = site.make_value(op.outputs.front(), sum.rows).data();
  site.rank.backend.run(sum);
}

void gated_sum_input_grad(const OpSite& site, int index) {
  const Op& op = op_at(site, index);
  const Storage& dy = site.grad(op.outputs.front());
  const OpSite::Target dx = site.grad_target(op.inputs[1], dy.rows());
  const OpSite::Target dgate = site.grad_target(op.inputs[2], dy.rows());
  site.rank.backend.run(kernels::GatedSumGrad{.forward = gated_sum_of(site, op),
                                              .dy = dy.data(),
                                              .dx = dx.storage.data(),
                                              .dgate = dgate.storage.data(),
                                              .scale = share_of_gradient(site)});
}

}  // namespace narrows::ops
