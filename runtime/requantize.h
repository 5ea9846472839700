// The building of Requantize: shared by reference functions and kernels, so that all compute the
// same floats.
#pragma once

#include <limits>

#include "runtime/graph.h"

namespace octavo {

/// The activation fused into a Conv, MatMul or Gemm: bounds on the real output (Relu: lo = 0).
struct ActivationBounds {
  float lo = -std::numeric_limits<float>::infinity();
  float hi = std::numeric_limits<float>::infinity();
};

/// Reads the internal fields `activation` ("", "Relu", "Clip") and `activation_params` {lo, hi}.
Result<ActivationBounds> activation_bounds(const Node& node);

/// The numbers that turn accumulators sum((x - x_zero) * (w - w_zero)) into the output:
///
///   real scale of an accumulator   s[c] = s_x * s_w[c]
///   multiplier[c] = s[c] / s_y           (s[c] if the output is float: `y` nullptr)
///   bias[c]       = real bias[c] / s_y   (real bias[c] if the output is float)
///
/// all in float32, in this order. An i32 bias stands for bias * s[c], or for its own scale if it
/// has parameters; a float bias for itself; absent, zero. It has one element or one per channel.
/// `x` must be per tensor; `weight` per tensor or with one scale per output channel. `multiplier`
/// and `bias` get `channels` elements. With a float output, zero_point is 0 and lo and hi are real.
Result<Requantize> make_requantize(const QuantParams& x, const QuantParams& weight,
                                   const QuantParams* y, DType y_dtype, const TensorView& bias,
                                   int64_t channels, const ActivationBounds& activation);

/// The integers that a quantized dtype holds ({0, 0} for dtypes that cannot be quantized).
struct IntRange {
  int64_t lo, hi;
};
IntRange quantized_range(DType dtype);

/// The integers' own range clamps as the activation would: rounding is monotone, so bounds that
/// round to the ends of the range change nothing. `y`: per tensor.
bool is_redundant(const ActivationBounds& activation, DType y_dtype, const QuantParams& y);

}  // namespace octavo
