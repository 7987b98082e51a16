// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace narrows {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ > 2) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Result<std::string> read_all(int fd, const std::string& name, std::size_t limit) {
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(fmt::format("{}: cannot read: {}", name, std::strerror(errno)));
    if (got == 0) return content;
    if (content.size() + static_cast<std::size_t>(got) > limit) {
      return invalid(
          fmt::format("{}: expected a file of at most {} bytes, found more", name, limit));
    }
    content.append(buffer, static_cast<std::size_t>(got));
  }
}

Status write_all(int fd, std::string_view content, const std::string& name) {
  while (!content.empty()) {
    const ssize_t put = ::write(fd, content.data(), content.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return io_error(fmt::format("{}: cannot write: {}", name, std::strerror(errno)));
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  if (path == "-") return read_all(0, "stdin", limit);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return not_found(fmt::format("{}: no such file", path));
    return io_error(fmt::format("{}: {}", path, std::strerror(errno)));
  }
  if (S_ISDIR(info.st_mode))
    return invalid(fmt::format("{}: expected a file, found a folder", path));
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0)
    return io_error(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  return read_all(file.get(), path, limit);
}

Status write_file(const std::string& path, std::string_view content) {
  const std::string aside = fmt::format("{}.{}.tmp", path, ::getpid());
  {
    const Descriptor file(::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0)
      return io_error(fmt::format("{}: cannot create: {}", path, std::strerror(errno)));
    Status written = write_all(file.get(), content, path);
    if (written && ::fsync(file.get()) != 0 && errno != EINVAL) {
      written = io_error(fmt::format("{}: cannot write: {}", path, std::strerror(errno)));
    }
    if (!written) {
      ::unlink(aside.c_str());
      return written;
    }
  }
  if (::rename(aside.c_str(), path.c_str()) != 0) {
    const std::string reason = std::strerror(errno);
    ::unlink(aside.c_str());
    return io_error(fmt::format("{}: cannot replace: {}", path, reason));
  }
  return {};
}

}  // namespace narrows
