// Memory of large arrays, in large pages where the system has them: behind pages of 4 KiB every row
// of a wide matrix costs a walk through the page tables, in a virtual machine twice over.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

namespace narrows {

// At a multiple of a cache line, and from 2 MiB on of that. Not initialised; aborts where the
// system has none.
void* allocate_large(std::size_t bytes);
void free_large(void* memory);

template <typename T>
struct LargeAllocator {
  using value_type = T;
  LargeAllocator() = default;
  template <typename U>
  LargeAllocator(const LargeAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(allocate_large(count * sizeof(T))); }
  void deallocate(T* memory, std::size_t) { free_large(memory); }
  friend bool operator==(const LargeAllocator&, const LargeAllocator&) { return true; }
};

template <typename T>
using LargeVector = std::vector<T, LargeAllocator<T>>;

}  // namespace narrows
