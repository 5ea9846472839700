// QuantizeLinear and DequantizeLinear, with parameters as inputs (ONNX's own operators) or on the
// quantized value (one input), and the operators on explicit integers.
#include <algorithm>

#include "runtime/ops/common.h"
#include "runtime/ops/convolve.h"
#include "runtime/ops/families.h"
#include "runtime/ops/matrix.h"
#include "runtime/quantize_view.h"
#include "runtime/requantize.h"

namespace octavo::ops {
namespace {

Result<std::vector<int32_t>> zero_points_of(const TensorView& view) {
  if (view.dtype == DType::kString || view.dtype == DType::kBool) return bad_dtype(view.dtype);
  const int64_t count = view.elements();
  OCTAVO_ASSIGN(const Tensor wide, Tensor::create(DType::kI32, view.shape));
  OCTAVO_TRY(cast_elements(view, wide.view()));
  return std::vector<int32_t>(wide.data<int32_t>().begin(), wide.data<int32_t>().begin() + count);
}

/// Parameters of a tensor of shape `x` from scale and zero point tensors and the attributes axis
/// and block_size.
Result<QuantParams> params_from_inputs(const Node& node, const Shape& x, const TensorView& scale,
                                       const TensorView& zero_point) {
  QuantParams quant;
  OCTAVO_ASSIGN(const Tensor scales, Tensor::create(DType::kF32, scale.shape));
  if (!dtype_info(scale.dtype).is_float) return bad_dtype(scale.dtype);
  OCTAVO_TRY(cast_elements(scale, scales.view()));
  quant.scale.assign(scales.data<float>().begin(), scales.data<float>().end());
  quant.zero_point.resize(quant.scale.size());
  if (zero_point.present()) {
    OCTAVO_ASSIGN(quant.zero_point, zero_points_of(zero_point));
  }
  if (quant.zero_point.size() != quant.scale.size()) {
    return fail(ErrorCode::kShapeMismatch, quant.scale.size(), " scales but ",
                quant.zero_point.size(), " zero points");
  }
  int64_t block = node.get_int("block_size");
  if (block < 0) return fail(ErrorCode::kInvalidModel, "block_size is negative");
  if (block == 0 && quant.scale.size() == 1 && scale.shape.rank() <= 1) return quant;
  OCTAVO_ASSIGN(quant.axis, normalize_axis(node.get_int("axis"), x.rank()));
  const int64_t dim = x[quant.axis];
  block = std::min(block, std::max<int64_t>(dim, 1));
  quant.block_size = block;
  Shape expected{dim};
  if (block > 0) {
    expected = x;
    expected[quant.axis] = (dim + block - 1) / block;
  }
  if (!(scale.shape == expected)) {
    return fail(ErrorCode::kShapeMismatch, "the scale has shape ", scale.shape.to_string(),
                " instead of ", expected.to_string());
  }
  return quant;
}

/// `view` as f32; `holder` keeps what had to be converted.
Result<TensorView> real_numbers(const TensorView& view, Tensor& holder) {
  if (view.dtype == DType::kF32) return view;
  OCTAVO_ASSIGN(holder, Tensor::create(DType::kF32, view.shape));
  TensorView made = holder.view();
  made.layout = view.layout;
  if (view.quant != nullptr) {
    OCTAVO_TRY(dequantize_view(view, made.as<float>()));
  } else {
    OCTAVO_TRY(cast_elements(view, made));
  }
  return made;
}

Status infer_quantize(InferContext& context) {
  DType dtype = DType::kU8;
  if (context.has_input(2)) {
    dtype = context.dtype(2);
  } else if (const int64_t number = context.node.get_int("output_dtype"); number != 0) {
    dtype = dtype_from_onnx(number);
    if (dtype == DType::kUndefined) {
      return fail(ErrorCode::kUnsupportedOp, "cannot quantize to ONNX data type ", number);
    }
  }
  context.set_output(0, dtype, context.shape(0));
  return {};
}

Status quantize_linear(KernelContext& context) {
  Tensor holder;
  OCTAVO_ASSIGN(const TensorView x, real_numbers(context.in(0), holder));
  OCTAVO_ASSIGN(TensorView out, context.make_output(0, context.out(0).dtype, context.in(0).shape));
  if (!context.has_input(1)) {
    if (out.quant == nullptr) {
      return fail(ErrorCode::kInvalidModel, "neither a scale nor a quantized output");
    }
    return quantize_view(x.as<const float>(), out);
  }
  OCTAVO_ASSIGN(const QuantParams quant,
                params_from_inputs(context.node, x.shape, context.in(1),
                                   context.has_input(2) ? context.in(2) : TensorView{}));
  out.quant = &quant;
  return quantize_view(x.as<const float>(), out);
}

Status infer_dequantize(InferContext& context) {
  context.set_output(0, context.has_input(1) ? context.dtype(1) : DType::kF32, context.shape(0));
  return {};
}

Status dequantize_linear(KernelContext& context) {
  TensorView x = context.in(0);
  QuantParams quant;
  if (context.has_input(1)) {
    OCTAVO_ASSIGN(quant, params_from_inputs(context.node, x.shape, context.in(1),
                                            context.has_input(2) ? context.in(2) : TensorView{}));
    x.quant = &quant;
  } else if (x.quant == nullptr) {
    return fail(ErrorCode::kInvalidModel, "neither a scale nor a quantized input");
  }
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, context.out(0).dtype, x.shape));
  if (out.dtype == DType::kF32) return dequantize_view(x, out.as<float>());
  Tensor holder;
  OCTAVO_ASSIGN(holder, Tensor::create(DType::kF32, x.shape));
  OCTAVO_TRY(dequantize_view(x, holder.data<float>().data()));
  TensorView real = holder.view();
  real.layout = out.layout;
  return cast_elements(real, out);
}

