#include "core/quantization/params.h"

#include <algorithm>
#include <cmath>

#include "core/calibration/range.h"

namespace octavo {
namespace {

// int32 with room for the accumulator of the products that are added to the bias.
constexpr double kMaxBias = 1 << 30;

struct Bounds {
  int32_t low, high;
};
Bounds bounds_of(DType dtype, bool reduced) {
  if (reduced) return dtype == DType::kI8 ? Bounds{-64, 64} : Bounds{0, 127};
  return dtype == DType::kI8 ? Bounds{-128, 127} : Bounds{0, 255};
}

float max_magnitude(const Range& range) {
  return std::max(std::fabs(range.min), std::fabs(range.max));
}

float at_least_min(double scale) { return std::max(static_cast<float>(scale), kMinScale); }

// Elements of channel c along `axis`, in runs of `inner` elements: fn(channel, run).
template <class T, class Fn>
void for_each_run(std::span<T> data, const Shape& shape, int axis, Fn&& fn) {
  const auto channels = static_cast<size_t>(shape[axis]);
  const auto inner = static_cast<size_t>(shape.elements(axis + 1, shape.rank()));
  if (channels == 0 || inner == 0) return;
  for (size_t run = 0; run < data.size() / inner; ++run) {
    fn(run % channels, data.subspan(run * inner, inner));
  }
}

template <class T>
void quantize_run(std::span<const float> in, float scale, int32_t zero_point, T* out) {
  for (size_t i = 0; i < in.size(); ++i) out[i] = quantize<T>(in[i], scale, zero_point);
}

// The range of one group of weights under weight_algorithm.
Result<Range> weight_range(std::span<const float> values, const StaticQuantConfig& config) {
  OCTAVO_ASSIGN(const Range extremes, finite_range(values));
  if (config.weight_algorithm == "minmax") return extremes;
  Collector collector;
  OCTAVO_TRY(collector.observe({.data = const_cast<float*>(values.data()),  // only read
                                .dtype = DType::kF32,
                                .shape = Shape{static_cast<int64_t>(values.size())}}));
  OCTAVO_TRY(collector.commit(0));
  return choose_range(collector, {.algorithm = config.weight_algorithm,
                                  .percentile = config.percentile,
                                  .levels = config.reduce_range ? 128 : 256,
                                  .grid = config.weight_sym ? Grid::kSigned : Grid::kAsymmetric,
                                  .kl_levels = static_cast<int>(config.num_quantized_bins)});
}

// Scale and zero point of one group of weights.
ScaleZero weight_scale(const Range& range, DType dtype, const StaticQuantConfig& config) {
  if (!config.weight_sym) return asymmetric_scale(range, dtype, config.reduce_range);
  const double steps = config.reduce_range ? 64 : config.narrow_range ? 127 : 127.5;
  return {at_least_min(max_magnitude(range) / steps), dtype == DType::kU8 ? 128 : 0};
}

}  // namespace

ScaleZero asymmetric_scale(const Range& range, DType dtype, bool reduced) {
  const auto [low, high] = bounds_of(dtype, reduced);
  const double min = std::min(range.min, 0.0f), max = std::max(range.max, 0.0f);
  const double scale = (max - min) / (high - low);
  if (scale < kMinScale) return {1.0f, 0};
  const double zero_point = std::nearbyint(low - min / scale);
  // The largest finite range overflows float by rounding.
  const float rounded = std::min(static_cast<float>(scale), std::numeric_limits<float>::max());
  return {rounded, static_cast<int32_t>(std::clamp<double>(zero_point, low, high))};
}

Result<Range> activation_range(const Collector& collector, bool is_input,
                               const StaticQuantConfig& config) {
  return choose_range(collector,
                      {.algorithm = config.act_algorithm,
                       .percentile = config.percentile,
                       .averaging_constant = config.averaging_constant,
                       .grid = config.act_sym && !is_input ? Grid::kSymmetric : Grid::kAsymmetric,
                       .kl_levels = static_cast<int>(config.num_quantized_bins)});
}

TensorQuant activation_params(const Range& range, bool is_input, const StaticQuantConfig& config) {
  DType dtype = DType::kU8;
  ScaleZero chosen;
  if (!config.act_sym) {
    dtype = dtype_from_name(config.act_dtype == "int8" ? "i8" : "u8");
    chosen = asymmetric_scale(range, dtype, config.act_reduce_range);
  } else if (range.min >= 0 || is_input) {
    chosen = asymmetric_scale(range, dtype, config.act_reduce_range);
  } else {
    const double scale = max_magnitude(range) / (config.act_reduce_range ? 63.0 : 127.0);
    chosen = {scale < kMinScale ? 1.0f : static_cast<float>(scale), 128};
  }
  return {dtype, {.scale = {chosen.scale}, .zero_point = {chosen.zero_point}}};
}

TensorQuant fixed_params(float scale, bool is_signed, const StaticQuantConfig& config) {
  const bool int8 = !config.act_sym && config.act_dtype == "int8";
  const int32_t zero_point = (is_signed ? 128 : 0) - (int8 ? 128 : 0);
  return {int8 ? DType::kI8 : DType::kU8, {.scale = {scale}, .zero_point = {zero_point}}};
}

Result<TensorQuant> weight_params(const Tensor& weights, int axis,
                                  const StaticQuantConfig& config) {
  TensorQuant quant;
  quant.dtype = config.weight_dtype == "uint8" ? DType::kU8 : DType::kI8;
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
        weight_range(std::span(values).subspan(c * per_channel, per_channel), config);
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
  const auto run = [&]<class T>() {
    const auto in = real.data<const float>();
    const QuantParams& params = quant.params;
    T* to = out.data<T>().data();
    if (params.per_tensor()) {
      quantize_run(in, params.scale[0], params.zero_point[0], to);
      return;
    }
    for_each_run(in, real.shape(), params.axis, [&](size_t c, std::span<const float> values) {
      quantize_run(values, params.scale[c], params.zero_point[c], to + (values.data() - in.data()));
    });
  };
  if (quant.dtype == DType::kI8) {
    run.template operator()<int8_t>();
  } else {
    run.template operator()<uint8_t>();
  }
  return out;
}

}  // namespace octavo
