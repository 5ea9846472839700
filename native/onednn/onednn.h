// The oneDNN backends. They see runtime only; oneDNN's exceptions are caught here.
#pragma once

#include <memory>

#include "runtime/backend.h"

namespace octavo {

/// The `default` backend: oneDNN primitives on the CPU for convolutions and matrix products. What
/// the portable kernels do faster is not claimed (docs/performance.md has the measurements).
std::shared_ptr<Backend> make_onednn_backend();

/// The `itex` backend: the same operators through oneDNN's Graph API, the way Intel's extension for
/// TensorFlow runs a quantized graph.
std::shared_ptr<Backend> make_onednn_graph_backend();

}  // namespace octavo
