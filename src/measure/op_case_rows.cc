// What works row by row: routing, lookup, loss, optimiser; as the runtime calls it (ops_router.cc,
// ops_experts.cc, ops_ends.cc, optimizer.cc).
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "base/random.h"
#include "measure/op_case_parts.h"
#include "runtime/exchange.h"

namespace narrows::op_parts {
namespace {

kernels::Router router_op(std::int64_t rows, const MoeSpec& moe, RotatingMemory& memory) {
  return {.logits = memory.recent_input(rows * moe.experts),
          .rows = rows,
          .experts = moe.experts,
          .top_k = moe.top_k,
          .groups = moe.groups,
          .top_groups = moe.top_groups,
          .sigmoid = moe.score == RouterScore::Sigmoid};
}

// A router's result: different experts of every token, evenly drawn.
std::vector<float> drawn_experts(std::int64_t rows, const MoeSpec& moe) {
  Random random(7);
  std::vector<float> chosen(static_cast<std::size_t>(rows * 3 * moe.top_k), 0.5f);
  std::vector<int> experts(static_cast<std::size_t>(moe.experts));
  for (std::size_t i = 0; i < experts.size(); ++i) experts[i] = static_cast<int>(i);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (int k = 0; k < moe.top_k; ++k) {
      const auto left = static_cast<std::uint64_t>(moe.experts - k);
      const std::size_t pick = static_cast<std::size_t>(k) + random.below(left);
      std::swap(experts[static_cast<std::size_t>(k)], experts[pick]);
      chosen[static_cast<std::size_t>(r * 3 * moe.top_k + k)] =
          static_cast<float>(experts[static_cast<std::size_t>(k)]);
    }
  }
  return chosen;
}

// The row of each copy: sorted by expert, so that rows come in runs that begin anew.
std::vector<std::int32_t> rows_of_copies(std::int64_t received, std::int64_t copies) {
  Random random(11);
  std::vector<std::int32_t> row(static_cast<std::size_t>(copies));
  for (std::int32_t& r : row)
    r = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(received)));
  const std::size_t run = std::max<std::size_t>(1, row.size() / 8);
  for (std::size_t first = 0; first < row.size(); first += run) {
    std::sort(row.begin() + static_cast<std::ptrdiff_t>(first),
              row.begin() + static_cast<std::ptrdiff_t>(std::min(row.size(), first + run)));
  }
  return row;
}

std::vector<std::int32_t> drawn_rows(std::int64_t count, std::int64_t table) {
  Random random(13);
  std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
  for (std::int32_t& r : rows)
    r = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(table)));
  return rows;
}

}  // namespace

Run router(std::int64_t rows, const MoeSpec& moe, Direction direction) {
  if (direction == Direction::Forward) {
    return [rows, moe](Backend& backend, RotatingMemory& memory) {
      memory.reserve(rows * moe.experts, rows * 3 * moe.top_k);
      kernels::Router op = router_op(rows, moe, memory);
      op.chosen = memory.output(rows * 3 * moe.top_k);
      backend.run(op);
    };
  }
  return [rows, moe, chosen = drawn_experts(rows, moe)](Backend& backend,
                                                        RotatingMemory& memory) mutable {
    memory.reserve(rows * (moe.experts + moe.top_k), rows * moe.experts);
    kernels::RouterGrad op{.forward = router_op(rows, moe, memory)};
    op.forward.chosen = chosen.data();
    op.dweights = memory.recent_input(rows * moe.top_k);
    op.dlogits = memory.recent_output(rows * moe.experts);
    backend.run(op);
  };
}

// Forward they are copies of what is kept, backward gradients for matmuls alone.
Run spread_rows(std::int64_t received, Rows32 copies, Direction direction, bool narrow) {
  const bool is_forward = direction == Direction::Forward;
  return
      [=, row = rows_of_copies(received, copies.rows)](Backend& backend, RotatingMemory& memory) {
        memory.reserve(received * copies.columns, copies.count());
        const Given from = recent(memory, received * copies.columns, narrow && is_forward);
        const Made to = is_forward ? kept(memory, copies.count(), narrow)
                                   : fresh(memory, copies.count(), narrow);
        backend.run(kernels::PickRows{.from = from.wide,
                                      .index = row.data(),
                                      .to = to.wide,
                                      .rows = copies.rows,
                                      .columns = copies.columns,
                                      .from_narrow = from.narrow,
                                      .to_narrow = to.narrow});
      };
}

// What experts made (forward) or gradients of copies, summed to floats.
Run merge_rows(std::int64_t received, Rows32 copies, Direction direction, bool narrow) {
  const std::vector<std::int32_t> row = rows_of_copies(received, copies.rows);
  const bool halves = narrow && direction == Direction::Forward;
  return [=, lists = positions_of(row, static_cast<int>(received))](Backend& backend,
                                                                    RotatingMemory& memory) {
    memory.reserve(copies.count(), received * copies.columns);
    const Given from = recent(memory, copies.count(), halves);
    backend.run(kernels::SumRows{.from = from.wide,
                                 .begin = lists.begin.data(),
                                 .slots = lists.items.data(),
                                 .to = memory.output(received * copies.columns),
                                 .rows = received,
                                 .columns = copies.columns,
                                 .from_narrow = from.narrow});
  };
}

