// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <catch2/catch.hpp>

using namespace narrows;

TEST_CASE("result: a message is one printable line, whatever it quotes") {
  CHECK(invalid("tp=7: no").value().message == "tp=7: no");
  CHECK(not_found(std::string("a\nb\0\x1b[31m", 9)).value().message == "a\\x0ab\\x00\\x1b[31m");
  CHECK(io_error("größer → 80 GiB").value().message == "größer → 80 GiB");
}

TEST_CASE("result: a message that quotes 100,000 letters keeps its beginning and its end") {
  const std::string message =
      unsupported("model " + std::string(100'000, 'x') + ": unknown").value().message;
  CHECK(message.size() < 520);
  CHECK(message.starts_with("model xxx"));
  CHECK(message.ends_with("xxx: unknown"));
  // A character of several bytes is not cut apart.
  const std::string cut = invalid(std::string(1'000, 'x').insert(329, "ééé")).value().message;
  CHECK(cut.substr(328, 6) == "x ... ");
}
