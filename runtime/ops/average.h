// The mean of quantized numbers, specified once.
//
//   y = (sum over the window of (q - zero_x)) * (scale_x / (count * scale_y)) + zero_y
//
// The sum is exact in int32, the rest is computed in float32 in this order, rounded half to even
// and saturated. `count` is the number of elements the mean is over, padding included if it counts.
#pragma once

#include "runtime/quant.h"

namespace octavo::ops {

struct AverageParams {
  float scale_x, scale_y, zero_y;
  int32_t zero_x;

  /// Both per tensor.
  AverageParams(const QuantParams& x, const QuantParams& y)
      : scale_x(x.scale[0]),
        scale_y(y.scale[0]),
        zero_y(static_cast<float>(y.zero_point[0])),
        zero_x(x.zero_point[0]) {}

  float multiplier(int64_t count) const {
    return count == 0 ? 0.0f : scale_x / (static_cast<float>(count) * scale_y);
  }
  template <class T>
  T apply(int32_t sum, int64_t count) const {
    const float y = static_cast<float>(sum) * multiplier(count);
    return saturate_round<T>(y + zero_y);
  }
};

}  // namespace octavo::ops
