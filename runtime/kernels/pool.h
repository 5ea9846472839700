// The vector loops of pooling on NHWC images.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/kernels/requantize_ending.h"

namespace octavo::kernels {

enum class PoolKind : uint8_t { kMax, kAverage };
enum class PoolType : uint8_t { kF32, kU8, kI8, kBF16 };  // kBF16: maxima

/// The input elements under one window: three nested loops over pixels, steps in elements.
struct PoolWindow {
  const void* base;  // the first pixel's first channel
  int64_t count[3], step[3];
  int64_t channels;
};

/// What a window reads along one axis: in elements, but for the number of positions.
struct PoolAxis {
  int64_t first, count, step;
  int64_t padded;  // positions, those in the padding too
};

/// What follows the sum of a mean: f32 divides by `divisor`; integers compute
/// (sum - offset) * multiplier + zero_y (runtime/ops/average.h). Integers whose mean is f32 are
/// dequantized before they are added: `multiplier` is their scale, `offset` their zero point.
struct PoolMean {
  float divisor, multiplier, zero_y;
  int32_t offset;  // zero_x times the elements in the window
};

/// One output pixel, all channels. Averages of u8 may be written as i8 and the other way round.
void pool_window(PoolKind kind, PoolType in, PoolType out, const PoolWindow& window,
                 const PoolMean& mean, void* y);

/// A row of output pixels, each the maximum of the input pixels that `axes` names (elements from
/// `x` on); `channels` of them, `stride` bytes from one output pixel to the next.
void max_of_columns(PoolType type, const void* x, std::span<const PoolAxis> axes, int64_t channels,
                    void* y, int64_t stride);

/// Windows of so many pixels are read as they are; larger ones, and all where code is to be small,
/// are maxima of columns first.
inline constexpr int64_t kFewPixels = kSmallCode ? 0 : 9;
/// A row of output pixels, each the maximum of the input pixels that the three axes name: at most
/// `pixels`, of kFewPixels.
void max_of_windows(PoolType type, const void* x, int64_t pixels, const PoolAxis& planes,
                    const PoolAxis& rows, std::span<const PoolAxis> columns, int64_t channels,
                    void* y, int64_t stride);

}  // namespace octavo::kernels
