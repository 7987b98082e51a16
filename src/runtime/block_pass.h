// Walks a block's op graph for one micro-batch: forward, then recomputation and the input gradient,
// then the weight gradient, dropping after each what the graph does not keep for the next.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/block_run.h"

namespace narrows {

// Takes the residual stream from `site.run.value[input]`, or from the block before. Leaves the
// block's output, which its successor adds.
Status forward(const OpSite& site);

// Makes again what the input gradient needs and forward dropped, once.
Status recompute(const OpSite& site);

// From the gradient of the output to that of the residual stream that entered: in run.grad[output]
// and run.grad[input]. Not so the head, where gradients begin, and the embedding, where they end.
Status input_grad(const OpSite& site);

// What waits for a weight gradient that does not follow at once, into its narrower form.
void pack_for_weight_grad(const OpSite& site);

// Adds to the weights' gradients and drops what is left.
Status weight_grad(const OpSite& site);

// Drops what forward made and nothing later needs, its output too, if the caller has taken it;
// what is left waits in its narrower form.
void drop_after_forward(const OpSite& site);

}  // namespace narrows
