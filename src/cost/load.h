// How much more than the mean the fullest rank of an expert-parallel group gets. The step waits for
// that rank.
//
// Balanced routing still fluctuates: every token takes its experts at random. A rank's rows are
// then nearly normal, and the expected maximum of the group is its mean plus a multiple of the
// deviation (the first order statistic of normals). Natural routing has popular experts besides:
// `expert_spread`, the standard deviation of an expert's expected rows over their mean. It does not
// shrink with the number of tokens.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cost/reach.h"

namespace narrows {

// The spread that gives the published "balanced" H800 training trace (EP64, 4 experts a rank): its
// eight row counts (deepseek-ai/profile-data) deviate by 7.5 % of their mean between ranks and
// layers, twice that by expert.
inline constexpr double kTraceExpertSpread = 0.15;

// The expected maximum of `count` independent standard normal variables. 0 for one.
double expected_maximum_of_normals(int count);

// The variance of the copies that one token sends to one of `ep` ranks (experts spread evenly).
double copies_variance(const RouterShape& routing, int ep, const GroupCounts& counts);

// Expected rows of the fullest rank over the mean, for `tokens` tokens on each of `ep` ranks; at
// least 1. 1 for one rank or no tokens. The deviation by popularity is independent between experts.
double expected_max_over_mean(const RouterShape& routing, int ep, double tokens,
                              const GroupCounts& counts, double expert_spread = 0);
double expected_max_over_mean(const RouterShape& routing, int ep, double tokens,
                              double expert_spread = 0);

}  // namespace narrows
