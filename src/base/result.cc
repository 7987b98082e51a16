// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace narrows::detail {

namespace {

bool inside_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}  // of UTF-8

std::string cut_middle(const std::string& text) {
  std::size_t head = 330;
  std::size_t tail = text.size() - 160;
  while (head > 0 && inside_character(text[head])) --head;
  while (tail < text.size() && inside_character(text[tail])) ++tail;
  return text.substr(0, head) + " ... " + text.substr(tail);
}

}  // namespace

std::string one_line(std::string message) {
  std::string out;
  for (const char c : message.size() > 500 ? cut_middle(message) : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 32 || byte == 127) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "narrows: internal error: %s:%d: %s does not hold; please report this\n",
               file, line, condition);
  std::abort();
}

}  // namespace narrows::detail
