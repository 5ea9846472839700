// The vector loops of softmax, normalizations, reductions and filters, dispatched to the SIMD
// target in use.
#pragma once

#include <cstdint>

namespace octavo::kernels {

enum class Fold : uint8_t { kSum, kAbsSum, kSquareSum, kMax, kMin };

/// The fold of x[0 .. count). A NaN is the result of the extrema.
float fold_row(Fold fold, const float* x, int64_t count);
/// y[i] = the fold over k < depth of x[k * stride + i], i < count.
void fold_columns(Fold fold, const float* x, int64_t depth, int64_t stride, float* y,
                  int64_t count);

/// Sum of (x[i] - mean)^2.
float squared_deviations(const float* x, float mean, int64_t count);

/// A factor for each element of a row (`stride` 1), or one for all (0).
struct RowFactor {
  const float* data;
  int64_t stride;
};
/// y[i] = (x[i] - mean) * factor * scale[i] + bias[i]. `y` may be `x`.
void normalize_row(const float* x, float* y, int64_t count, float mean, float factor,
                   RowFactor scale, RowFactor bias);

/// Softmax, or its logarithm, of a row. `y` may be `x`.
void softmax_row(bool log, const float* x, float* y, int64_t count);
/// The same for `count` rows side by side: element k of row i is at i * lane_stride + k * stride.
void softmax_columns(bool log, const float* x, float* y, int64_t depth, int64_t stride,
                     int64_t lane_stride, int64_t count);

/// y[i] = sum over t of weight[t * stride] * x[index[t * stride] * inner + i], in this order and
/// without fused multiply-add.
void blend_rows(const float* x, const int32_t* index, const float* weight, int64_t taps,
                int64_t stride, int64_t inner, float* y, int64_t count);
/// y[i] = sum over t of weight[t * stride + i] * x[index[t * stride + i]].
void blend_gathered(const float* x, const int32_t* index, const float* weight, int64_t taps,
                    int64_t stride, float* y, int64_t count);

}  // namespace octavo::kernels
