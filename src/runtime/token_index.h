// Where the tokens lie in a file of tokens: the formats' headers and indices. Byte orders are
// little-endian, as both formats and this program's machines are.
//
//   llm.c     256 32-bit words: magic, version, count, then zeros; tokens of 16 or 32 bits follow
//   Megatron  NAME.idx: "MMIDIDX\0\0", version 1 (64-bit), type (8-bit), sequences, documents
//             (64-bit), then per sequence its length (32-bit) and its byte in NAME.bin (64-bit)
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace narrows {

enum class TokenType { U8, I8, I16, I32, I64, U16, U32 };
int bytes_of(TokenType type);
std::int64_t decode(TokenType type, const std::byte* at);

// Tokens that lie one after another.
struct TokenRun {
  std::int64_t first = 0;  // its number in the stream
  std::int64_t count = 0;
  std::int64_t byte = 0;  // in the file
};

struct TokenIndex {
  std::string kind;  // "text", "llm.c", "megatron"
  bool is_text = false;
  TokenType type = TokenType::U8;
  std::int64_t tokens = 0;
  std::vector<TokenRun> runs;  // ascending, none empty

  // The run that holds token `at` of the stream.
  std::size_t run_of(std::int64_t at) const;
};

inline constexpr std::int64_t kTokenHeaderBytes = 1024;

// The file that holds the tokens: NAME.bin for Megatron's NAME.idx or bare NAME, else the path.
std::string data_path(const std::string& path);
// `head` is the file's first kTokenHeaderBytes (or all of it), `size` its bytes. InvalidInput where
// header, index and file disagree.
Result<TokenIndex> index_tokens(const std::string& path, std::span<const std::byte> head,
                                std::int64_t size);

}  // namespace narrows
