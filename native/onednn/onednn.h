// The oneDNN backends. They see runtime only; oneDNN's exceptions are caught here.
#pragma once

#include <memory>

#include "runtime/backend.h"

namespace octavo {

/// The `default` backend: oneDNN primitives on the CPU for convolutions and matrix products. What
/// the portable kernels do faster is not claimed (docs/performance.md has the measurements).
std::shared_ptr<Backend> make_onednn_backend();

}  // namespace octavo