Status infer_dynamic_quantize(InferContext& context) {
  context.set_output(0, DType::kU8, context.shape(0));
  context.set_output(1, DType::kF32, Shape{});
  context.set_output(2, DType::kU8, Shape{});
  return {};
}

Status dynamic_quantize(KernelContext& context) {
  const TensorView& x = context.in(0);
  if (x.dtype != DType::kF32) return bad_dtype(x.dtype);
  float lo = 0, hi = 0;
  for (const float value : x.span<const float>()) {
    lo = std::min(lo, value);
    hi = std::max(hi, value);
  }
  const float scale = (hi - lo) / 255.0f;
  const int32_t zero_point = scale > 0 ? saturate_round<uint8_t>(-lo / scale) : 0;
  const QuantParams quant{{scale}, {zero_point}};
  OCTAVO_ASSIGN(TensorView out, context.make_output(0, DType::kU8, x.shape));
  out.quant = &quant;
  OCTAVO_TRY(quantize_view(x.as<const float>(), out));
  if (context.has_output(1)) {
    OCTAVO_ASSIGN(const TensorView y, context.make_output(1, DType::kF32, Shape{}));
    *y.as<float>() = scale;
  }
  if (context.has_output(2)) {
    OCTAVO_ASSIGN(const TensorView y, context.make_output(2, DType::kU8, Shape{}));
    *y.as<uint8_t>() = static_cast<uint8_t>(zero_point);
  }
  return {};
}

Status infer_matmul_integer(InferContext& context) {
  context.set_output(0, DType::kI32);
  if (!context.shape(0).has_rank() || !context.shape(1).has_rank()) return {};
  OCTAVO_ASSIGN(const MatMulDims dims, matmul_dims(context.shape(0), context.shape(1)));
  context.output(0).shape = dims.output;
  return {};
}

/// An i8 or u8 operand minus zero point input `zero_input`.
Result<Tensor> centered_input(const KernelContext& context, const TensorView& view,
                              size_t zero_input, bool along_rows) {
  if (view.dtype != DType::kI8 && view.dtype != DType::kU8) return bad_dtype(view.dtype);
  std::vector<int32_t> zero_points;
  if (context.has_input(zero_input)) {
    OCTAVO_ASSIGN(zero_points, zero_points_of(context.in(zero_input)));
  }
  return centered(view, zero_points, along_rows);
}

