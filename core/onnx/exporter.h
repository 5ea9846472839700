// The parts of ONNX export.
#pragma once

#include "runtime/graph.h"

namespace octavo::onnx_io {

/// Rewrites what only Octavo's rows have into ONNX's operators, bodies included: fused activations
/// become Relu or Clip nodes; a MatMul's bias and a Conv's residual become Adds.
Status expand_internals(Graph& graph);

/// The lowest operator set in which the graph's nodes, in the form the rows have, are valid: 18, in
/// which every operator that changed since has its newest form (ReduceX takes axes as an input
/// since 18, Split has num_outputs), or that of the newest operator or type the graph uses.
int64_t required_opset(const Graph& graph);

}  // namespace octavo::onnx_io
