// SPDX-License-Identifier: Apache-2.0
#include "cost/overlap.h"

#include "base/result.h"

namespace narrows {

Contention contention_of(const SoftwareProfile& software, const Chip& chip, double multiply_share) {
  const double all = chip.multiprocessors ? chip.multiprocessors->value : 0;
  const double left = all - software.collective_multiprocessors;
  const double squeeze = left > 0 ? all / left : 1;
  const double multiply = 1 + multiply_share * (squeeze - 1);
  return {multiply * software.compute_slowdown, software.collective_slowdown};
}

Seconds together(Seconds compute, Seconds transfer, Contention by) {
  ASSERT(by.compute >= 1);
  ASSERT(by.transfer >= 1);
  const Seconds stretched = transfer * by.transfer;
  // While a collective runs, a second of compute takes by.compute seconds.
  if (stretched <= compute * by.compute) return compute + stretched * (1 - 1 / by.compute);
  return compute * by.compute + (transfer - compute * (by.compute / by.transfer));
}

}  // namespace narrows
