// Errors are values: every fallible function returns Result<T> (or Status), which must be used.
// No exception crosses an interface, so that the same code runs natively and in WebAssembly.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace octavo {

enum class ErrorCode : uint8_t {
  kInvalidModel,     // the model's bytes or structure are wrong
  kUnsupportedOp,    // the model uses operators that Octavo does not have
  kInvalidArgument,  // an option, a name or a call is wrong
  kShapeMismatch,    // shapes or dtypes do not fit together
  kInvalidData,      // calibration or input data is wrong (NaN, unreadable image, ...)
  kLimitExceeded,    // a stated limit (runtime/limits.h) would be passed
  kOutOfMemory,
  kNotFound,  // a named thing (file, tensor, node, option) does not exist
  kIo,
  kUnavailable,  // a backend or device is missing on this machine
  kCancelled,
  kInternal,
};

std::string_view error_code_name(ErrorCode code);

/// What went wrong, where, and (in the message) what to do about it.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  std::string node;    // name of the node concerned, if any
  std::string tensor;  // name of the tensor concerned, if any

  Error(ErrorCode code, std::string message, std::string node = {}, std::string tensor = {});
  // Not inline: every function that may fail moves and destroys errors.
  Error(const Error&);
  Error(Error&&) noexcept;
  Error& operator=(const Error&);
  Error& operator=(Error&&) noexcept;
  ~Error();

  /// One line: message, then node and tensor names.
  std::string to_string() const;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

/// std::unexpected holding an Error; lets a function `return fail(code, "...", x, "...")`.
template <class... Parts>
[[nodiscard]] std::unexpected<Error> fail(ErrorCode code, const Parts&... parts);

namespace internal {
inline void append(std::string& out, std::string_view text) { out += text; }
inline void append(std::string& out, const char* text) { out += text; }
inline void append(std::string& out, const std::string& text) { out += text; }
inline void append(std::string& out, char c) { out += c; }
void append(std::string& out, double number);
inline void append(std::string& out, float number) { append(out, static_cast<double>(number)); }
template <class T>
  requires std::is_integral_v<T>
void append(std::string& out, T number) {
  out += std::to_string(number);
}
}  // namespace internal

/// The parts as one string. (std::format would add 290 KB to the WebAssembly module.)
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::string out;
  (internal::append(out, parts), ...);
  return out;
}

template <class... Parts>
std::unexpected<Error> fail(ErrorCode code, const Parts&... parts) {
  return std::unexpected(Error{code, concat(parts...)});
}

}  // namespace octavo

#define OCTAVO_CONCAT_IMPL(a, b) a##b
#define OCTAVO_CONCAT(a, b) OCTAVO_CONCAT_IMPL(a, b)

/// Returns the error of a Status or Result expression, if there is one.
#define OCTAVO_TRY(expr)                                        \
  do {                                                          \
    if (auto octavo_status = (expr); !octavo_status)            \
      return std::unexpected(std::move(octavo_status).error()); \
  } while (false)

/// OCTAVO_ASSIGN(auto x, f()): the value of a Result, or returns its error.
#define OCTAVO_ASSIGN(lhs, expr) \
  OCTAVO_ASSIGN_IMPL(OCTAVO_CONCAT(octavo_result_, __LINE__), lhs, expr)
#define OCTAVO_ASSIGN_IMPL(tmp, lhs, expr)                  \
  auto tmp = (expr);                                        \
  if (!tmp) return std::unexpected(std::move(tmp).error()); \
  lhs = *std::move(tmp)
