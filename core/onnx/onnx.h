// ONNX in and out.
#pragma once

#include "core/octavo.h"

namespace octavo {

/// Imports a ModelProto: every initializer encoding, external data through `options`, model-local
/// functions inlined, opsets 7 to 22 normalised to the one version the op rows know, shapes and
/// dtypes inferred. QOperator nodes (QLinearConv, ...) become DequantizeLinear -> op ->
/// QuantizeLinear. Nothing is optimized.
Result<Graph> import_onnx(std::span<const uint8_t> bytes, const LoadOptions& options);

/// Exports at opset 21 or the lowest that the graph's operators allow. Internal attributes and
/// quantized values are expanded (core/quantization/qdq.h does the latter).
Result<Bytes> export_onnx(const Graph& graph, const OnnxOptions& options = {});

/// The tensor of a serialized TensorProto (the .pb files of ONNX's backend tests). Its data must be
/// in the bytes, not in another file.
Result<Tensor> parse_tensor_proto(std::span<const uint8_t> bytes);

}  // namespace octavo
