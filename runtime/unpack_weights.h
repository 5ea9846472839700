// Weights that are stored as integers but meet float activations (weight-only quantization).
#pragma once

#include "runtime/graph.h"

namespace octavo {

/// Constants behind DequantizeLinear become float constants, so that the fast float kernels run.
/// The graph itself if there are none.
Result<std::shared_ptr<const Graph>> unpack_weights(std::shared_ptr<const Graph> graph);

}  // namespace octavo
