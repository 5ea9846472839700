#include "runtime/status.h"

#include <cstdio>

namespace octavo {

std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidModel: return "invalid_model";
    case ErrorCode::kUnsupportedOp: return "unsupported_op";
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kShapeMismatch: return "shape_mismatch";
    case ErrorCode::kInvalidData: return "invalid_data";
    case ErrorCode::kLimitExceeded: return "limit_exceeded";
    case ErrorCode::kOutOfMemory: return "out_of_memory";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kInternal: return "internal";
  }
  return "unknown";
}

Error::Error(ErrorCode code, std::string message, std::string node, std::string tensor)
    : code(code), message(std::move(message)), node(std::move(node)), tensor(std::move(tensor)) {}
Error::Error(const Error&) = default;
Error::Error(Error&&) noexcept = default;
Error& Error::operator=(const Error&) = default;
Error& Error::operator=(Error&&) noexcept = default;
Error::~Error() = default;

std::string Error::to_string() const {
  std::string text = message;
  if (!node.empty()) text += concat(" (node '", node, "')");
  if (!tensor.empty()) text += concat(" (tensor '", tensor, "')");
  return text;
}

namespace internal {
void append(std::string& out, double number) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.6g", number);
  out += buffer;
}
}  // namespace internal

}  // namespace octavo
