// Integers of 4 and 16 bits: there are no integer kernels for them (sums of 16-bit products do not
// fit int32).
#pragma once

#include "runtime/graph.h"

namespace octavo {

/// Operators that read or make activations of 4 or 16 bits get floats, between DequantizeLinear and
/// QuantizeLinear nodes, so that every backend's float kernels run them. Constants of 4 bits become
/// the same integers in 8 bits, which integer kernels take. Values keep their ids. The graph itself
/// if there are none.
Result<std::shared_ptr<const Graph>> compute_in_float(std::shared_ptr<const Graph> graph);

}  // namespace octavo
