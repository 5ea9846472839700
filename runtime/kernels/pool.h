// The vector loops of pooling on NHWC images.
#pragma once

#include <cstdint>

namespace octavo::kernels {

enum class PoolKind : uint8_t { kMax, kAverage };
enum class PoolType : uint8_t { kF32, kU8, kI8 };

/// The input elements under one window: three nested loops over pixels, steps in elements.
struct PoolWindow {
  const void* base;  // the first pixel's first channel
  int64_t count[3], step[3];
  int64_t channels;
};

/// What follows the sum of a mean: f32 divides by `divisor`; integers compute
/// (sum - offset) * multiplier + zero_y (runtime/ops/average.h).
struct PoolMean {
  float divisor, multiplier, zero_y;
  int32_t offset;  // zero_x times the elements in the window
};

/// One output pixel, all channels. Averages of u8 may be written as i8 and the other way round.
void pool_window(PoolKind kind, PoolType in, PoolType out, const PoolWindow& window,
                 const PoolMean& mean, void* y);

}  // namespace octavo::kernels
