// What a function that can be refused by the world returns: `Result<T>`, a value or an Error in one
// sentence that names the place, what was expected and what was found. `TRY(expr)` unwraps a Result
// or returns its Error to the caller; `ASSERT` is for our own bugs and is always on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace narrows {

enum class ErrorCode { InvalidInput, NotFound, Io, Unsupported, Device };

struct Error {
  ErrorCode code = ErrorCode::InvalidInput;
  std::string message;

  // The same error with context in front: "loading cluster: hwprofiles/x.json:3: ...".
  Error within(std::string_view context) const {
    return {code, std::string(context) + ": " + message};
  }
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

namespace detail {
// The message as one line of bounded length: control characters of foreign text are written as
// \xNN, and what is beyond 500 bytes is cut out of the middle.
std::string one_line(std::string message);
}  // namespace detail

// `return invalid("tp=7: ...")` from any function that returns a Result.
inline tl::unexpected<Error> invalid(std::string message) {
  return tl::unexpected<Error>(
      Error{ErrorCode::InvalidInput, detail::one_line(std::move(message))});
}
inline tl::unexpected<Error> not_found(std::string message) {
  return tl::unexpected<Error>(Error{ErrorCode::NotFound, detail::one_line(std::move(message))});
}
inline tl::unexpected<Error> io_error(std::string message) {
  return tl::unexpected<Error>(Error{ErrorCode::Io, detail::one_line(std::move(message))});
}
inline tl::unexpected<Error> unsupported(std::string message) {
  return tl::unexpected<Error>(Error{ErrorCode::Unsupported, detail::one_line(std::move(message))});
}

namespace detail {
template <typename T>
T take(Result<T>&& result) {
  return std::move(*result);
}
inline void take(Status&&) {}
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);
}  // namespace detail

}  // namespace narrows

// The value of a Result, or `return` its error from the enclosing function.
#define TRY(expression)                                                     \
  __extension__({                                                           \
    auto try_result = (expression);                                         \
    if (!try_result.has_value()) return tl::unexpected(try_result.error()); \
    ::narrows::detail::take(std::move(try_result));                         \
  })

// Our own bug when false; always on.
#define ASSERT(condition)       \
  (static_cast<bool>(condition) \
       ? static_cast<void>(0)   \
       : ::narrows::detail::assertion_failed(#condition, __FILE__, __LINE__))
