// The small language in which the blocks are written: each call appends one op with its traffic,
// and says which tensors its gradients need. Internal to src/model.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "model/block.h"

namespace narrows {

class GraphBuilder {
 public:
  GraphBuilder(Recipe recipe, const Fusions& fusions);

  TensorId tensor(std::string name, Rows rows, double columns, Dtype dtype);
  TensorId activation(std::string name, Rows rows, double columns) {
    return tensor(std::move(name), rows, columns, stored());
  }
  // How activations are stored.
  Dtype stored() const { return fusions_.wide ? Dtype::F32 : activation_dtype(recipe_); }

  // x -> normalised x; with `residual`, the residual addition is part of the kernel (or a pass of
  // its own if not fused).
  TensorId norm(const std::string& name, TensorId x, bool residual);
  // The operand a linear layer multiplies: x itself, or its quantised copy under a quantising
  // recipe.
  TensorId operand(TensorId x);
  // x (rows, k) -> (rows, n). `kept` is what the weight gradient reads (operand or x).
  TensorId linear(const std::string& name, TensorId x, std::int64_t n, std::int64_t k,
                  int groups = 1);
  // In the activation format whatever the recipe (router, head).
  TensorId plain_linear(const std::string& name, TensorId x, std::int64_t n, std::int64_t k);
  TensorId rope(const std::string& name, std::initializer_list<TensorId> inputs, Rows rows,
                double columns, double traffic_columns);
  TensorId attention(const AttentionShape& shape, std::initializer_list<TensorId> qkv, Rows rows);
  // `gated`: the input has twice the columns of the output.
  TensorId activation_fn(const std::string& name, TensorId x, bool gated);
  // The same over a gate and an up projection that are tensors of their own.
  TensorId gate_fn(const std::string& name, TensorId gate, TensorId up);
  TensorId memory_bound(OpKind kind, const std::string& name,
                        std::initializer_list<TensorId> inputs, TensorId output,
                        double extra_bytes = 0);
  // `shape` with bytes as they are stored; on their way they are what the recipe rounds them to,
  // but for context parallelism's.
  TensorId collective(const std::string& name, TensorId x, TensorId output, CollectiveShape shape);

  // Whether the weights of the linears that follow do not train.
  void freeze(bool frozen) { frozen_ = frozen; }
  // Whether they have biases.
  void bias(bool biased) { biased_ = biased; }

  Op& last() { return graph_.forward.back(); }
  const Tensor& at(TensorId id) const { return graph_.tensors[static_cast<std::size_t>(id)]; }
  Recipe recipe() const { return recipe_; }
  const Fusions& fusions() const { return fusions_; }
  Graph& graph() { return graph_; }

 private:
  void keep_gate(Op& op, const Tensor& out);
  void materialise_scores(TensorId statistics);
  TensorId multiply(const std::string& name, TensorId x, TensorId operand, const MatmulShape& shape,
                    Recipe precision);

  Graph graph_;
  Recipe recipe_;
  Fusions fusions_;
  bool frozen_ = false;
  bool biased_ = false;
  std::vector<std::pair<TensorId, TensorId>> quantised_;  // x -> its quantised copy
};

}  // namespace narrows
