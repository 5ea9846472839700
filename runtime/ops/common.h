// Helpers shared by the families of operator rows.
#pragma once

#include <optional>

#include "runtime/op.h"

namespace octavo::ops {

/// Numbers of ONNX's TensorProto.DataType. kUndefined for types that Octavo does not have.
DType dtype_from_onnx(int64_t number);
/// 0 for kUndefined.
int64_t dtype_to_onnx(DType dtype);

/// "elements of type X are not supported here".
std::unexpected<Error> bad_dtype(DType dtype);

/// Output 0 is like input 0.
Status infer_like_input(InferContext& context);
/// Output 0 has input 0's dtype and the shape to which all inputs broadcast.
Status infer_broadcast(InferContext& context);
/// The shape to which all present inputs broadcast.
Result<Shape> broadcast_inputs(const InferContext& context);

/// The single element of an integer tensor (i32 or i64).
Result<int64_t> scalar_int(const TensorView& view);
/// The single element of a tensor of numbers.
Result<double> scalar_number(const TensorView& view);
/// The integers of constant input i. Absent input: an empty list. Not constant: nullopt.
Result<std::optional<std::vector<int64_t>>> constant_ints(const InferContext& context, size_t i);

/// A view split around one axis of its storage: element (o, a, i) is at (o * dim + a) * inner + i.
struct AxisSplit {
  int64_t outer, dim, inner;
};
AxisSplit split_axis(const TensorView& view, int axis);

/// Copies elements between views of one dtype, shape and layout (nothing to do if they are one).
void copy_elements(const TensorView& in, const TensorView& out);

/// Converts elements as ONNX's Cast: float to integer truncates and saturates, NaN becomes 0,
/// integer to integer keeps the low bits, numbers to strings as numpy prints them.
/// Views have one shape and layout.
Status cast_elements(const TensorView& in, const TensorView& out);

/// f32 for the half-precision types, every other dtype itself.
DType widen_half(DType dtype);
/// f64 for every type of real numbers, every other dtype itself.
DType widen_real(DType dtype);
/// f64, i64 or u64: the type in which sums and comparisons of `dtype` are exact.
DType widen_number(DType dtype);

/// Runs `reference` on inputs and outputs converted by `widen`, which spares it template instances
/// for narrow types.
Status run_widened(KernelContext& context, ReferenceFn reference, DType (*widen)(DType));

/// A reference for rows: `kReference` with half-precision tensors converted to f32 and back.
template <ReferenceFn kReference>
Status half_as_float(KernelContext& context) {
  return run_widened(context, kReference, widen_half);
}

/// The same in double precision: for operators whose float path is a kernel, or is rarely run, one
/// template instance less.
template <ReferenceFn kReference>
Status in_double(KernelContext& context) {
  return run_widened(context, kReference, widen_real);
}

/// An error unless the dtype is f64: what in_double gives a reference.
inline Status check_double(DType dtype) {
  if (dtype != DType::kF64) return bad_dtype(dtype);
  return {};
}

/// fn<T>() for the types of widen_number.
template <class Fn>
Status visit_wide(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::kF64: return fn.template operator()<double>();
    case DType::kI64: return fn.template operator()<int64_t>();
    case DType::kU64: return fn.template operator()<uint64_t>();
    default: return bad_dtype(dtype);
  }
}

}  // namespace octavo::ops
