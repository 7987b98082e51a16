// SPDX-License-Identifier: Apache-2.0
#include "schedule/library.h"

#include <fmt/format.h>

#include "schedule/families.h"

namespace narrows {

using families::Sizes;

std::optional<int> fixed_chunks(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::Interleaved:
      return std::nullopt;
    case ScheduleKind::ZbV:
    case ScheduleKind::DualPipe:
    case ScheduleKind::DualPipeV:
      return 2;
    default:
      return 1;
  }
}

namespace {

// Instruction counts stay well inside `int`, and a mistyped size is refused rather than generated.
constexpr int kMostRanks = 1 << 14;
constexpr std::int64_t kMostInstructions = 1 << 24;

Status check_range(const std::string& name, Sizes sizes) {
  if (sizes.ranks < 1 || sizes.ranks > kMostRanks) {
    return invalid(
        fmt::format("{}: expected 1 to {} ranks, found {}", name, kMostRanks, sizes.ranks));
  }
  if (sizes.micro_batches < 1) {
    return invalid(
        fmt::format("{}: expected at least 1 micro-batch, found {}", name, sizes.micro_batches));
  }
  const std::int64_t forwards =
      static_cast<std::int64_t>(sizes.ranks) * sizes.chunks * sizes.micro_batches;
  if (forwards > kMostInstructions) {
    return invalid(fmt::format("{}: {} ranks x {} chunks x {} micro-batches are too many to list",
                               name, sizes.ranks, sizes.chunks, sizes.micro_batches));
  }
  return {};
}

Status check_chunks(ScheduleKind kind, int chunks) {
  const std::optional<int> fixed = fixed_chunks(kind);
  if (fixed && chunks != *fixed) {
    return invalid(fmt::format("{}: expected {} chunk{} a rank, found {}", to_string(kind), *fixed,
                               *fixed == 1 ? "" : "s", chunks));
  }
  if (!fixed && (chunks < 2 || chunks > 1024)) {
    return invalid(
        fmt::format("{}: expected 2 to 1024 chunks a rank, found {}", to_string(kind), chunks));
  }
  return {};
}

Status check_family(ScheduleKind kind, Sizes sizes) {
  const auto [p, v, m] = sizes;
  const std::string name = to_string(kind);
  if (kind == ScheduleKind::Interleaved && m % p != 0) {
    return invalid(fmt::format("{}: {} micro-batches are not a multiple of {} ranks", name, m, p));
  }
  if (kind == ScheduleKind::DualPipe && p % 2 != 0) {
    return invalid(fmt::format("{}: {} ranks are not an even number", name, p));
  }
  if (kind == ScheduleKind::DualPipe && m % 2 != 0) {
    return invalid(fmt::format("{}: {} micro-batches are not an even number", name, m));
  }
  const bool dual = kind == ScheduleKind::DualPipe || kind == ScheduleKind::DualPipeV;
  if (dual && m < 2 * p) {
    return invalid(fmt::format("{}: {} micro-batches are fewer than twice {} ranks", name, m, p));
  }
  return {};
}

std::vector<std::vector<ChunkRef>> routes_of(ScheduleKind kind, Sizes sizes) {
  const int p = sizes.ranks;
  std::vector<ChunkRef> there;
  if (kind == ScheduleKind::DualPipe) {
    std::vector<ChunkRef> back;
    for (int r = 0; r < p; ++r) there.push_back({.rank = r, .chunk = 0});
    for (int r = 0; r < p; ++r) back.push_back({.rank = p - 1 - r, .chunk = 1});
    return {there, back};
  }
  const bool folded = kind == ScheduleKind::ZbV || kind == ScheduleKind::DualPipeV;
  for (int chunk = 0; chunk < sizes.chunks; ++chunk) {
    for (int r = 0; r < p; ++r) {
      there.push_back({.rank = folded && chunk == 1 ? p - 1 - r : r, .chunk = chunk});
    }
  }
  return {there};
}

Program program_of(ScheduleKind kind, Sizes sizes, int rank) {
  switch (kind) {
    case ScheduleKind::GPipe:
      return families::gpipe(sizes);
    case ScheduleKind::OneFOneB:
      return families::one_f_one_b(sizes, rank);
    case ScheduleKind::Interleaved:
      return families::interleaved(sizes, rank);
    case ScheduleKind::ZbH1:
      return families::zero_bubble(sizes, rank, 1);
    case ScheduleKind::ZbH2:
      return families::zero_bubble(sizes, rank, 2);
    case ScheduleKind::ZbV:
      return families::zero_bubble_v(sizes, rank);
    case ScheduleKind::DualPipe:
      return families::dual_pipe(sizes, rank);
    case ScheduleKind::DualPipeV:
      return families::dual_pipe_v(sizes, rank);
  }
  ASSERT(false);
}

}  // namespace

Status check_sizes(ScheduleKind kind, int ranks, int chunks_per_rank, int micro_batches) {
  const Sizes sizes{.ranks = ranks, .chunks = chunks_per_rank, .micro_batches = micro_batches};
  TRY(check_chunks(kind, chunks_per_rank));
  TRY(check_range(to_string(kind), sizes));
  return check_family(kind, sizes);
}

Result<Schedule> make_schedule(ScheduleKind kind, int ranks, int chunks_per_rank,
                               int micro_batches) {
  TRY(check_sizes(kind, ranks, chunks_per_rank, micro_batches));
  const Sizes sizes{.ranks = ranks, .chunks = chunks_per_rank, .micro_batches = micro_batches};
  Schedule schedule{.kind = kind,
                    .ranks = ranks,
                    .chunks_per_rank = chunks_per_rank,
                    .micro_batches = micro_batches,
                    .routes = routes_of(kind, sizes),
                    .programs = {}};
  for (int rank = 0; rank < ranks; ++rank) {
    schedule.programs.push_back(program_of(kind, sizes, rank));
  }
  return schedule;
}

}  // namespace narrows
