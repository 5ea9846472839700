#include "core/quantization/params.h"

#include <algorithm>
#include <cmath>

#include "core/calibration/range.h"
#include "runtime/quantize_view.h"
#include "runtime/requantize.h"

namespace octavo {
namespace {

// int32 with room for the accumulator of the products that are added to the bias.
constexpr double kMaxBias = 1 << 30;

IntRange bounds_of(DType dtype, bool reduced) {
  const IntRange full = quantized_range(dtype);
  if (!reduced) return full;
  return full.lo == 0 ? IntRange{0, full.hi / 2} : IntRange{full.lo / 2, -full.lo / 2};
}

// How many integers of the type are at and above the middle one: 128 of 8 bits.
int32_t half_of(DType dtype) {
  const IntRange full = quantized_range(dtype);
  return static_cast<int32_t>((full.hi - full.lo + 1) / 2);
}

// Symmetric activations are unsigned but for int16.
DType activation_type(const StaticQuantConfig& config) {
  const DType dtype = integer_type(config.act_dtype);
  if (!config.act_sym || dtype == DType::kI16) return dtype;
  return dtype == DType::kI4 ? DType::kU4 : dtype == DType::kI8 ? DType::kU8 : dtype;
}

float max_magnitude(const Range& range) {
  return std::max(std::fabs(range.min), std::fabs(range.max));
}

float at_least_min(double scale) { return std::max(static_cast<float>(scale), kMinScale); }

int levels_of(DType dtype, bool reduced) { return (reduced ? 1 : 2) * half_of(dtype); }

// The range of one group of weights under weight_algorithm.
Result<Range> weight_range(std::span<const float> values, DType dtype,
                           const StaticQuantConfig& config) {
  OCTAVO_ASSIGN(const Range extremes, finite_range(values));
  if (config.weight_algorithm == "minmax") return extremes;
  Collector collector;
  OCTAVO_TRY(collector.observe({.data = const_cast<float*>(values.data()),  // only read
                                .dtype = DType::kF32,
                                .shape = Shape{static_cast<int64_t>(values.size())}}));
  OCTAVO_TRY(collector.commit(0));
  return choose_range(collector, {.algorithm = config.weight_algorithm,
                                  .percentile = config.percentile,
                                  .levels = levels_of(dtype, config.reduce_range),
                                  .grid = config.weight_sym ? Grid::kSigned : Grid::kAsymmetric,
                                  .kl_levels = static_cast<int>(config.num_quantized_bins)});
}

// Scale and zero point of one group of weights.
ScaleZero weight_scale(const Range& range, DType dtype, const StaticQuantConfig& config) {
  if (!config.weight_sym) return asymmetric_scale(range, dtype, config.reduce_range);
  const int32_t half = half_of(dtype);
  const double steps = config.reduce_range ? half / 2.0 : half - (config.narrow_range ? 1.0 : 0.5);
  return {at_least_min(max_magnitude(range) / steps), dtype_info(dtype).is_signed ? 0 : half};
}

}  // namespace

DType integer_type(std::string_view option) {
  const size_t at = option.find("int");
  if (at == std::string_view::npos) return DType::kUndefined;
  return dtype_from_name(concat(at == 0 ? "i" : "u", option.substr(at + 3)));
}

std::string integer_name(DType dtype) {
  const std::string_view name = dtype_name(dtype);  // "u16"
  return concat(name.starts_with('u') ? "uint" : "int", name.substr(1));
}

ScaleZero asymmetric_scale(const Range& range, DType dtype, bool reduced) {
  const IntRange bounds = bounds_of(dtype, reduced);
  const auto low = static_cast<double>(bounds.lo), high = static_cast<double>(bounds.hi);
  const double min = std::min(range.min, 0.0f), max = std::max(range.max, 0.0f);
  const double scale = (max - min) / (high - low);
  if (scale < kMinScale) return {1.0f, 0};
  const double zero_point = std::nearbyint(low - min / scale);
  // The largest finite range overflows float by rounding.
  const float rounded = std::min(static_cast<float>(scale), std::numeric_limits<float>::max());
  return {rounded, static_cast<int32_t>(std::clamp(zero_point, low, high))};
}

Result<Range> activation_range(const Collector& collector, bool is_input,
                               const StaticQuantConfig& config) {
  return choose_range(collector,
                      {.algorithm = config.act_algorithm,
                       .percentile = config.percentile,
                       .averaging_constant = config.averaging_constant,
                       .levels = levels_of(activation_type(config), config.act_reduce_range),
                       .grid = config.act_sym && !is_input ? Grid::kSymmetric : Grid::kAsymmetric,
                       .kl_levels = static_cast<int>(config.num_quantized_bins)});
}

TensorQuant activation_params(const Range& range, bool is_input, const StaticQuantConfig& config) {
  const DType dtype = activation_type(config);
  const int32_t half = half_of(dtype);
  const bool is_16x8 = config.act_sym && dtype == DType::kI16;
  ScaleZero chosen;
  if (!is_16x8 && (!config.act_sym || range.min >= 0 || is_input)) {
    chosen = asymmetric_scale(range, dtype, config.act_reduce_range);
  } else {
    const double scale = max_magnitude(range) / ((config.act_reduce_range ? half / 2 : half) - 1);
    chosen = {scale < kMinScale ? 1.0f : static_cast<float>(scale), is_16x8 ? 0 : half};
  }
  return {dtype, {.scale = {chosen.scale}, .zero_point = {chosen.zero_point}}};
}

TensorQuant fixed_params(float scale, bool is_signed, const StaticQuantConfig& config) {
  const DType dtype = activation_type(config);
  const int32_t half = half_of(dtype);
  const float step = scale * 128 / static_cast<float>(half);  // powers of two: exact
  if (config.act_sym && dtype == DType::kI16) {
    return {dtype, {.scale = {is_signed ? step : 2 * step}, .zero_point = {0}}};
  }
  const int32_t low = dtype_info(dtype).is_signed ? -half : 0;
  return {dtype, {.scale = {step}, .zero_point = {is_signed ? low + half : low}}};
}

Result<TensorQuant> weight_params(const Tensor& weights, int axis,
                                  const StaticQuantConfig& config) {
  TensorQuant quant;
  quant.dtype = integer_type(config.weight_dtype);
  const auto data = weights.data<const float>();
  const Shape& shape = weights.shape();
  size_t channels = 1;
  if (config.weight_granularity == "per_channel" && shape.rank() >= 2 && shape[axis] > 0) {
    quant.params.axis = axis;
    channels = static_cast<size_t>(shape[axis]);
  }
  // The channels' values, one channel after another.
  const size_t per_channel = data.size() / channels;
  std::vector<float> values;
  values.reserve(data.size());
  if (quant.params.axis < 0) {
    values.assign(data.begin(), data.end());
  } else {
    const auto inner = static_cast<size_t>(shape.elements(axis + 1, shape.rank()));
    for (size_t c = 0; c < channels; ++c) {
      for (size_t run = c; run < data.size() / std::max<size_t>(inner, 1); run += channels) {
        values.insert(values.end(), data.begin() + static_cast<int64_t>(run * inner),
                      data.begin() + static_cast<int64_t>((run + 1) * inner));
      }
    }
  }
  for (size_t c = 0; c < channels; ++c) {
    const auto range =
        weight_range(std::span(values).subspan(c * per_channel, per_channel), quant.dtype, config);
    if (!range) {
      return fail(ErrorCode::kInvalidModel, "the weights hold ", range.error().message, " values");
    }
    const auto [scale, zero_point] = weight_scale(*range, quant.dtype, config);
    quant.params.scale.push_back(scale);
    quant.params.zero_point.push_back(zero_point);
  }
  return quant;
}

void fit_bias(std::span<const float> bias, float input_scale, QuantParams& weights) {
  for (size_t c = 0; c < bias.size(); ++c) {
    float& scale = weights.scale[c % weights.scale.size()];
    const double smallest = std::fabs(static_cast<double>(bias[c])) / (kMaxBias * input_scale);
    if (scale < smallest) scale = static_cast<float>(smallest * (1 + 1e-6));
  }
}

Result<Tensor> round_bias(const Tensor& bias, float input_scale, const QuantParams& weights) {
  OCTAVO_ASSIGN(Tensor out, Tensor::create(DType::kF32, bias.shape()));
  const auto in = bias.data<const float>();
  for (size_t c = 0; c < in.size(); ++c) {
    const double scale = static_cast<double>(input_scale) * weights.scale[c % weights.scale.size()];
    out.data<float>()[c] = static_cast<float>(std::nearbyint(in[c] / scale) * scale);
  }
  return out;
}

Result<Tensor> quantize_tensor(const Tensor& real, const TensorQuant& quant) {
  OCTAVO_ASSIGN(Tensor out, Tensor::create(quant.dtype, real.shape()));
  OCTAVO_TRY(quantize_view(real.data<const float>().data(), out.view(&quant.params)));
  return out;
}

}  // namespace octavo
