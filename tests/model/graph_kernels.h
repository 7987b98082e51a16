// Every matmul and attention kernel of two mixture-of-experts models, as an independent script
// counted them: DeepSeek-V3 on a rank of EP64 with 4096 tokens and 8 expert rows a token, and a
// small model (hidden 512, 8 heads, latents 192 and 128, heads 32 + 16 and 32, 16 experts top-4 of
// 256, a shared expert, vocabulary 8192) on EP4 with 1024 tokens. M, N, K as the kernel multiplies
// them: forward (tokens, out, in), input gradient (tokens, in, out), weight gradient (out, in,
// tokens; a group's tokens where grouped). "recompute": forward again in backward.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

namespace narrows {

struct CountedKernel {
  const char* op;
  char pass;  // F, I, W, or R for a forward that runs again
  double m, n, k;
  double flops;
};

inline const std::vector<CountedKernel>& v3_kernels() {
  static const std::vector<CountedKernel> rows = {
      {"q_a", 'F', 4096, 1536, 7168, 90194313216},
      {"q_a", 'I', 4096, 7168, 1536, 90194313216},
      {"q_a", 'W', 1536, 7168, 4096, 90194313216},
      {"kv_a", 'F', 4096, 576, 7168, 33822867456},
      {"kv_a", 'I', 4096, 7168, 576, 33822867456},
      {"kv_a", 'W', 576, 7168, 4096, 33822867456},
      {"q_b", 'F', 4096, 24576, 1536, 309237645312},
      {"q_b", 'I', 4096, 1536, 24576, 309237645312},
      {"q_b", 'W', 24576, 1536, 4096, 309237645312},
      {"kv_b", 'F', 4096, 32768, 512, 137438953472},
      {"kv_b", 'I', 4096, 512, 32768, 137438953472},
      {"kv_b", 'W', 32768, 512, 4096, 137438953472},
      {"q_b", 'R', 4096, 24576, 1536, 309237645312},
      {"kv_b", 'R', 4096, 32768, 512, 137438953472},
      {"attention", 'F', 0, 0, 0, 687194767360},
      {"attention", 'I', 0, 0, 0, 1786706395136},
      {"o_proj", 'F', 4096, 7168, 16384, 962072674304},
      {"o_proj", 'I', 4096, 16384, 7168, 962072674304},
      {"o_proj", 'W', 7168, 16384, 4096, 962072674304},
      {"router", 'F', 4096, 256, 7168, 15032385536},
      {"router", 'I', 4096, 7168, 256, 15032385536},
      {"router", 'W', 256, 7168, 4096, 15032385536},
      {"expert gate_up", 'F', 32768, 4096, 7168, 1924145348608},
      {"expert down", 'F', 32768, 7168, 2048, 962072674304},
      {"expert down", 'I', 32768, 2048, 7168, 962072674304},
      {"expert gate_up", 'I', 32768, 7168, 4096, 1924145348608},
      {"expert down", 'W', 7168, 2048, 8192, 962072674304},
      {"expert gate_up", 'W', 4096, 7168, 8192, 1924145348608},
      {"shared gate_up", 'F', 4096, 4096, 7168, 240518168576},
      {"shared down", 'F', 4096, 7168, 2048, 120259084288},
      {"shared down", 'I', 4096, 2048, 7168, 120259084288},
      {"shared gate_up", 'I', 4096, 7168, 4096, 240518168576},
      {"shared down", 'W', 7168, 2048, 4096, 120259084288},
      {"shared gate_up", 'W', 4096, 7168, 4096, 240518168576},
      {"ffn gate_up", 'F', 4096, 36864, 7168, 2164663517184},
      {"ffn gate_up", 'I', 4096, 7168, 36864, 2164663517184},
      {"ffn gate_up", 'W', 36864, 7168, 4096, 2164663517184},
      {"ffn down", 'F', 4096, 7168, 18432, 1082331758592},
      {"ffn down", 'I', 4096, 18432, 7168, 1082331758592},
      {"ffn down", 'W', 7168, 18432, 4096, 1082331758592},
      {"head", 'F', 4096, 129280, 7168, 7591354695680},
      {"head", 'I', 4096, 7168, 129280, 7591354695680},
      {"head", 'W', 129280, 7168, 4096, 7591354695680},
  };
  return rows;
}

inline const std::vector<CountedKernel>& small_kernels() {
  static const std::vector<CountedKernel> rows = {
      {"q_a", 'F', 1024, 192, 512, 201326592},
      {"q_a", 'I', 1024, 512, 192, 201326592},
      {"q_a", 'W', 192, 512, 1024, 201326592},
      {"kv_a", 'F', 1024, 144, 512, 150994944},
      {"kv_a", 'I', 1024, 512, 144, 150994944},
      {"kv_a", 'W', 144, 512, 1024, 150994944},
      {"q_b", 'F', 1024, 384, 192, 150994944},
      {"q_b", 'I', 1024, 192, 384, 150994944},
      {"q_b", 'W', 384, 192, 1024, 150994944},
      {"kv_b", 'F', 1024, 512, 128, 134217728},
      {"kv_b", 'I', 1024, 128, 512, 134217728},
      {"kv_b", 'W', 512, 128, 1024, 134217728},
      {"q_b", 'R', 1024, 384, 192, 150994944},
      {"kv_b", 'R', 1024, 512, 128, 134217728},
      {"attention", 'F', 0, 0, 0, 671088640},
      {"attention", 'I', 0, 0, 0, 1744830464},
      {"o_proj", 'F', 1024, 512, 256, 268435456},
      {"o_proj", 'I', 1024, 256, 512, 268435456},
      {"o_proj", 'W', 512, 256, 1024, 268435456},
      {"router", 'F', 1024, 16, 512, 16777216},
      {"router", 'I', 1024, 512, 16, 16777216},
      {"router", 'W', 16, 512, 1024, 16777216},
      {"expert gate_up", 'F', 4096, 512, 512, 2147483648},
      {"expert down", 'F', 4096, 512, 256, 1073741824},
      {"expert down", 'I', 4096, 256, 512, 1073741824},
      {"expert gate_up", 'I', 4096, 512, 512, 2147483648},
      {"expert down", 'W', 512, 256, 1024, 1073741824},
      {"expert gate_up", 'W', 512, 512, 1024, 2147483648},
      {"shared gate_up", 'F', 1024, 512, 512, 536870912},
      {"shared down", 'F', 1024, 512, 256, 268435456},
      {"shared down", 'I', 1024, 256, 512, 268435456},
      {"shared gate_up", 'I', 1024, 512, 512, 536870912},
      {"shared down", 'W', 512, 256, 1024, 268435456},
      {"shared gate_up", 'W', 512, 512, 1024, 536870912},
      {"ffn gate_up", 'F', 1024, 2816, 512, 2952790016},
      {"ffn gate_up", 'I', 1024, 512, 2816, 2952790016},
      {"ffn gate_up", 'W', 2816, 512, 1024, 2952790016},
      {"ffn down", 'F', 1024, 512, 1408, 1476395008},
      {"ffn down", 'I', 1024, 1408, 512, 1476395008},
      {"ffn down", 'W', 512, 1408, 1024, 1476395008},
      {"head", 'F', 1024, 8192, 512, 8589934592},
      {"head", 'I', 1024, 512, 8192, 8589934592},
      {"head", 'W', 8192, 512, 1024, 8589934592},
  };
  return rows;
}

}  // namespace narrows