Run plan(std::int64_t tokens, const MoeSpec& moe) {
  return [tokens, moe, chosen = drawn_experts(tokens, moe)](Backend&, RotatingMemory&) {
    (void)plan_exchange(
        {.chosen = chosen.data(), .tokens = tokens, .top_k = moe.top_k, .experts = moe.experts},
        nullptr);
  };
}

Run sum(std::int64_t count, bool narrow) {
  return [=](Backend& backend, RotatingMemory& memory) {
    memory.reserve(2 * count, count);
    const Given a = recent(memory, count, narrow), b = recent(memory, count, narrow);
    const Made to = kept(memory, count, narrow);
    backend.run(
        kernels::Add{a.wide, b.wide, to.wide, count, narrow, a.narrow, b.narrow, to.narrow});
  };
}

Run embedding(Rows32 out, std::int64_t table, Direction direction, bool narrow) {
  const std::vector<std::int32_t> rows = drawn_rows(out.rows, table);
  if (direction == Direction::Forward) {
    return [=](Backend& backend, RotatingMemory& memory) {
      memory.reserve(table * out.columns, out.count());
      const Made to = kept(memory, out.count(), narrow);
      backend.run(kernels::PickRows{.from = memory.input(table * out.columns),
                                    .index = rows.data(),
                                    .to = to.wide,
                                    .rows = out.rows,
                                    .columns = out.columns,
                                    .to_bf16 = narrow,
                                    .to_narrow = to.narrow});
    };
  }
  return [=](Backend& backend, RotatingMemory& memory) {
    memory.reserve(out.count(), table * out.columns);
    const float* const from = memory.recent_input(out.count());
    backend.run(kernels::ScatterRows{from, rows.data(), memory.output(table * out.columns),
                                     out.rows, out.columns});
  };
}

// The logits are written over: by a copy, so that they stay what they are.
Run loss(Rows32 logits) {
  const std::vector<std::int32_t> targets = drawn_rows(logits.rows, logits.columns);
  return [=](Backend& backend, RotatingMemory& memory) {
    memory.reserve(0, logits.count());
    const kernels::LogitPart part{.logits = memory.recent_output(logits.count()),
                                  .rows = logits.rows,
                                  .columns = logits.columns,
                                  .stride = logits.columns,
                                  .first = 0,
                                  .targets = targets.data()};
    std::vector<kernels::PartialSoftmax> rows;
    backend.run(part, rows);
    double total = 0;
    for (const kernels::PartialSoftmax& row : rows) total += kernels::cross_entropy(row);
    backend.run(part, rows, static_cast<float>(1 / (total > 1 ? total : 1)));
  };
}

// Its state is its own: second moments must stay positive.
Run optimizer(std::int64_t parameters) {
  constexpr std::int64_t kRange = 1 << 20;  // floats: more than a core's own caches
  const std::int64_t range = std::max(parameters, kRange);
  return [=, state = std::vector<float>(), at = std::int64_t{0}](Backend& backend,
                                                                 RotatingMemory& memory) mutable {
    state.resize(static_cast<std::size_t>(3 * range), 0.01f);
    memory.reserve(parameters, parameters);
    const float* const gradient = memory.input(parameters);
    backend.clear(memory.output(parameters), parameters);
    (void)backend.sum_of_squares(gradient, parameters);
    if (at + parameters > range) at = 0;
    float* const weight = state.data() + at;
    backend.run(kernels::AdamW{.weight = weight,
                               .gradient = gradient,
                               .first_moment = weight + range,
                               .second_moment = weight + 2 * range,
                               .count = parameters,
                               .learning_rate = 1e-4});
    at += parameters;
  };
}

// A rank's own halves, which both ways read and write.
Run packing(std::int64_t floats, bool back) {
  constexpr std::int64_t kColumns = 256;
  const std::int64_t rows = std::max<std::int64_t>(1, floats / kColumns);
  std::vector<std::uint16_t> halves(static_cast<std::size_t>(rows * kColumns), 0x3f00);
  return [=](Backend& backend, RotatingMemory& memory) mutable {
    memory.reserve(0, rows * kColumns);
    backend.run(kernels::PackRows{.wide = memory.output(rows * kColumns),
                                  .halves = halves.data(),
                                  .rows = rows,
                                  .columns = kColumns,
                                  .back = back});
  };
}

Run copy(std::int64_t floats) {
  const std::int64_t columns = std::min<std::int64_t>(floats, 1024);
  std::vector<std::int32_t> rows(static_cast<std::size_t>(floats / columns));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int32_t>(i);
  return [=](Backend& backend, RotatingMemory& memory) {
    const std::int64_t count = std::ssize(rows) * columns;
    memory.reserve(count, count);
    const float* const from = memory.input(count);
    backend.run(
        kernels::PickRows{from, rows.data(), memory.output(count), std::ssize(rows), columns});
  };
}

}  // namespace narrows::op_parts
