// Float kernels in one fixed summation order: for make_deterministic_backend().
#pragma once

#include "runtime/kernel_table.h"
#include "runtime/kernels/gemm.h"

namespace octavo::kernels {

/// Runs float products in the fixed order; not for int8 ones, which are exact in any.
GemmTarget fixed_order_target();

bool matmul_is_f32(const PlanGraph& graph, const Node& node);

// What KernelDef::create wants.
Result<std::unique_ptr<Step>> make_conv_fixed_order(const PlanGraph& graph, const Node& node,
                                                    Layout);
Result<std::unique_ptr<Step>> make_matmul_fixed_order(const PlanGraph& graph, const Node& node,
                                                      Layout);

}  // namespace octavo::kernels
