// The enumeration against brute force over all fields.
// SPDX-License-Identifier: Apache-2.0
#include "planner/space.h"

#include <algorithm>

#include "planner/problems.h"

namespace narrows {
namespace {

// What the space leaves out although the rules allow it, by its own words: sequence parallelism
// wherever the stack has it, and shards of all replicas or of one node's.
bool customary(const Strategy& s, const Space& space) {
  if (s.sequence_parallel != (s.tp > 1 && space.limits.sequence_parallel)) return false;
  if (s.tp > space.domain) return false;
  if (s.pp == 1 && s.order != AxisOrder::TpCpDpPp) return false;
  const int all = s.dp * s.cp, inside = space.gpus_per_node / s.tp;
  if (s.zero == 0) return s.dp_shard == 1;
  if (s.dp_shard == all) return true;
  return s.zero == 3 && inside > 1 && inside < all && s.dp_shard == inside;
}

template <typename Visit>
void for_all(int most, Visit visit) {
  for (int i = 1; i <= most; ++i) visit(i);
}

// All values of all fields, one inside the other.
std::vector<std::string> by_brute_force(const Space& space) {
  const Limits& l = space.limits;
  std::vector<std::string> found;
  Strategy s;
  for_all(l.gpus, [&](int tp) {
    for_all(l.gpus / tp, [&](int cp) {
      for_all(l.gpus / tp / cp, [&](int pp) {
        if (l.gpus % (tp * cp * pp) != 0) return;
        s.tp = tp, s.cp = cp, s.pp = pp, s.dp = l.gpus / (tp * cp * pp);
        for (s.ep = 1; s.ep <= std::max(1, l.experts); ++s.ep) {
          for (s.etp = 1; s.etp <= tp; ++s.etp) {
            for (s.vpp = 1; s.vpp <= std::min(l.items, l.most_chunks_per_rank); ++s.vpp) {
              for (const int mb : {1, 2, 3, 4, 5, 6, 7, 8}) {
                s.micro_batch = mb;
                if (l.global_batch % (s.dp * mb) != 0) continue;
                s.micro_batches = l.global_batch / (s.dp * mb);
                for (const ScheduleKind kind : all_schedules()) {
                  s.schedule = kind;
                  if (broken_schedule_rule(s, l)) continue;
                  for (const Recipe recipe : all_recipes()) {
                    s.precision = recipe;
                    for (const Recompute recompute : all_recomputes()) {
                      s.recompute = recompute;
                      for (s.zero = 0; s.zero <= 3; ++s.zero) {
                        for (s.dp_shard = 1; s.dp_shard <= s.dp * cp; ++s.dp_shard) {
                          for (const AxisOrder order : {AxisOrder::TpCpDpPp, AxisOrder::TpCpPpDp}) {
                            s.order = order;
                            for (const bool sp : {false, true}) {
                              s.sequence_parallel = sp;
                              if (!customary(s, space) || !agrees(s, space.pins)) continue;
                              if (!broken_rule(s, l)) found.push_back(to_string(pins_of(s)));
                            }
                          }
                        }
                      }
                    }
                  }
                }
              }
            }
          }
        }
      });
    });
  });
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

TEST_CASE("space: the enumeration is all well-formed strategies, once each") {
  int compared = 0;
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    Random random(seed + 1000);
    const Problem problem = random_problem(random);
    if (problem.cluster.gpus > 8) continue;
    const Space space = problem.space();
    std::vector<std::string> enumerated;
    for (const Strategy& s : problem.strategies()) enumerated.push_back(to_string(pins_of(s)));
    std::sort(enumerated.begin(), enumerated.end());
    CAPTURE(seed, problem.software.name, enumerated.size());
    const std::vector<std::string> expected = by_brute_force(space);
    if (enumerated != expected) {
      CHECK(enumerated.size() == expected.size());
      std::vector<std::string> differ;
      std::set_symmetric_difference(enumerated.begin(), enumerated.end(), expected.begin(),
                                    expected.end(), std::back_inserter(differ));
      CHECK(differ.front() == "");
    }
    ++compared;
  }
  CHECK(compared > 10);
}

TEST_CASE("space: strategies of a family share all that changes a block's price") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed + 2000);
    const Problem problem = random_problem(random);
    for (const StrategyFamily& family : enumerate(problem.space())) {
      CHECK_FALSE(family.strategies.empty());
      for (const Strategy& s : family.strategies) {
        Strategy same = s;
        same.pp = family.base.pp, same.dp = family.base.dp, same.dp_shard = family.base.dp_shard;
        same.vpp = family.base.vpp, same.zero = family.base.zero;
        same.schedule = family.base.schedule, same.micro_batches = family.base.micro_batches;
        CHECK(same == family.base);
      }
    }
  }
}

TEST_CASE("space: every strategy's pins are a space of one") {
  Random random(2101);
  const Problem problem = random_problem(random);
  int checked = 0;
  for (const Strategy& s : problem.strategies()) {
    Space one = problem.space();
    one.pins = pins_of(s);
    const std::vector<StrategyFamily> families = enumerate(one);
    REQUIRE(count(families) == 1);
    CHECK(families.front().strategies.front() == s);
    if (++checked == 500) break;
  }
  CHECK(checked > 20);
}

}  // namespace narrows
