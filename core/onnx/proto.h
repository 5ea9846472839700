// ONNX's protobuf messages and tensors. Only files of this folder include it, so that protobuf
// stays inside.
#pragma once

#include <onnx/onnx.pb.h>

#include "core/octavo.h"
#include "runtime/op.h"

namespace octavo::onnx_io {

/// The DType of a TensorProto::DataType. Errors (kUnsupportedOp) name types that Octavo lacks.
Result<DType> dtype_from_onnx(int32_t data_type);
int32_t dtype_to_onnx(DType dtype);

/// A tensor's elements, from any of the encodings a TensorProto may have. `external_data` may be
/// empty. Sizes are checked before memory is allocated.
Result<Tensor> tensor_from_proto(const onnx::TensorProto& proto,
                                 const ExternalDataReader& external_data);
void tensor_to_proto(const Tensor& tensor, onnx::TensorProto& proto);

/// The newest version of the ai.onnx operators that Octavo's rows follow.
inline constexpr int64_t kNewestOpset = 22;

}  // namespace octavo::onnx_io
