// Between quantized values and ONNX's notation for them, in which every operator works on floats
// and stands between DequantizeLinear and QuantizeLinear nodes ("QDQ").
#pragma once

#include "runtime/graph.h"

namespace octavo {

/// The graph in QDQ notation: no value has `quant`, every QuantizeLinear and DequantizeLinear has
/// its scale and zero point as inputs.
///
///   quantized v computed by an operator    op -> v_real; QuantizeLinear(v_real, scale, zero) -> v
///   quantized v read by an operator        DequantizeLinear(v, scale, zero) -> v_dequantized -> op
///   quantized constant                     integer constant, DequantizeLinear
///   i32 bias                               the same without a zero point
///
/// Graph inputs and outputs that are integers stay integers. Errors: kInvalidModel if parameters
/// have no ONNX form (an i32 value with a zero point).
Result<Graph> expand_qdq(const Graph& graph);

/// The inverse, as a pass: QuantizeLinear and DequantizeLinear with constant parameters move onto
/// values (`Value::quant`), and operators between them whose rows have an integer form (QuantRule)
/// then work on the integers. A Relu or Clip between an operator and its QuantizeLinear is fused,
/// or dropped if the integers' range clamps anyway. Parameters computed at run time stay as they
/// are. Returns the number of nodes changed. Errors: kInvalidModel for scales that are not positive
/// and finite; names the node.
Result<int> collapse_qdq(Graph& graph);

}  // namespace octavo
