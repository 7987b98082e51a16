// SPDX-License-Identifier: Apache-2.0
#include "store/store_rows.h"

#include <fmt/format.h>

#include <variant>

namespace narrows {
namespace {

constexpr Frequency kHertz = 1 / sec;
constexpr Seconds kLongestTime = 1e9 * sec;

// A row to be inserted.
struct Row {
  OpText text;
  Seconds time;
  Spread spread;
  std::string_view kernel;  // borrowed
};

// What is written must read back.
Status check(const Row& row) {
  const Result<AnyOp> op =
      read_op(row.text.op, row.text.direction, row.text.recipe, row.text.shape);
  if (!op)
    return tl::unexpected(op.error().within(fmt::format("{} {}", row.text.op, row.text.shape)));
  if (row.time > Seconds() && row.time < kLongestTime) return {};
  return invalid(fmt::format("{} {}: expected a time above 0, found {} s", row.text.op,
                             row.text.shape, row.time / sec));
}

Status insert(Statement& into, std::int64_t origin, const Row& row) {
  TRY(check(row));
  into.bind(1, origin).bind(2, row.text.op).bind(3, row.text.direction).bind(4, row.text.recipe);
  into.bind(5, row.text.shape).bind(6, row.time / sec).bind(7, row.spread.p10 / sec);
  into.bind(8, row.spread.p90 / sec).bind(9, std::int64_t{row.spread.samples});
  return into.bind(10, row.kernel).run();
}

}  // namespace

Statement& bind_machine(Statement& statement, const Machine& machine) {
  statement.bind(1, machine.chip).bind(2, machine.device).bind(3, machine.clock / kHertz);
  statement.bind(4, machine.memory_clock / kHertz).bind(5, machine.driver);
  return statement.bind(6, machine.libraries);
}

Machine machine_at(const Statement& row, int first) {
  Machine machine;
  machine.chip = row.text(first);
  machine.device = row.text(first + 1);
  machine.clock = row.number(first + 2) * kHertz;
  machine.memory_clock = row.number(first + 3) * kHertz;
  machine.driver = row.text(first + 4);
  machine.libraries = row.text(first + 5);
  return machine;
}

Origin origin_at(const Statement& row, int first) {
  Origin origin;
  origin.kind = row.text(first);
  origin.name = row.text(first + 1);
  origin.hash = row.text(first + 2);
  origin.part = row.text(first + 3);
  origin.date = row.text(first + 4);
  return origin;
}

Status insert_row(Statement& into, std::int64_t origin, const KernelObservation& kernel) {
  return insert(into, origin,
                {op_text(kernel.what), kernel.what.time, kernel.spread, kernel.kernel});
}

Status insert_row(Statement& into, std::int64_t origin, const LinkObservation& link) {
  return insert(into, origin, {op_text(link.what), link.what.time, link.spread, ""});
}

Result<AnyOp> op_at(const Statement& row, const std::string& name) {
  Result<AnyOp> op = read_op(row.text(0), row.text(1), row.text(2), row.text(3));
  if (!op) return tl::unexpected(op.error().within(fmt::format("{}: a stored row", name)));
  if (!(row.number(4) > 0 && row.number(4) * sec < kLongestTime)) {
    return invalid(
        fmt::format("{}: a stored row: expected a time in seconds, found {}", name, row.number(4)));
  }
  return op;
}

Status read_row(const Statement& row, const std::string& name, Batch& batch) {
  const Result<AnyOp> op = op_at(row, name);
  if (!op) return tl::unexpected(op.error());
  const Spread spread{row.number(5) * sec, row.number(6) * sec, static_cast<int>(row.integer(7))};
  if (const auto* link = std::get_if<LinkMeasurement>(&*op)) {
    batch.links.push_back({*link, spread});
    batch.links.back().what.time = row.number(4) * sec;
    return {};
  }
  batch.kernels.push_back({std::get<Measurement>(*op), spread, std::string(row.text(8))});
  Measurement& kernel = batch.kernels.back().what;
  kernel.time = row.number(4) * sec;
  kernel.chip = batch.machine.chip;
  kernel.source = batch.origin.part.empty() ? batch.origin.kind : batch.origin.part;
  return {};
}

Status copy_row(const Statement& row, std::int64_t origin, Statement& into) {
  into.bind(1, origin);
  for (int column = 0; column < 4; ++column) into.bind(column + 2, row.text(column));
  for (int column = 4; column < 7; ++column) into.bind(column + 2, row.number(column));
  return into.bind(9, row.integer(7)).bind(10, row.text(8)).run();
}

}  // namespace narrows
