// SPDX-License-Identifier: Apache-2.0
#include "base/large_memory.h"

#include <cstdlib>

#include "base/result.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace narrows {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kLargePage = std::size_t{2} << 20;

}  // namespace

void* allocate_large(std::size_t bytes) {
  const std::size_t unit = bytes < kLargePage ? kLine : kLargePage;
  const std::size_t whole = (bytes + unit - 1) / unit * unit;
  void* const memory = std::aligned_alloc(unit, whole == 0 ? unit : whole);
  ASSERT(memory != nullptr);
#ifdef __linux__
  // Advice: where it is not taken, all stays as it was.
  if (unit == kLargePage) static_cast<void>(madvise(memory, whole, MADV_HUGEPAGE));
#endif
  return memory;
}

void free_large(void* memory) { std::free(memory); }

}  // namespace narrows
