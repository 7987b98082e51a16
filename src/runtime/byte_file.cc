// SPDX-License-Identifier: Apache-2.0
#include "runtime/byte_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace narrows {
namespace {

std::string reason() { return std::strerror(errno); }

}  // namespace

ByteFile& ByteFile::operator=(ByteFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

ByteFile::~ByteFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<ByteFile> ByteFile::with_flags(const std::string& path, int flags) {
  ByteFile file;
  file.path_ = path;
  file.fd_ = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (file.fd_ < 0 && errno == ENOENT && (flags & O_CREAT) == 0) {
    return not_found(path + ": no such file");
  }
  if (file.fd_ < 0) return io_error(fmt::format("{}: cannot open: {}", path, reason()));
  struct stat info {};
  if (::fstat(file.fd_, &info) != 0) {
    return io_error(fmt::format("{}: cannot open: {}", path, reason()));
  }
  if (!S_ISREG(info.st_mode)) {
    return invalid(fmt::format("{}: expected a file, found {}", path,
                               S_ISDIR(info.st_mode) ? "a folder" : "something else"));
  }
  file.size_ = info.st_size;
  return file;
}

Result<ByteFile> ByteFile::open(const std::string& path) { return with_flags(path, O_RDONLY); }

Result<ByteFile> ByteFile::open_to_write(const std::string& path) {
  return with_flags(path, O_RDWR);
}

Result<ByteFile> ByteFile::create(const std::string& path, std::int64_t size) {
  ByteFile file = TRY(with_flags(path, O_RDWR | O_CREAT | O_EXCL));
  file.size_ = size;
  if (size == 0) return file;
  const int failed = ::posix_fallocate(file.fd_, 0, size);
  if (failed != 0) {
    return io_error(
        fmt::format("{}: cannot reserve {} bytes: {}", path, size, std::strerror(failed)));
  }
  return file;
}

Status ByteFile::read(std::int64_t at, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(fmt::format("{}: cannot read: {}", path_, reason()));
    if (got == 0) {
      return io_error(
          fmt::format("{}: expected {} more bytes at {}, found the file's end: it has been "
                      "shortened",
                      path_, out.size(), at));
    }
    out = out.subspan(static_cast<std::size_t>(got));
    at += got;
  }
  return {};
}

Status ByteFile::write(std::int64_t at, std::span<const std::byte> content) const {
  while (!content.empty()) {
    const ssize_t put = ::pwrite(fd_, content.data(), content.size(), at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return io_error(fmt::format("{}: cannot write: {}", path_, reason()));
    content = content.subspan(static_cast<std::size_t>(put));
    at += put;
  }
  return {};
}

Status ByteFile::sync() const {
  if (::fsync(fd_) == 0 || errno == EINVAL) return {};
  return io_error(fmt::format("{}: cannot write: {}", path_, reason()));
}

Status sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return io_error(fmt::format("{}: cannot open: {}", path, reason()));
  const bool synced = ::fsync(fd) == 0 || errno == EINVAL;
  const std::string why = reason();
  ::close(fd);
  if (synced) return {};
  return io_error(fmt::format("{}: cannot write: {}", path, why));
}

}  // namespace narrows
