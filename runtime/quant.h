// The arithmetic of quantization, specified once.
//
//   real = scale * (q - zero_point)                                   dequantize
//   q    = saturate(round_half_even(real / scale) + zero_point)       quantize (as ONNX)
//
// A quantized operator accumulates exactly in int32 and then computes, in float32 and in this
// order (no fused multiply-add: the build passes -ffp-contract=off),
//
//   y = acc * multiplier[c] + bias[c] (+ residual) + zero_point
//   q = saturate(round_half_even(clamp(y, lo, hi)))
//
// so that every kernel on every target gives identical bytes. zero_point is added last, as a float.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace octavo {

/// How the integers of a value stand for real numbers.
struct QuantParams {
  std::vector<float> scale;         // one, or one per channel (or per block)
  std::vector<int32_t> zero_point;  // as many as scales
  int axis = -1;                    // the channel axis (logical); -1: per tensor
  int64_t block_size = 0;           // > 0: elements along `axis` that share a scale

  bool per_tensor() const { return axis < 0; }
  bool operator==(const QuantParams&) const = default;
};

/// Round half to even; independent of the host's rounding mode being the default.
inline float round_half_even(float x) { return std::nearbyint(x); }

/// The bounds of T as floats that convert back exactly (T of at most 16 bits).
template <class T>
inline T saturate_round(float x) {
  constexpr float kLow = static_cast<float>(std::numeric_limits<T>::min());
  constexpr float kHigh = static_cast<float>(std::numeric_limits<T>::max());
  if (!(x == x)) x = 0;  // NaN
  return static_cast<T>(round_half_even(std::min(std::max(x, kLow), kHigh)));
}

/// ONNX QuantizeLinear's formula: rounds x / scale before the zero point is added.
template <class T>
inline T quantize(float x, float scale, int32_t zero_point) {
  float q = round_half_even(x / scale);
  if (!(q == q)) q = 0;
  q += static_cast<float>(zero_point);
  constexpr float kLow = static_cast<float>(std::numeric_limits<T>::min());
  constexpr float kHigh = static_cast<float>(std::numeric_limits<T>::max());
  return static_cast<T>(std::min(std::max(q, kLow), kHigh));
}

template <class T>
inline float dequantize(T q, float scale, int32_t zero_point) {
  return static_cast<float>(static_cast<int32_t>(q) - zero_point) * scale;
}

/// What turns an int32 accumulator of output channel c into the output. `lo` and `hi` are the
/// fused activation's bounds in units of the output's integers, zero point included.
struct Requantize {
  std::vector<float> multiplier;  // per channel: s_input * s_weight[c] / s_output
  std::vector<float> bias;        // per channel: bias_real[c] / s_output
  float zero_point = 0;           // of the output
  float lo = 0, hi = 0;
  float residual_scale = 0;  // s_residual / s_output; residual = (r - residual_zero_point) * this
  int32_t residual_zero_point = 0;
};

template <class T>
inline T requantize(int32_t acc, float multiplier, float bias, float zero_point, float lo,
                    float hi) {
  float y = static_cast<float>(acc) * multiplier;
  y = y + bias;
  y = y + zero_point;
  return saturate_round<T>(std::min(std::max(y, lo), hi));
}

}  // namespace octavo
