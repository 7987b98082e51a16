// SPDX-License-Identifier: Apache-2.0
#include "store/torch_op.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace narrows {
namespace {

using Answer = std::variant<Measurement, std::string>;
using Sizes = std::vector<std::int64_t>;

// An element's bytes and recipe by the name that the profiler gives its type.
struct Type {
  std::string_view name;
  int bytes;
  std::optional<Recipe> recipe;
};
constexpr std::array<Type, 10> kTypes{{{"c10::BFloat16", 2, Recipe::Bf16},
                                       {"BFloat16", 2, Recipe::Bf16},
                                       {"c10::Half", 2, Recipe::Fp16},
                                       {"Half", 2, Recipe::Fp16},
                                       {"float", 4, Recipe::F32},
                                       {"Float", 4, Recipe::F32},
                                       {"c10::Float8_e4m3fn", 1, std::nullopt},
                                       {"c10::Float8_e5m2", 1, std::nullopt},
                                       {"long int", 8, std::nullopt},
                                       {"long", 8, std::nullopt}}};

const Type* type_of(const TorchOp& op, std::size_t input) {
  if (input >= op.types.size()) return nullptr;
  for (const Type& type : kTypes) {
    if (type.name == op.types[input]) return &type;
  }
  return nullptr;
}

const Sizes& sizes(const TorchOp& op, std::size_t input) {
  static const Sizes kNone;
  return input < op.sizes.size() ? op.sizes[input] : kNone;
}

double elements(const Sizes& shape) {
  double count = shape.empty() ? 0 : 1;
  for (const std::int64_t extent : shape) count *= static_cast<double>(extent);
  return count;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// The format in a kernel's name. TF32 is none of ours, and a name that tells two tells none.
std::optional<Recipe> recipe_of_kernel(const std::string& kernel) {
  if (contains(kernel, "tf32")) return std::nullopt;
  const bool bf16 = contains(kernel, "bf16") || contains(kernel, "nvjet_tst");
  const bool fp16 = contains(kernel, "f16f16") || contains(kernel, "_fp16") ||
                    contains(kernel, "h16816") || contains(kernel, "hgemm") ||
                    contains(kernel, "nvjet_hsh");
  if (bf16 == fp16) return std::nullopt;
  return bf16 ? Recipe::Bf16 : Recipe::Fp16;
}

// The 16 or 32-bit format of an operator's first tensor.
std::variant<Recipe, std::string> plain_recipe(const TorchOp& op, std::size_t input,
                                               const TorchPlace& place) {
  if (const Type* type = type_of(op, input)) {
    if (!type->recipe) return fmt::format("{} in {}", op.name, type->name);
    if (*type->recipe == Recipe::F32 && contains(place.kernel, "tf32"))
      return fmt::format("{} in TF32", op.name);
    return *type->recipe;
  }
  if (!op.types.empty())
    return fmt::format("{} in {}", op.name, op.types[std::min(input, op.types.size() - 1)]);
  if (const auto recipe = recipe_of_kernel(place.kernel)) return *recipe;
  return fmt::format("{} whose kernel does not tell its number format", op.name);
}

// Which gradient a backward matmul is, with the forward op's shape; nothing where both fit or none.
std::optional<std::pair<Direction, TorchMatmul>> gradient_of(const TorchMatmul& backward,
                                                             const TorchMatmul& forward) {
  const auto [m, n, k] = forward;
  const bool input = backward.m == m && backward.k == n && backward.n == k;
  const bool weight = backward.k == m && ((backward.m == k && backward.n == n) ||
                                          (backward.m == n && backward.n == k));
  if (input == weight) return std::nullopt;
  return std::pair{input ? Direction::InputGrad : Direction::WeightGrad, forward};
}

Answer matmul(const TorchOp& op, const TorchMatmul& shape, std::size_t first,
              const TorchPlace& place) {
  const auto recipe = plain_recipe(op, first, place);
  if (const auto* why = std::get_if<std::string>(&recipe)) return *why;
  Measurement row;
  row.family = KernelFamily::Matmul;
  row.recipe = std::get<Recipe>(recipe);
  row.matmul = {exactly(static_cast<double>(shape.m)), shape.n, shape.k, 1};
  if (!place.backward) return row;
  if (!place.forward) return fmt::format("{} of a gradient without its forward operator", op.name);
  const auto gradient = gradient_of(shape, *place.forward);
  if (!gradient) return fmt::format("{} of a gradient that could be either", op.name);
  row.direction = gradient->first;
  const TorchMatmul& forward = gradient->second;
  row.matmul = {exactly(static_cast<double>(forward.m)), forward.n, forward.k, 1};
  return row;
}

// (groups, m, k) by (groups, k, n).
Answer batched(const TorchOp& op, const TorchPlace& place) {
  const Sizes& a = sizes(op, 0);
  const Sizes& b = sizes(op, 1);
  if (a.size() != 3 || b.size() != 3 || a[0] != b[0] || a[2] != b[1])
    return fmt::format("{} with unexpected sizes", op.name);
  if (place.backward) return fmt::format("{} of a gradient", op.name);
  const auto recipe = plain_recipe(op, 0, place);
  if (const auto* why = std::get_if<std::string>(&recipe)) return *why;
  Measurement row;
  row.recipe = std::get<Recipe>(recipe);
  row.matmul = {exactly(static_cast<double>(a[0]) * static_cast<double>(a[1])), b[2], a[2],
                static_cast<int>(a[0])};
  return row;
}

// Rows (tokens, k), weights (groups, k, n), ends of the groups.
Answer grouped(const TorchOp& op, const TorchPlace& place) {
  const Sizes& a = sizes(op, 0);
  const Sizes& b = sizes(op, 1);
  if (a.size() != 2 || b.size() != 3 || a[1] != b[1])
    return fmt::format("{} that is no forward one", op.name);
  if (place.backward) return fmt::format("{} of a gradient", op.name);
  const auto recipe = plain_recipe(op, 0, place);
  if (const auto* why = std::get_if<std::string>(&recipe)) return *why;
  Measurement row;
  row.recipe = std::get<Recipe>(recipe);
  row.matmul = {exactly(static_cast<double>(a[0])), b[2], a[1], static_cast<int>(b[0])};
  return row;
}

// aten::_scaled_mm(a, b, scale_a, scale_b): the sizes of the scales tell the recipe.
Answer scaled(const TorchOp& op, const TorchMatmul& shape, const TorchPlace& place) {
  if (place.backward) return fmt::format("{} of a gradient", op.name);
  const Type* type = type_of(op, 0);
  if (type != nullptr && type->bytes != 1) return fmt::format("{} in {}", op.name, type->name);
  const double a = elements(sizes(op, 2));
  const double b = elements(sizes(op, 3));
  const auto blocks = [](std::int64_t extent) { return static_cast<double>((extent + 127) / 128); };
  const auto m = static_cast<double>(shape.m);
  const auto n = static_cast<double>(shape.n);
  Measurement row;
  row.matmul = {exactly(m), shape.n, shape.k, 1};
  if (a <= 1 && b <= 1 && op.sizes.size() > 3) {
    row.recipe = Recipe::Fp8Tensor;
  } else if (a == m && b == n) {
    row.recipe = Recipe::Fp8Row;
  } else if (a == m * blocks(shape.k) && b == blocks(shape.k) * blocks(shape.n)) {
    row.recipe = Recipe::Fp8Block;
  } else {
    return fmt::format("{} with scales of another recipe", op.name);
  }
  return row;
}

// Where an attention operator keeps its arguments: query, key, value begin at `query`.
struct AttentionCall {
  std::string_view name;
  std::size_t query;
  std::size_t causal;
  bool backward;
};
constexpr std::array<AttentionCall, 6> kAttention{
    {{"aten::_scaled_dot_product_flash_attention", 0, 4, false},
     {"aten::_scaled_dot_product_efficient_attention", 0, 6, false},
     {"aten::_scaled_dot_product_cudnn_attention", 0, 6, false},
     {"aten::_scaled_dot_product_flash_attention_backward", 1, 11, true},
     {"aten::_scaled_dot_product_efficient_attention_backward", 1, 11, true},
     {"aten::_scaled_dot_product_cudnn_attention_backward", 1, 14, true}}};

// Tensors are (batch, heads, tokens, width).
Answer attention(const TorchOp& op, const AttentionCall& call, const TorchPlace& place) {
  const Sizes& q = sizes(op, call.query);
  const Sizes& k = sizes(op, call.query + 1);
  const Sizes& v = sizes(op, call.query + 2);
  if (q.size() != 4 || k.size() != 4 || v.size() != 4)
    return fmt::format("{} with unexpected sizes", op.name);
  const std::string causal = call.causal < op.values.size() ? op.values[call.causal] : "";
  if (causal != "True" && causal != "False")
    return fmt::format("{} whose record does not say whether it is causal", op.name);
  const auto recipe = plain_recipe(op, call.query, place);
  if (const auto* why = std::get_if<std::string>(&recipe)) return *why;
  Measurement row;
  row.family = KernelFamily::Attention;
  row.recipe = std::get<Recipe>(recipe);
  row.direction = call.backward ? Direction::InputGrad : Direction::Forward;
  row.attention.batch = static_cast<double>(q[0]);
  row.attention.heads = static_cast<int>(q[1]);
  row.attention.kv_heads = static_cast<int>(k[1]);
  row.attention.queries = q[2];
  row.attention.keys = k[2];
  row.attention.qk_dim = static_cast<int>(q[3]);
  row.attention.v_dim = static_cast<int>(v[3]);
  row.attention.causal = causal == "True";
  return row;
}

// Operators that only move data: how often each tensor input is passed over, reads and writes of
// the result together. Inputs must have one type and size, but for a scalar's.
struct Mover {
  std::string_view name;
  std::string_view memory_class;
  int inputs;  // tensors that it reads
  int writes;
};
constexpr std::array<Mover, 12> kMovers{{{"aten::add", "elementwise", 2, 1},
                                         {"aten::add_", "elementwise", 2, 1},
                                         {"aten::sub", "elementwise", 2, 1},
                                         {"aten::mul", "elementwise", 2, 1},
                                         {"aten::mul_", "elementwise", 2, 1},
                                         {"aten::div", "elementwise", 2, 1},
                                         {"aten::silu", "activation", 1, 1},
                                         {"aten::silu_backward", "activation", 2, 1},
                                         {"aten::gelu", "activation", 1, 1},
                                         {"aten::gelu_backward", "activation", 2, 1},
                                         {"aten::native_layer_norm", "norm", 1, 1},
                                         {"aten::_fused_rms_norm", "norm", 1, 1}}};

Answer mover(const TorchOp& op, const Mover& kind, const TorchPlace& place) {
  const Type* type = type_of(op, 0);
  if (type == nullptr || !type->recipe)
    return fmt::format("{} whose number format is not recorded", op.name);
  int reads = 1;
  if (kind.inputs == 2 && !sizes(op, 1).empty()) {
    if (sizes(op, 0) != sizes(op, 1) || type_of(op, 1) != type)
      return fmt::format("{} of unlike tensors", op.name);
    reads = 2;
  }
  Measurement row;
  row.family = KernelFamily::Memory;
  row.memory_class = kind.memory_class;
  row.recipe = *type->recipe;
  row.direction = place.backward ? Direction::InputGrad : Direction::Forward;
  row.traffic = elements(sizes(op, 0)) * (reads + kind.writes) * type->bytes * byte;
  if (!(row.traffic > Bytes())) return fmt::format("{} of nothing", op.name);
  return row;
}

// aten::copy_(to, from): also every cast.
Answer copy(const TorchOp& op, const TorchPlace& place) {
  const Type* to = type_of(op, 0);
  const Type* from = type_of(op, 1);
  if (to == nullptr || from == nullptr || !to->recipe || sizes(op, 0) != sizes(op, 1) ||
      sizes(op, 0).empty())
    return fmt::format("{} of unlike tensors", op.name);
  Measurement row;
  row.family = KernelFamily::Memory;
  row.memory_class = "elementwise";
  row.recipe = *to->recipe;
  row.direction = place.backward ? Direction::InputGrad : Direction::Forward;
  row.traffic = elements(sizes(op, 0)) * (to->bytes + from->bytes) * byte;
  return row;
}

}  // namespace

std::optional<TorchMatmul> torch_matmul(const TorchOp& op) {
  // aten::addmm(bias, a, b); the others begin with a.
  const std::size_t first = op.name == "aten::addmm" ? 1 : 0;
  if (op.name != "aten::mm" && op.name != "aten::addmm" && op.name != "aten::_scaled_mm")
    return std::nullopt;
  const Sizes& a = sizes(op, first);
  const Sizes& b = sizes(op, first + 1);
  if (a.size() != 2 || b.size() != 2 || a[1] != b[0]) return std::nullopt;
  if (a[0] < 1 || a[1] < 1 || b[1] < 1) return std::nullopt;
  return TorchMatmul{a[0], b[1], a[1]};
}

std::variant<Measurement, std::string> understand(const TorchOp& op, const TorchPlace& place) {
  if (const auto shape = torch_matmul(op)) {
    if (op.name == "aten::_scaled_mm") return scaled(op, *shape, place);
    return matmul(op, *shape, op.name == "aten::addmm" ? 1 : 0, place);
  }
  if (op.sizes.empty()) return fmt::format("{} without sizes", op.name);
  if (op.name == "aten::bmm") return batched(op, place);
  if (op.name == "aten::_grouped_mm") return grouped(op, place);
  if (op.name == "aten::copy_") return copy(op, place);
  for (const AttentionCall& call : kAttention) {
    if (call.name == op.name) return attention(op, call, place);
  }
  for (const Mover& kind : kMovers) {
    if (kind.name == op.name) return mover(op, kind, place);
  }
  return op.name;
}

}  // namespace narrows
