// SPDX-License-Identifier: Apache-2.0
#include "comm/operation.h"

#include <chrono>
#include <cstring>

#include "comm/reduce.h"

namespace narrows {
namespace {

bool is_local(const Step& step) {
  return step.kind == Step::Kind::Copy || step.kind == Step::Kind::Combine;
}

// Received data is added up, in the order of the steps.
bool adds_up(const Step& step) {
  return step.kind == Step::Kind::Reduce || step.kind == Step::Kind::Join;
}

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace

void* Operation::at(const Region& region) const {
  const std::size_t offset = static_cast<std::size_t>(region.offset) * size_of(element);
  switch (region.space) {
    case CommSpace::In:
      // Programs write to In only where the verb's `in` is a Buffer.
      return const_cast<std::byte*>(static_cast<const std::byte*>(in)) + offset;
    case CommSpace::Out:
      return static_cast<std::byte*>(out) + offset;
    case CommSpace::Scratch:
      return const_cast<std::byte*>(scratch.data()) + offset;
  }
  return nullptr;
}

void Operation::run_local(const Step& step) {
  const void* from = at(step.from);
  void* to = at(step.to);
  if (step.kind == Step::Kind::Combine) {
    combine(element, how, from, to, to, step.from.count);
  } else if (from != to) {
    std::memmove(to, from, static_cast<std::size_t>(step.from.count) * size_of(element));
  }
}

void Operation::post_round() {
  const std::size_t begin = round == 0 ? 0 : program.rounds[round - 1];
  const std::size_t end = program.rounds[round];
  tickets.assign(end - begin, {});
  step_done.assign(end - begin, 0);
  first_open = 0;
  for (std::size_t i = begin; i < end; ++i) {
    if (!is_local(program.steps[i])) continue;
    run_local(program.steps[i]);
    step_done[i - begin] = 1;
  }
  for (std::size_t i = begin; i < end; ++i) {
    const Step& step = program.steps[i];
    if (is_local(step)) continue;
    const bool is_send = step.kind == Step::Kind::Send;
    const Region& region = is_send ? step.from : step.to;
    const std::size_t bytes = static_cast<std::size_t>(region.count) * size_of(element);
    if (is_send) {
      tickets[i - begin] = group->post_send(step.peer, tag, at(region), bytes);
    } else {
      // A sum must not be written over what it adds to: the transport finds room of its own.
      void* const into = step.kind == Step::Kind::Receive ? at(region) : nullptr;
      tickets[i - begin] = group->post_receive(step.peer, tag, into, bytes);
    }
  }
  round_is_posted = true;
}

Result<bool> Operation::try_step(const Step& step, std::size_t i) {
  if (step.kind == Step::Kind::Send) return group->sent(tickets[i]);
  const void* const from = TRY(group->arrived(tickets[i]));
  if (from == nullptr) return false;
  void* const to = at(step.to);
  if (step.kind == Step::Kind::Join) {
    // A sender offers its own Buffer for it (program.h).
    combine_both(element, how, const_cast<void*>(from), to, step.to.count);
  } else if (step.kind == Step::Kind::Reduce) {
    combine(element, how, from, at(step.from), to, step.to.count);
  } else if (from != to && step.to.count > 0) {
    std::memcpy(to, from, static_cast<std::size_t>(step.to.count) * size_of(element));
  }
  group->consumed(tickets[i]);
  return true;
}

// Whether anything moved. Reductions wait for those that stand before them. While a message is
// awaited nobody asks whether one's own have left: to ask is to drive the transport once more.
Result<bool> Operation::try_round() {
  const std::size_t begin = round == 0 ? 0 : program.rounds[round - 1];
  bool moved = false, awaits = false, reductions_wait = false;
  for (const bool sends : {false, true}) {
    for (std::size_t i = first_open; i < step_done.size() && !(sends && awaits); ++i) {
      const Step& step = program.steps[begin + i];
      if (step_done[i] || (step.kind == Step::Kind::Send) != sends) continue;
      const bool reduces = adds_up(step);
      const bool done = !(reduces && reductions_wait) && TRY(try_step(step, i));
      step_done[i] = done;
      moved = moved || done;
      awaits = awaits || !done;
      reductions_wait = reductions_wait || (reduces && !done);
    }
  }
  while (first_open < step_done.size() && step_done[first_open]) ++first_open;
  return moved;
}

void Operation::next_program() {
  round = 0;
  round_is_posted = false;
  if (then) {
    const std::function<bool(Operation&)> last = std::move(then);
    then = nullptr;
    if (last(*this)) {
      scratch.resize(static_cast<std::size_t>(program.scratch) * size_of(element));
      return;
    }
  }
  finished = true;
}

bool Operation::advance() {
  bool moved = false;
  while (!finished) {
    if (round == program.rounds.size()) {
      next_program();
      moved = true;
      continue;
    }
    if (!round_is_posted) {
      post_round();
      moved = true;
    }
    const Result<bool> stepped = try_round();
    if (!stepped) {
      fail(stepped.error());
      return true;
    }
    moved = moved || *stepped;
    if (first_open < step_done.size()) break;
    ++round;
    round_is_posted = false;
  }
  if (moved) moved_ns = now_ns();
  return moved;
}

void Operation::fail(Error error) {
  const std::size_t begin = round == 0 ? 0 : program.rounds[round - 1];
  for (std::size_t i = 0; round_is_posted && i < step_done.size(); ++i) {
    if (step_done[i]) continue;
    group->cancel(tickets[i], program.steps[begin + i].kind == Step::Kind::Send);
  }
  finished = true;
  status = tl::unexpected<Error>(std::move(error));
}

int Operation::awaited() const {
  if (finished || !round_is_posted || round >= program.rounds.size()) return -1;
  const std::size_t begin = round == 0 ? 0 : program.rounds[round - 1];
  int receiver = -1;
  for (std::size_t i = first_open; i < step_done.size(); ++i) {
    if (step_done[i]) continue;
    const Step& step = program.steps[begin + i];
    if (step.kind != Step::Kind::Send) return step.peer;
    if (receiver < 0) receiver = step.peer;
  }
  return receiver;
}

}  // namespace narrows