Status matmul_integer(KernelContext& context) {
  OCTAVO_ASSIGN(const MatMulDims dims, matmul_dims(context.in(0).shape, context.in(1).shape));
  OCTAVO_ASSIGN(const Tensor a, centered_input(context, context.in(0), 2, true));
  OCTAVO_ASSIGN(const Tensor b, centered_input(context, context.in(1), 3, false));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, DType::kI32, dims.output));
  for (int64_t i = 0, batches = dims.batch.elements(); i < batches; ++i) {
    const auto [at_a, at_b] = dims.matrices(i);
    multiply(context.pool, static_cast<const uint32_t*>(a.raw()) + at_a * dims.m * dims.k, dims.k,
             1, static_cast<const uint32_t*>(b.raw()) + at_b * dims.k * dims.n,
             out.as<uint32_t>() + i * dims.m * dims.n, dims.m, dims.n, dims.k);
  }
  return {};
}

Status infer_conv_integer(InferContext& context) {
  context.set_output(0, DType::kI32);
  if (!context.shape(0).has_rank() || !context.shape(1).has_rank()) return {};
  OCTAVO_ASSIGN(context.output(0).shape,
                conv_output_shape(context.node, context.shape(0), context.shape(1)));
  return {};
}

Status conv_integer(KernelContext& context) {
  const TensorView& x = context.in(0);
  const TensorView& w = context.in(1);
  OCTAVO_ASSIGN(const ConvShape shape, conv_shape(context.node, x.shape, w.shape));
  OCTAVO_ASSIGN(const Shape out_shape, conv_output_shape(context.node, x.shape, w.shape));
  OCTAVO_ASSIGN(const Tensor a, centered_input(context, context.in(0), 2, false));
  // One zero point for all weights or one per output channel: rows of the weights as a matrix.
  TensorView matrix = w;
  const int64_t channels = w.shape[0];
  matrix.shape = Shape{channels, w.shape.elements(1, w.shape.rank())};
  OCTAVO_ASSIGN(const Tensor b, centered_input(context, matrix, 3, true));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, DType::kI32, out_shape));
  std::fill_n(out.as<int32_t>(), out.elements(), 0);
  convolve(shape, static_cast<const uint32_t*>(a.raw()), static_cast<const uint32_t*>(b.raw()),
           out.as<uint32_t>(), context.pool);
  return {};
}

constexpr FieldDef kConvIntegerFields[] = {
    string_field("auto_pad", "NOTSET"), ints_field("dilations", 1), int_field("group", 1),
    ints_field("kernel_shape"),         ints_field("pads", 0),      ints_field("strides", 1)};
constexpr FieldDef kQuantizeFields[] = {int_field("axis", 1), int_field("saturate", 1),
                                        int_field("block_size", 0), int_field("output_dtype", 0)};
// `form`: how an exported file has the constant weights behind the node, if not as one
// (core/onnx/matmul_nbits.h).
constexpr FieldDef kDequantizeFields[] = {int_field("axis", 1), int_field("block_size", 0),
                                          internal_field(string_field("form"))};

constexpr OpDef kRows[] = {
    {.kind = OpKind::kQuantizeLinear,
     .name = "QuantizeLinear",
     .max_inputs = 3,
     .fields = kQuantizeFields,
     .infer = infer_quantize,
     .reference = quantize_linear,
     .layout = LayoutRule::kAgnostic,
     .flags = kIntegerReference},
    {.kind = OpKind::kDequantizeLinear,
     .name = "DequantizeLinear",
     .max_inputs = 3,
     .fields = kDequantizeFields,
     .infer = infer_dequantize,
     .reference = dequantize_linear,
     .layout = LayoutRule::kAgnostic,
     .flags = kIntegerReference},
    {.kind = OpKind::kDynamicQuantizeLinear,
     .name = "DynamicQuantizeLinear",
     .min_outputs = 3,
     .max_outputs = 3,
     .infer = infer_dynamic_quantize,
     .reference = dynamic_quantize},
    {.kind = OpKind::kConvInteger,
     .name = "ConvInteger",
     .min_inputs = 2,
     .max_inputs = 4,
     .fields = kConvIntegerFields,
     .infer = infer_conv_integer,
     .reference = conv_integer},
    {.kind = OpKind::kMatMulInteger,
     .name = "MatMulInteger",
     .min_inputs = 2,
     .max_inputs = 4,
     .infer = infer_matmul_integer,
     .reference = matmul_integer},
};

}  // namespace

std::span<const OpDef> quantize_ops() { return kRows; }

}  // namespace octavo::ops
