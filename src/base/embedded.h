// Text files compiled into the program by cmake/embed.cmake, so that it needs no file beside
// itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace narrows {

struct EmbeddedFile {
  std::string path;  // relative to the repository root
  std::string content;
};

}  // namespace narrows
