// SPDX-License-Identifier: Apache-2.0
#include "model/op.h"

namespace narrows {

std::string to_string(OpKind kind) {
  switch (kind) {
    case OpKind::Matmul:
      return "matmul";
    case OpKind::Attention:
      return "attention";
    case OpKind::Norm:
      return "norm";
    case OpKind::Rope:
      return "rope";
    case OpKind::ActivationFn:
      return "activation";
    case OpKind::Elementwise:
      return "elementwise";
    case OpKind::Quantise:
      return "quantise";
    case OpKind::Router:
      return "router";
    case OpKind::Permute:
      return "permute";
    case OpKind::Embedding:
      return "embedding";
    case OpKind::Loss:
      return "loss";
    case OpKind::Optimizer:
      return "optimizer";
    case OpKind::Collective:
      return "collective";
  }
  return "";
}

std::string to_string(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::AllReduce:
      return "all-reduce";
    case CollectiveKind::AllGather:
      return "all-gather";
    case CollectiveKind::ReduceScatter:
      return "reduce-scatter";
    case CollectiveKind::Dispatch:
      return "dispatch";
    case CollectiveKind::Combine:
      return "combine";
    case CollectiveKind::AllToAll:
      return "all-to-all";
    case CollectiveKind::SendRecv:
      return "send";
    case CollectiveKind::Broadcast:
      return "broadcast";
  }
  return "";
}

std::string to_string(Axis axis) {
  switch (axis) {
    case Axis::Tp:
      return "tp";
    case Axis::Cp:
      return "cp";
    case Axis::Ep:
      return "ep";
    case Axis::Etp:
      return "etp";
    case Axis::Dp:
      return "dp";
    case Axis::DpShard:
      return "dp_shard";
    case Axis::Edp:
      return "edp";
    case Axis::Pp:
      return "pp";
  }
  return "";
}

}  // namespace narrows
