// Whole tensors between integers with QuantParams and float32, any layout, per tensor, per channel
// or per block: the formulas of runtime/quant.h.
#pragma once

#include "runtime/graph.h"

namespace octavo {

/// QuantizeLinear and DequantizeLinear: nodes that change the precision and compute nothing else.
inline bool is_conversion(const Node& node) {
  return node.kind == OpKind::kQuantizeLinear || node.kind == OpKind::kDequantizeLinear;
}

/// Reads `in` (with quant, an integer dtype of at most 32 bits) into `out`: in.elements() floats in
/// the same storage order.
Status dequantize_view(const TensorView& in, float* out);

/// Writes `in` (in.elements() floats in out's storage order) to `out` (with quant).
Status quantize_view(const float* in, const TensorView& out);

}  // namespace octavo
