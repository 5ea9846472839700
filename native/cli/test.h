#pragma once

#include <span>
#include <string>

namespace octavo {

/// `octavo test DIR... [--json]`: runs ONNX backend-test folders. Returns the exit code: 0 if
/// nothing failed.
int test_verb(std::span<const std::string> folders, bool json);

}  // namespace octavo
