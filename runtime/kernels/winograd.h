// 3x3 convolutions of stride 1 with fewer multiplications than a matrix product takes.
#pragma once

#include "runtime/kernel_table.h"

namespace octavo::kernels {

/// Whether Winograd's algorithm computes the float convolution, and faster than conv_f32.
bool conv_is_winograd(const PlanGraph& graph, const Node& node);

Result<std::unique_ptr<Step>> make_conv_winograd(const PlanGraph& graph, const Node& node, Layout);

}  // namespace octavo::kernels
