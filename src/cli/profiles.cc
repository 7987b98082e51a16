// SPDX-License-Identifier: Apache-2.0
#include "cli/profiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"

namespace narrows {
namespace {

Result<std::vector<EmbeddedFile>> files_of(const std::string& directory, const char* kind) {
  std::vector<EmbeddedFile> files;
  const std::filesystem::path folder = std::filesystem::path(directory) / kind;
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return files;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".json") files.push_back({entry->path().string(), ""});
  }
  if (error) return io_error(fmt::format("{}: cannot list: {}", folder.string(), error.message()));
  std::sort(files.begin(), files.end(),
            [](const EmbeddedFile& a, const EmbeddedFile& b) { return a.path < b.path; });
  for (EmbeddedFile& file : files) file.content = TRY(read_file(file.path));
  return files;
}

}  // namespace

Result<Profiles> open_profiles(const std::optional<std::string>& directory) {
  Profiles profiles{TRY(ProfileLibrary::open(directory)), {}, {}};
  if (directory) {
    profiles.models = TRY(files_of(*directory, "models"));
    profiles.software = TRY(files_of(*directory, "software"));
  }
  return profiles;
}

}  // namespace narrows
