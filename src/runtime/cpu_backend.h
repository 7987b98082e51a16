// The Backend of ordinary processors: the kernels shared out over the rank's own threads, matmuls
// by oneDNN where the program was built with it. Results do not depend on the number of threads.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "runtime/backend.h"

namespace narrows {

// `threads` of the rank in all. To be made and used in the rank's own thread.
std::unique_ptr<Backend> make_cpu_backend(int threads);

// "oneDNN 2.6.3" or "built-in".
const char* cpu_matmul_library();

}  // namespace narrows
