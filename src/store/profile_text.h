// A store as text that a person can read and others can import: for each machine a few `# key:
// value` lines, a header, and a row an op with the median over all of its rows, its percentiles
// and how many samples they rest on. Equal stores give equal bytes; nothing tells when or by whom.
//
//   # narrows profile
//   # device: NVIDIA H100 80GB HBM3
//   # chip: h100-sxm5
//   # driver: 570.124.06
//   op,direction,recipe,shape,us,us_p10,us_p90,samples
//   matmul,forward,bf16,m=4096;n=2112;k=7168,176.2,175.9,177.4,50
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "store/store.h"

namespace narrows {

// The machines of one chip ("" = all). Read back by `read_timings`. NotFound if there are none.
Result<std::string> profile_text(const Store& store, std::string_view chip = "");

}  // namespace narrows
