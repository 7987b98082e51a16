// A file that is read and written by place, by several ranks at once.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace narrows {

class ByteFile {
 public:
  // For reading; NotFound, or InvalidInput for what is no file.
  static Result<ByteFile> open(const std::string& path);
  // For reading and writing. Io with the reason.
  static Result<ByteFile> open_to_write(const std::string& path);
  // A new file of `size` bytes, all of them reserved on the disk: Io where there is no room.
  static Result<ByteFile> create(const std::string& path, std::int64_t size);

  ByteFile() = default;
  ByteFile(ByteFile&& other) noexcept { *this = std::move(other); }
  ByteFile& operator=(ByteFile&& other) noexcept;
  ~ByteFile();

  const std::string& path() const { return path_; }
  std::int64_t size() const { return size_; }  // when it was opened

  // All of `out` from byte `at`; Io where the file ends before. Thread-safe, as all below.
  Status read(std::int64_t at, std::span<std::byte> out) const;
  Status write(std::int64_t at, std::span<const std::byte> content) const;
  // Until the disk has it.
  Status sync() const;

 private:
  static Result<ByteFile> with_flags(const std::string& path, int flags);

  int fd_ = -1;
  std::int64_t size_ = 0;
  std::string path_;
};

// Makes a folder's entries (a rename, a new file) last.
Status sync_folder(const std::string& path);

}  // namespace narrows
