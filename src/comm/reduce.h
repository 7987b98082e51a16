// Sums of two, or the larger of the two: the arithmetic of reductions. bf16 is added in f32 and
// rounded to nearest even after each addition.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/buffer.h"

namespace narrows {

enum class Reduction { Sum, Max };

// to[i] = here[i] + from[i]; `to` may be either. The element must not be Byte.
void combine(Element element, Reduction how, const void* from, const void* here, void* to,
             std::int64_t count);
// to[i] = from[i] = to[i] + from[i].
void combine_both(Element element, Reduction how, void* from, void* to, std::int64_t count);

}  // namespace narrows
