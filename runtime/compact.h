// The .octavo file (runtime/compact.fbs): a graph, its weights usable in place.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/graph.h"

namespace octavo {

inline constexpr int kCompactVersion = 1;

/// True if the bytes begin as a .octavo file does.
bool is_compact(std::span<const uint8_t> bytes);

/// Reads a graph. With `owner` (which keeps `bytes` alive) the weights stay where they are,
/// otherwise they are copied. Every offset and size is checked first.
/// Errors: kInvalidModel, kUnsupportedOp (names the operators), kLimitExceeded.
Result<Graph> read_compact(std::span<const uint8_t> bytes, std::shared_ptr<const void> owner);

Result<std::vector<uint8_t>> write_compact(const Graph& graph);

}  // namespace octavo
