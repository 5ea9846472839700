// The oneDNN backends. They see runtime only; oneDNN's exceptions are caught here.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runtime/backend.h"

namespace octavo {

namespace onednn {
class Device;
}

/// `kind` "cpu", "gpu" or "auto" (the GPU if oneDNN reports one, else the CPU). Error kUnavailable:
/// there is no GPU; says whether oneDNN's GPU runtime or the device is missing.
Result<std::shared_ptr<onednn::Device>> open_device(std::string_view kind);

/// "oneDNN 3.7.2, CPU runtime OpenMP, GPU runtime none".
std::string onednn_description();
/// How oneDNN computes in the type on this CPU: "native (AMX)", "native" or "emulated".
std::string_view onednn_arithmetic(DType dtype);

/// The `default` backend: oneDNN primitives for convolutions and matrix products. What the portable
/// kernels do faster is not claimed (docs/performance.md has the measurements), unless `claim_all`,
/// which is for tests and measurements. `device`: nullptr is the CPU.
std::shared_ptr<Backend> make_onednn_backend(bool claim_all = false,
                                             std::shared_ptr<onednn::Device> device = nullptr);

/// The `itex` backend: the same operators through oneDNN's Graph API, the way Intel's extension for
/// TensorFlow runs a quantized graph.
std::shared_ptr<Backend> make_onednn_graph_backend(
    std::shared_ptr<onednn::Device> device = nullptr);

/// Billions of operations a second of oneDNN's product of two square matrices of 1024 rows, the
/// best of a tenth of a second: what an operator's speed is compared with. `dtype` f32, bf16, f16,
/// u8 or i8.
Result<double> measure_matmul_gops(DType dtype, int threads);

}  // namespace octavo
