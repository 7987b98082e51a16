// SPDX-License-Identifier: Apache-2.0
#include "accuracy/statistics.h"

#include <catch2/catch.hpp>

namespace narrows {

TEST_CASE("statistics: a quantile is the nearest rank") {
  const std::vector<double> ten = {10, 9, 8, 7, 6, 5, 4, 3, 2, 1};
  CHECK(quantile(ten, 0.9) == 9);
  CHECK(quantile(ten, 0.91) == 10);
  CHECK(quantile(ten, 1) == 10);
  CHECK(quantile({5}, 0.9) == 5);
  CHECK_FALSE(quantile({}, 0.9).has_value());
}

TEST_CASE("statistics: the median of an even number lies in the middle") {
  CHECK(median({3, 1, 2}) == 2);
  CHECK(median({4, 1, 2, 3}) == 2.5);
}

TEST_CASE("statistics: Spearman of a textbook example") {
  // IQ against hours of television: the example of the encyclopaedias, rho = -29/165.
  const std::vector<double> iq = {106, 100, 86, 101, 99, 103, 97, 113, 112, 110};
  const std::vector<double> hours = {7, 27, 2, 50, 28, 29, 20, 12, 6, 17};
  CHECK(*spearman(iq, hours) == Approx(-29.0 / 165.0));
}

TEST_CASE("statistics: ties share their average rank") {
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5 over sqrt(4.5 * 5).
  CHECK(*spearman({1, 2, 2, 3}, {1, 2, 3, 4}) == Approx(4.5 / 4.743416490252569));
  CHECK_FALSE(spearman({1, 1}, {1, 2}).has_value());
  CHECK_FALSE(spearman({1}, {1}).has_value());
}

}  // namespace narrows
