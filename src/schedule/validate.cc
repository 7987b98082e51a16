// SPDX-License-Identifier: Apache-2.0
#include "schedule/validate.h"

#include <fmt/format.h>

#include "schedule/graph.h"
#include "schedule/text.h"

namespace narrows {

namespace {

Status check_shape(const Schedule& schedule) {
  if (schedule.ranks < 1 || schedule.chunks_per_rank < 1 || schedule.micro_batches < 1) {
    return invalid("expected at least one rank, chunk and micro-batch");
  }
  if (schedule.routes.empty()) return invalid("expected at least one route");
  if (schedule.micro_batches % static_cast<int>(schedule.routes.size()) != 0) {
    return invalid(fmt::format("{} micro-batches are not a multiple of {} routes",
                               schedule.micro_batches, schedule.routes.size()));
  }
  if (schedule.programs.size() != static_cast<std::size_t>(schedule.ranks)) {
    return invalid(
        fmt::format("expected {} programs, found {}", schedule.ranks, schedule.programs.size()));
  }
  return {};
}

Status check_routes(const Schedule& schedule) {
  const std::int64_t chunks = static_cast<std::int64_t>(schedule.ranks) * schedule.chunks_per_rank;
  std::int64_t stages = 0;
  for (const std::vector<ChunkRef>& route : schedule.routes) {
    stages += static_cast<std::int64_t>(route.size());
    if (route.size() != schedule.routes.front().size()) return invalid("routes differ in length");
  }
  if (stages != chunks) {
    return invalid(fmt::format("routes have {} stages together, expected {}", stages, chunks));
  }
  std::vector<bool> visited(static_cast<std::size_t>(chunks), false);
  for (const std::vector<ChunkRef>& route : schedule.routes) {
    for (const ChunkRef at : route) {
      if (at.rank < 0 || at.rank >= schedule.ranks)
        return invalid(fmt::format("a route visits rank {}", at.rank));
      if (at.chunk < 0 || at.chunk >= schedule.chunks_per_rank) {
        return invalid(fmt::format("a route visits chunk {} of rank {}", at.chunk, at.rank));
      }
      const std::size_t place =
          static_cast<std::size_t>(at.rank * schedule.chunks_per_rank + at.chunk);
      if (visited[place]) {
        return invalid(fmt::format("routes visit chunk {} of rank {} twice", at.chunk, at.rank));
      }
      visited[place] = true;
    }
  }
  return {};
}

// Every micro-batch of every chunk has its F, so that a wrong count of micro-batches is refused
// before room is made for it.
Status check_length(const Schedule& schedule, int rank) {
  const std::size_t instructions = schedule.programs[static_cast<std::size_t>(rank)].size();
  const std::size_t least = static_cast<std::size_t>(schedule.chunks_per_rank) *
                            static_cast<std::size_t>(schedule.micro_batches_of_route());
  if (instructions >= least) return {};
  return invalid(fmt::format("rank {}: {} instructions are fewer than {} chunks x {} micro-batches",
                             rank, instructions, schedule.chunks_per_rank,
                             schedule.micro_batches_of_route()));
}

enum class Done : std::uint8_t { Nothing, Forward, InputGrad, All };

// Replays one rank's program and keeps, for every (chunk, micro-batch), what has been done to it.
class RankCheck {
 public:
  RankCheck(const Schedule& schedule, int rank)
      : rank_(rank),
        chunks_(schedule.chunks_per_rank),
        micro_batches_(schedule.micro_batches_of_route()),
        done_(static_cast<std::size_t>(chunks_) * static_cast<std::size_t>(micro_batches_),
              Done::Nothing) {}

  Status run(const Instruction& instruction, std::size_t index) {
    const Action action = instruction.action;
    const bool pair = action == Action::Pair;
    std::string_view broken;
    if (!pair && (instruction.back_chunk != -1 || instruction.back_micro_batch != -1)) {
      broken = "only a pair has a second half";
    }
    // The backward half first: a pair cannot run the backward of its own forward.
    if (broken.empty() && pair) {
      broken = advance(Action::Backward, instruction.back_chunk, instruction.back_micro_batch);
    }
    if (broken.empty()) {
      broken = advance(pair ? Action::Forward : action, instruction.chunk, instruction.micro_batch);
    }
    if (broken.empty()) return {};
    return invalid(
        fmt::format("rank {}: {} at {}: {}", rank_, to_text(instruction), index, broken));
  }

  Status finish() const {
    for (std::size_t i = 0; i < done_.size(); ++i) {
      if (done_[i] == Done::All) continue;
      const std::string_view missing = done_[i] == Done::Nothing   ? "forward"
                                       : done_[i] == Done::Forward ? "backward"
                                                                   : "weight gradient";
      const std::size_t m = static_cast<std::size_t>(micro_batches_);
      return invalid(fmt::format("rank {}: chunk {} has no {} of micro-batch {}", rank_, i / m,
                                 missing, i % m));
    }
    return {};
  }

 private:
  // "" or the rule that is broken.
  std::string_view advance(Action action, int chunk, int micro_batch) {
    if (chunk < 0 || chunk >= chunks_) return "no such chunk";
    if (micro_batch < 0 || micro_batch >= micro_batches_) return "no such micro-batch";
    Done& done = done_[static_cast<std::size_t>(chunk) * static_cast<std::size_t>(micro_batches_) +
                       static_cast<std::size_t>(micro_batch)];
    switch (action) {
      case Action::Forward:
        if (done != Done::Nothing) return "its forward has run";
        done = Done::Forward;
        return "";
      case Action::InputGrad:
      case Action::Backward:
        if (done == Done::Nothing) return "its forward has not run";
        if (done != Done::Forward) return "its backward has run";
        done = action == Action::Backward ? Done::All : Done::InputGrad;
        return "";
      case Action::WeightGrad:
        if (done == Done::All) return "its weight gradient has run";
        if (done != Done::InputGrad) return "its input gradient has not run";
        done = Done::All;
        return "";
      case Action::Pair:
        break;
    }
    return "no such action";
  }

  int rank_;
  int chunks_;
  int micro_batches_;
  std::vector<Done> done_;
};

}  // namespace

Status validate_ranks(const Schedule& schedule) {
  TRY(check_shape(schedule));
  TRY(check_routes(schedule));
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    const Program& program = schedule.programs[static_cast<std::size_t>(rank)];
    TRY(check_length(schedule, rank));
    RankCheck check(schedule, rank);
    for (std::size_t i = 0; i < program.size(); ++i) TRY(check.run(program[i], i));
    TRY(check.finish());
  }
  return {};
}

Status validate(const Schedule& schedule) {
  TRY(graph_of(schedule));
  return {};
}

}  // namespace narrows
