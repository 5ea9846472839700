// The oneDNN backends. They see runtime only; oneDNN's exceptions are caught here.
#pragma once

#include <memory>

#include "runtime/backend.h"

namespace octavo {

/// The `default` backend: oneDNN primitives on the CPU for convolutions and matrix products. What
/// the portable kernels do faster is not claimed (docs/performance.md has the measurements), unless
/// `claim_all`, which is for tests and measurements.
std::shared_ptr<Backend> make_onednn_backend(bool claim_all = false);

/// The `itex` backend: the same operators through oneDNN's Graph API, the way Intel's extension for
/// TensorFlow runs a quantized graph.
std::shared_ptr<Backend> make_onednn_graph_backend();

/// Billions of operations a second of oneDNN's product of two square matrices of 1024 rows, the
/// best of a tenth of a second: what an operator's speed is compared with. `dtype` f32, bf16, f16,
/// u8 or i8.
Result<double> measure_matmul_gops(DType dtype, int threads);

}  // namespace octavo
