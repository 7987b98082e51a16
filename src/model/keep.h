// Which activations a layer keeps from its forward to its backward. What is not kept is recomputed
// from what is, when a gradient first needs it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace narrows {

// None: nothing is recomputed. Selective: the attention core (korthikanti2022), or what the stack
// means by it (Fusions::selective_by_op). Full: only a
// layer's input is kept. V3: norms, MLA up-projections and the activation function (deepseek2024),
// or some of them (V3Modules).
enum class Recompute { None, Selective, Full, V3 };
std::string to_string(Recompute recompute);
std::optional<Recompute> recompute_of(std::string_view name);
const std::vector<Recompute>& all_recomputes();

// What a stack makes again under V3: all that DeepSeek does, laying out expert rows and rotation
// among it; MLA's up-projections and what is assembled from them alone; or the norms before
// attention and FFN, and the activation function.
enum class V3Modules { All, UpProjections, NormsAndActivation };
std::string to_string(V3Modules modules);  // "up-projections"
std::optional<V3Modules> v3_modules_of(std::string_view name);

}  // namespace narrows
