// Whole files in and out. `-` is stdin for reading.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace narrows {

// The content of a regular file (or stdin for "-"). NotFound, or Io with the reason; a folder is
// refused by name, and so is a file of more than `limit` bytes.
Result<std::string> read_file(const std::string& path, std::size_t limit = 256u << 20);

// Writes aside and renames, so that a reader sees the old content or the new, never a part. Io with
// the reason.
Status write_file(const std::string& path, std::string_view content);

}  // namespace narrows
