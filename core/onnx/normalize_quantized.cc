// QOperator form: one operator with the quantization parameters as inputs. It becomes
// DequantizeLinear -> operator -> QuantizeLinear, which a pass collapses into quantized values.
#include "core/onnx/normalize.h"

namespace octavo::onnx_io {
namespace {

/// A parameter of one element as a scalar, so that it counts as per tensor. (Some exporters write
/// vectors of one element.)
ValueId scalar_parameter(Rewrite& r, ValueId id) {
  const Tensor* tensor = r.builder.constant(id);
  if (tensor == nullptr || tensor->elements() != 1 || tensor->shape().rank() == 0) return id;
  return r.constant("scalar", tensor->reshaped(Shape{}));
}

// x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias
Status qlinear_conv(Rewrite& r) {
  OCTAVO_ASSIGN(const ValueId x, dequantize(r, r.input(0), r.input(1), r.input(2), 1));
  OCTAVO_ASSIGN(const ValueId w, dequantize(r, r.input(3), r.input(4), r.input(5), 0));
  OCTAVO_ASSIGN(const ValueId bias, dequantize_bias(r, r.input(8), r.input(1), r.input(4)));
  OCTAVO_ASSIGN(const ValueId y, r.add(OpKind::kConv, {x, w, bias}, r.node.attributes));
  r.done = true;
  return quantize_to(r, r.node.output(0), y, r.input(6), r.input(7));
}

// a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point. Vectors of parameters
// are per row of a and per column of b.
Status qlinear_matmul(Rewrite& r) {
  OCTAVO_ASSIGN(const ValueId a, dequantize(r, r.input(0), r.input(1), r.input(2), -2));
  OCTAVO_ASSIGN(const ValueId b, dequantize(r, r.input(3), r.input(4), r.input(5), -1));
  OCTAVO_ASSIGN(const ValueId y, r.add(OpKind::kMatMul, {a, b}));
  r.done = true;
  return quantize_to(r, r.node.output(0), y, r.input(6), r.input(7));
}

constexpr RewriteRule kRules[] = {
    {"QLinearConv", 1, 1 << 20, qlinear_conv},
    {"QLinearMatMul", 1, 1 << 20, qlinear_matmul},
};

}  // namespace

Result<ValueId> dequantize(Rewrite& r, ValueId value, ValueId scale, ValueId zero_point,
                           int64_t axis) {
  if (value == kNoValue || scale == kNoValue) {
    return fail(ErrorCode::kInvalidModel, r.op, ": a quantized input or its scale is missing");
  }
  return r.add(OpKind::kDequantizeLinear,
               {value, scalar_parameter(r, scale), scalar_parameter(r, zero_point)},
               {{"axis", axis}});
}

Status quantize_to(Rewrite& r, ValueId output, ValueId value, ValueId scale, ValueId zero_point) {
  if (scale == kNoValue || output == kNoValue) {
    return fail(ErrorCode::kInvalidModel, r.op, ": the output or its scale is missing");
  }
  return r.add_to(output, OpKind::kQuantizeLinear,
                  {value, scalar_parameter(r, scale), scalar_parameter(r, zero_point)});
}

Result<ValueId> dequantize_bias(Rewrite& r, ValueId bias, ValueId scale_a, ValueId scale_b) {
  if (bias == kNoValue) return kNoValue;
  const Tensor* a = r.builder.constant(scale_a);
  const Tensor* b = r.builder.constant(scale_b);
  ValueId scale = kNoValue;
  if (a != nullptr && b != nullptr && a->dtype() == DType::kF32 && b->dtype() == DType::kF32 &&
      a->elements() == 1) {
    OCTAVO_ASSIGN(Tensor product, Tensor::create(DType::kF32, b->shape()));
    for (size_t i = 0; i < product.data<float>().size(); ++i) {
      product.data<float>()[i] = a->data<float>()[0] * b->data<float>()[i];
    }
    scale = r.constant("bias_scale", std::move(product));
  } else {
    OCTAVO_ASSIGN(scale, r.add(OpKind::kMul, {scale_a, scale_b}));
  }
  return dequantize(r, bias, scale, kNoValue, 0);
}

std::span<const RewriteRule> quantized_rules() { return kRules; }

}  // namespace octavo::onnx_io
