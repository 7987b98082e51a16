// Libraries that the module opens when they are first needed, so that it loads where one of them is
// missing and says which. They are looked for beside the toolkit that the module was built with and
// then where the system looks (LD_LIBRARY_PATH included).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>

#include <initializer_list>

#include "kernels/cuda/context.cuh"

namespace narrows::gpu {

struct MatmulLibrary;      // cuBLASLt and the matmuls it has planned (matmul.cu)
struct CollectiveLibrary;  // NCCL and this context's place among the ranks (collective.cu)
struct KernelClock;        // CUPTI (kernel_clock.cu)

struct Libraries {
  MatmulLibrary* matmul = nullptr;
  CollectiveLibrary* collective = nullptr;
  KernelClock* clock = nullptr;
};
void release(MatmulLibrary*);
void release(CollectiveLibrary*);
void release(KernelClock*);

// The words that DeviceInfo has for them, once they are open; "" before.
const char* version_of(const MatmulLibrary*);
const char* version_of(const CollectiveLibrary*);
const char* version_of(const KernelClock*);

// An open library. Stays open: closing those that started threads is no use.
class SharedLibrary {
 public:
  // The first of `names` that opens; false says which was missing in the context's problem.
  bool open(Context& context, const char* what, std::initializer_list<const char*> names) {
    for (const char* name : names) {
      handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (handle_ != nullptr) return true;
    }
    refuse(context, Code::Unsupported, "%s: expected the library %s, found none: %s", what,
           *names.begin(), dlerror());
    return false;
  }
  // False says which function it lacks.
  template <typename Function>
  bool bind(Context& context, Function& function, const char* name) const {
    function = reinterpret_cast<Function>(dlsym(handle_, name));
    if (function != nullptr) return true;
    refuse(context, Code::Unsupported, "expected the function %s in a library, found none", name);
    return false;
  }

 private:
  void* handle_ = nullptr;
};

}  // namespace narrows::gpu
