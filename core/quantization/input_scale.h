// Division of the input channels of matrix products, for algorithms that multiply their weights by
// the same factors (SmoothQuant, AWQ).
#pragma once

#include <optional>
#include <span>

#include "core/graph_edit.h"

namespace octavo {

/// A matrix product with constant weights whose input channels can be scaled: MatMul and Gemm with
/// weights of rank 2, Conv without groups.
struct ScalableLayer {
  NodeId node = -1;
  int data_axis = -1;   // channels of input 0; -1: the last
  int weight_axis = 0;  // input channels of input 1
  int64_t channels = 0;
};
/// nullopt if the node is none.
std::optional<ScalableLayer> scalable_layer(const Graph& graph, NodeId node);

/// Makes `reader` read its data input with channel c divided by scales[c]: by a Mul node.
Status divide_input(GraphEditor& editor, NodeId reader, int data_axis,
                    std::span<const float> scales);

/// Divides the channels of `value` itself by scales, where that can be done in the weights of what
/// computes it: Conv, MatMul, Gemm (without activation or with Relu), LayerNormalization, Mul by a
/// vector. False, and nothing is changed, if it cannot.
Result<bool> divide_at_producer(GraphEditor& editor, ValueId value, int data_axis,
                                std::span<const float> scales);

/// Multiplies slice c of `axis` of a node's constant input by factors[c]; other readers keep
/// theirs.
Status scale_input_constant(GraphEditor& editor, NodeId node, size_t slot, int axis,
                            std::span<const float> factors);

}  // namespace octavo
