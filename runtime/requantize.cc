#include "runtime/requantize.h"

#include <algorithm>

namespace octavo {

Result<ActivationBounds> activation_bounds(const Node& node) {
  const std::string_view name = node.get_string("activation");
  ActivationBounds bounds;
  if (name.empty()) return bounds;
  if (name == "Relu") {
    bounds.lo = 0;
    return bounds;
  }
  const auto params = node.get_floats("activation_params");
  if (name == "Clip" && params.size() == 2) {
    bounds.lo = params[0];
    bounds.hi = params[1];
    return bounds;
  }
  return fail(ErrorCode::kInvalidModel, "unknown fused activation \"", name,
              "\": it must be Relu, or Clip with two parameters");
}

IntRange quantized_range(DType dtype) {
  switch (dtype) {
    case DType::kI8: return {-128, 127};
    case DType::kU8: return {0, 255};
    case DType::kI4: return {-8, 7};
    case DType::kU4: return {0, 15};
    case DType::kI16: return {-32768, 32767};
    case DType::kU16: return {0, 65535};
    case DType::kI32:
      return {std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()};
    default: return {0, 0};
  }
}

Result<Requantize> make_requantize(const QuantParams& x, const QuantParams& weight,
                                   const QuantParams* y, DType y_dtype, const TensorView& bias,
                                   int64_t channels, const ActivationBounds& activation) {
  const auto count = static_cast<size_t>(channels);
  if (x.scale.size() != 1 || (weight.scale.size() != 1 && weight.scale.size() != count) ||
      (y != nullptr && y->scale.size() != 1) || weight.block_size > 0) {
    return fail(
        ErrorCode::kShapeMismatch,
        "integer arithmetic needs per-tensor activations and weights with one scale, or one "
        "per output channel");
  }
  const IntRange range = quantized_range(y_dtype);
  if (y != nullptr && range.lo == range.hi) {
    return fail(ErrorCode::kShapeMismatch, "a quantized output cannot be ", dtype_name(y_dtype));
  }
  const bool has_bias = bias.present();
  const auto bias_count = has_bias ? static_cast<size_t>(bias.elements()) : 0;
  if (has_bias && bias_count != 1 && bias_count != count) {
    return fail(ErrorCode::kShapeMismatch, "a bias of ", bias_count, " elements for ", channels,
                " output channels");
  }
  if (has_bias && bias.dtype != DType::kI32 && bias.dtype != DType::kF32) {
    return fail(ErrorCode::kShapeMismatch,
                "the bias of an integer operator must be i32 or f32, got ", dtype_name(bias.dtype));
  }
  const bool own_scale = has_bias && bias.quant != nullptr && !bias.quant->scale.empty();
  if (own_scale && bias.quant->scale.size() != 1 && bias.quant->scale.size() != bias_count) {
    return fail(ErrorCode::kShapeMismatch, "the bias has ", bias.quant->scale.size(),
                " scales for ", bias_count, " elements");
  }

  Requantize result;
  result.multiplier.resize(count);
  result.bias.resize(count);
  for (size_t c = 0; c < count; ++c) {
    const float real = x.scale[0] * weight.scale[weight.scale.size() == 1 ? 0 : c];
    result.multiplier[c] = y != nullptr ? real / y->scale[0] : real;
    if (!has_bias) continue;
    const size_t b = bias_count == 1 ? 0 : c;
    float value = 0;
    if (bias.dtype == DType::kF32) {
      value = bias.as<const float>()[b];
    } else {
      const float scale =
          own_scale ? bias.quant->scale[bias.quant->scale.size() == 1 ? 0 : b] : real;
      value = static_cast<float>(bias.as<const int32_t>()[b]) * scale;
    }
    result.bias[c] = y != nullptr ? value / y->scale[0] : value;
  }

  if (y == nullptr) {
    result.lo = activation.lo;
    result.hi = activation.hi;
    return result;
  }
  result.zero_point = static_cast<float>(y->zero_point.empty() ? 0 : y->zero_point[0]);
  const auto bound = [&](float real) {
    const float q = real / y->scale[0] + result.zero_point;
    return std::min(std::max(q, static_cast<float>(range.lo)), static_cast<float>(range.hi));
  };
  result.lo = bound(activation.lo);
  result.hi = bound(activation.hi);
  return result;
}

bool is_redundant(const ActivationBounds& activation, DType y_dtype, const QuantParams& y) {
  const IntRange range = quantized_range(y_dtype);
  const float scale = y.scale[0];
  const auto zero_point = static_cast<float>(y.zero_point[0]);
  return round_half_even(activation.lo / scale) + zero_point <= static_cast<float>(range.lo) &&
         round_half_even(activation.hi / scale) + zero_point >= static_cast<float>(range.hi);
}

}  // namespace octavo
