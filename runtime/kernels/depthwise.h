// Depthwise convolution (a filter of its own for every channel) on NHWC images.
#pragma once

#include "runtime/kernel_table.h"
#include "runtime/kernels/elementwise.h"

namespace octavo::kernels {

Result<std::unique_ptr<Step>> make_depthwise_f32(const PlanGraph& graph, const Node& node, Layout);
Result<std::unique_ptr<Step>> make_depthwise_bf16(const PlanGraph& graph, const Node& node, Layout);
Result<std::unique_ptr<Step>> make_depthwise_bf16_with_function(const PlanGraph& graph,
                                                                const Node& node,
                                                                const UnaryFunction& function,
                                                                ValueId output);
Result<std::unique_ptr<Step>> make_depthwise_int8(const PlanGraph& graph, const Node& node, Layout);
Result<std::unique_ptr<Step>> make_depthwise_int8_with_table(const PlanGraph& graph,
                                                             const Node& node,
                                                             const ByteTable& table,
                                                             ValueId output);

}  // namespace octavo::kernels
