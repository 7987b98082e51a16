// SPDX-License-Identifier: Apache-2.0
#include "runtime/token_index.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/file.h"

namespace narrows {
namespace {

constexpr std::int32_t kLlmc16 = 20240520;
constexpr std::int32_t kLlmc32 = 20240801;
constexpr std::string_view kMegatron{"MMIDIDX\0\0", 9};
constexpr std::size_t kLongestIndex = std::size_t{8} << 30;

template <typename T>
T load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

bool exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

std::string without_suffix(const std::string& path, std::string_view suffix) {
  return path.ends_with(suffix) ? path.substr(0, path.size() - suffix.size()) : path;
}

std::optional<TokenType> megatron_type(int code) {
  switch (code) {
    case 1:
      return TokenType::U8;
    case 2:
      return TokenType::I8;
    case 3:
      return TokenType::I16;
    case 4:
      return TokenType::I32;
    case 5:
      return TokenType::I64;
    case 8:
      return TokenType::U16;
    default:
      return std::nullopt;  // 6 and 7 are floating point
  }
}

Result<TokenIndex> llmc_index(const std::string& path, std::span<const std::byte> head,
                              std::int64_t size) {
  TokenIndex index;
  index.kind = "llm.c";
  index.type = load<std::int32_t>(head.data()) == kLlmc16 ? TokenType::U16 : TokenType::U32;
  index.tokens = load<std::int32_t>(head.data() + 8);
  const std::int64_t expected = kTokenHeaderBytes + index.tokens * bytes_of(index.type);
  if (index.tokens < 0 || size != expected) {
    return invalid(fmt::format("{}: its header promises {} tokens and so {} bytes, found {} bytes",
                               path, index.tokens, expected, size));
  }
  if (index.tokens > 0) index.runs.push_back({0, index.tokens, kTokenHeaderBytes});
  return index;
}

// The sequences of an index whose lengths and places begin at `at`; neighbours are joined.
Result<TokenIndex> megatron_runs(const std::string& path, std::string_view text, std::int64_t n,
                                 TokenType type, std::int64_t size) {
  TokenIndex index;
  index.kind = "megatron";
  index.type = type;
  const char* const lengths = text.data();
  const char* const places = text.data() + 4 * n;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t count = load<std::int32_t>(lengths + 4 * i);
    const std::int64_t byte = load<std::int64_t>(places + 8 * i);
    const bool fits =
        count >= 0 && byte >= 0 && byte <= size && count <= (size - byte) / bytes_of(type);
    if (!fits) {
      return invalid(
          fmt::format("{}: sequence {} of its index has {} tokens at byte {}, the file "
                      "has {} bytes",
                      path, i, count, byte, size));
    }
    if (count == 0) continue;
    const bool follows = !index.runs.empty() &&
                         index.runs.back().byte + index.runs.back().count * bytes_of(type) == byte;
    if (follows) {
      index.runs.back().count += count;
    } else {
      index.runs.push_back({index.tokens, count, byte});
    }
    index.tokens += count;
  }
  return index;
}

Result<TokenIndex> megatron_index(const std::string& path, std::int64_t size) {
  const std::string name = without_suffix(path, ".bin") + ".idx";
  const std::string text = TRY(read_file(name, kLongestIndex));
  constexpr std::size_t kHead = 9 + 8 + 1 + 8 + 8;
  if (text.size() < kHead || std::string_view(text).substr(0, 9) != kMegatron) {
    return invalid(name + ": expected Megatron's index (\"MMIDIDX\"), found something else");
  }
  const std::uint64_t version = load<std::uint64_t>(text.data() + 9);
  const int code = static_cast<unsigned char>(text[17]);
  const std::int64_t sequences = load<std::int64_t>(text.data() + 18);
  const std::int64_t documents = load<std::int64_t>(text.data() + 26);
  const std::optional<TokenType> type = megatron_type(code);
  if (version != 1 || !type) {
    return invalid(
        fmt::format("{}: expected version 1 with whole-number tokens, found version {} "
                    "with type {}",
                    name, version, code));
  }
  const std::int64_t rest = static_cast<std::int64_t>(text.size() - kHead);
  const bool fits = sequences >= 0 && documents >= 0 && sequences <= rest / 12 &&
                    documents <= (rest - 12 * sequences) / 8;
  if (!fits) {
    return invalid(
        fmt::format("{}: its header promises {} sequences and {} documents, the file "
                    "ends after {} bytes",
                    name, sequences, documents, text.size()));
  }
  return megatron_runs(path, std::string_view(text).substr(kHead), sequences, *type, size);
}

}  // namespace

int bytes_of(TokenType type) {
  switch (type) {
    case TokenType::U8:
    case TokenType::I8:
      return 1;
    case TokenType::I16:
    case TokenType::U16:
      return 2;
    case TokenType::I32:
    case TokenType::U32:
      return 4;
    case TokenType::I64:
      return 8;
  }
  return 1;
}

std::int64_t decode(TokenType type, const std::byte* at) {
  switch (type) {
    case TokenType::U8:
      return load<std::uint8_t>(at);
    case TokenType::I8:
      return load<std::int8_t>(at);
    case TokenType::I16:
      return load<std::int16_t>(at);
    case TokenType::U16:
      return load<std::uint16_t>(at);
    case TokenType::I32:
      return load<std::int32_t>(at);
    case TokenType::U32:
      return load<std::uint32_t>(at);
    case TokenType::I64:
      return load<std::int64_t>(at);
  }
  return 0;
}

std::size_t TokenIndex::run_of(std::int64_t at) const {
  const auto after = std::upper_bound(
      runs.begin(), runs.end(), at, [](std::int64_t n, const TokenRun& r) { return n < r.first; });
  return static_cast<std::size_t>(after - runs.begin()) - 1;
}

std::string data_path(const std::string& path) {
  if (path.ends_with(".idx")) return without_suffix(path, ".idx") + ".bin";
  if (!exists(path) && exists(path + ".idx")) return path + ".bin";
  return path;
}

Result<TokenIndex> index_tokens(const std::string& path, std::span<const std::byte> head,
                                std::int64_t size) {
  if (std::ssize(head) == kTokenHeaderBytes) {
    const std::int32_t magic = load<std::int32_t>(head.data());
    const std::int32_t version = load<std::int32_t>(head.data() + 4);
    const bool is_llmc = (magic == kLlmc16 && version == 1) || (magic == kLlmc32 && version == 7);
    if (is_llmc) return llmc_index(path, head, size);
  }
  if (!path.ends_with(".bin")) {
    TokenIndex text{"text", true, TokenType::U8, size, {}};
    if (size > 0) text.runs.push_back({0, size, 0});
    return text;
  }
  if (!exists(without_suffix(path, ".bin") + ".idx")) {
    return invalid(path + ": expected llm.c's header, or Megatron's .idx beside it, found neither");
  }
  return megatron_index(path, size);
}

}  // namespace narrows
