#include "runtime/ops/common.h"

#include <algorithm>
#include <utility>

namespace octavo::ops {

namespace {
constexpr std::pair<DType, int64_t> kOnnxNumbers[] = {
    {DType::kF32, 1},  {DType::kU8, 2},    {DType::kI8, 3},   {DType::kU16, 4},
    {DType::kI16, 5},  {DType::kI32, 6},   {DType::kI64, 7},  {DType::kString, 8},
    {DType::kBool, 9}, {DType::kF16, 10},  {DType::kF64, 11}, {DType::kU32, 12},
    {DType::kU64, 13}, {DType::kBF16, 16}, {DType::kU4, 21},  {DType::kI4, 22},
};
}  // namespace

DType dtype_from_onnx(int64_t number) {
  for (const auto& [dtype, onnx] : kOnnxNumbers) {
    if (onnx == number) return dtype;
  }
  return DType::kUndefined;
}

int64_t dtype_to_onnx(DType dtype) {
  for (const auto& [ours, onnx] : kOnnxNumbers) {
    if (ours == dtype) return onnx;
  }
  return 0;
}

std::unexpected<Error> bad_dtype(DType dtype) {
  return fail(ErrorCode::kShapeMismatch, "elements of type ", dtype_name(dtype),
              " are not supported here");
}

Status infer_like_input(InferContext& context) {
  context.set_output(0, context.dtype(0), context.shape(0));
  return {};
}

Result<Shape> broadcast_inputs(const InferContext& context) {
  Shape shape;
  for (size_t i = 0; i < context.input_count(); ++i) {
    if (!context.has_input(i)) continue;
    OCTAVO_ASSIGN(shape, broadcast_shapes(shape, context.shape(i)));
  }
  return shape;
}

Status infer_broadcast(InferContext& context) {
  OCTAVO_ASSIGN(const Shape shape, broadcast_inputs(context));
  context.set_output(0, context.dtype(0), shape);
  return {};
}

Result<int64_t> scalar_int(const TensorView& view) {
  if (view.elements() != 1) {
    return fail(ErrorCode::kShapeMismatch, "expected one integer, got a tensor of shape ",
                view.shape.to_string());
  }
  OCTAVO_ASSIGN(const std::vector<int64_t> values, to_int64s(view));
  return values[0];
}

Result<double> scalar_number(const TensorView& view) {
  if (view.elements() != 1) {
    return fail(ErrorCode::kShapeMismatch, "expected one number, got a tensor of shape ",
                view.shape.to_string());
  }
  double value = 0;
  const TensorView out{&value, DType::kF64, view.layout, view.shape};
  if (view.dtype == DType::kString) return bad_dtype(view.dtype);
  OCTAVO_TRY(cast_elements(view, out));
  return value;
}

Result<std::optional<std::vector<int64_t>>> constant_ints(const InferContext& context, size_t i) {
  using Ints = std::optional<std::vector<int64_t>>;
  if (!context.has_input(i)) return Ints(std::in_place);
  if (context.constant(i) == nullptr) return Ints();
  OCTAVO_ASSIGN(std::vector<int64_t> values, to_int64s(*context.constant(i)));
  return Ints(std::move(values));
}

AxisSplit split_axis(const TensorView& view, int axis) {
  const int rank = view.shape.rank();
  const Shape shape = physical_shape(view.shape, view.layout);
  const int at = physical_axis(axis, rank, view.layout);
  return {shape.elements(0, at), shape[at], shape.elements(at + 1, rank)};
}

void copy_elements(const TensorView& in, const TensorView& out) {
  if (in.data == out.data) return;
  visit_dtype_size(in.dtype,
                   [&]<class T>() { std::copy_n(in.as<const T>(), in.elements(), out.as<T>()); });
}

DType widen_half(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 ? DType::kF32 : dtype;
}

DType widen_real(DType dtype) { return dtype_info(dtype).is_float ? DType::kF64 : dtype; }

DType widen_number(DType dtype) {
  const DTypeInfo& info = dtype_info(dtype);
  if (info.is_float) return DType::kF64;
  if (info.is_int) return info.is_signed ? DType::kI64 : DType::kU64;
  return dtype == DType::kBool ? DType::kU64 : dtype;
}

Status run_widened(KernelContext& context, ReferenceFn reference, DType (*widen)(DType)) {
  std::vector<TensorView> inputs(context.inputs.begin(), context.inputs.end());
  std::vector<TensorView> outputs(context.outputs.begin(), context.outputs.end());
  std::vector<DType> narrow(outputs.size(), DType::kUndefined);  // of converted outputs
  std::vector<Tensor> held;
  const auto make = [&](DType dtype, const TensorView& like) -> Result<TensorView> {
    OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, like.shape));
    TensorView view = tensor.view();
    view.layout = like.layout;
    held.push_back(std::move(tensor));
    return view;
  };
  for (TensorView& input : inputs) {
    if (!input.present() || widen(input.dtype) == input.dtype) continue;
    OCTAVO_ASSIGN(const TensorView wide, make(widen(input.dtype), input));
    OCTAVO_TRY(cast_elements(input, wide));
    input = wide;
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (widen(outputs[i].dtype) == outputs[i].dtype) continue;
    narrow[i] = outputs[i].dtype;
    if (outputs[i].data != nullptr) {
      OCTAVO_ASSIGN(outputs[i], make(widen(narrow[i]), outputs[i]));
    } else {
      outputs[i].dtype = widen(narrow[i]);
    }
  }
  KernelContext inner{context.node, inputs, outputs, context.pool, context.runner};
  inner.allocate = [&](size_t i, DType dtype, const Shape& shape) -> Result<TensorView> {
    if (narrow[i] == DType::kUndefined) return context.make_output(i, dtype, shape);
    return make(dtype, TensorView{nullptr, dtype, Layout::kPlain, shape});
  };
  OCTAVO_TRY(reference(inner));
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (narrow[i] == DType::kUndefined || outputs[i].data == nullptr) continue;
    OCTAVO_ASSIGN(const TensorView out, context.make_output(i, narrow[i], outputs[i].shape));
    OCTAVO_TRY(cast_elements(outputs[i], out));
  }
  return {};
}

}  // namespace octavo::ops
