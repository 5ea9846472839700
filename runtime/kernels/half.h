// Half precision (f16, bf16) in the portable backend: the values are stored in 16 bits, the
// arithmetic is float32's.
#pragma once

#include <cstdint>

#include "runtime/kernel_table.h"

namespace octavo::kernels {

inline bool is_half(DType dtype) { return dtype == DType::kF16 || dtype == DType::kBF16; }

/// `count` elements of f16 or bf16 (`dtype`) to f32 and back, as runtime/dtype.h converts them.
void widen_row(DType dtype, const void* x, float* y, int64_t count);
void narrow_row(DType dtype, const float* x, void* y, int64_t count);

/// The float32 kernel, found by `find`, for a node with half-precision values; nullptr if there is
/// none or the node has no such values.
const KernelDef* find_widened(const PlanGraph& graph, const Node& node, FindKernel find);

/// That kernel as a step which widens its inputs and rounds its outputs.
Result<std::unique_ptr<Step>> create_widened(const PlanGraph& graph, const Node& node,
                                             Layout layout, FindKernel find);

}  // namespace octavo::kernels
