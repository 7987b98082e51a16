// A function of plain loops that the compiler vectorises, compiled once for each generation of
// processors and chosen when the program starts. What it calls is inlined,
// to gain by it too.
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Sanitizers cannot run the code that chooses, before they are set up themselves.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define NARROWS_VECTORISED \
  __attribute__((target_clones("arch=sapphirerapids", "arch=skylake-avx512", "avx2", "default")))
#else
#define NARROWS_VECTORISED
#endif
#define NARROWS_INLINE inline __attribute__((always_inline))
