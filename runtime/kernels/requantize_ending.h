// Which parts of requantization can be left out without changing any result: early layers spend as
// much time on it as on their sums.
#pragma once

#include <cmath>

#include "runtime/dtype.h"
#include "runtime/quant.h"

namespace octavo::kernels {

enum class RequantizeEnding : uint8_t {
  kFull,
  kNoClamp,  // the bounds are the integer type's own: narrowing saturates anyway
  kPlain,    // and the zero point is 0
};

/// `terms`: products in each sum.
inline RequantizeEnding requantize_ending(const Requantize& r, DType y, int64_t terms) {
  const bool bytes = y == DType::kU8 || y == DType::kI8;
  const float lowest = y == DType::kU8 ? 0.0f : -128.0f;
  if (!bytes || r.lo > lowest || r.hi < lowest + 255) return RequantizeEnding::kFull;
  // Numbers must convert to int32 before they are narrowed.
  const double sum = static_cast<double>(terms) * 255 * 128;
  for (size_t c = 0; c < r.multiplier.size(); ++c) {
    const double y_c = sum * std::abs(double{r.multiplier[c]}) + std::abs(double{r.bias[c]});
    if (!(y_c < 1e9)) return RequantizeEnding::kFull;
  }
  return r.zero_point == 0 ? RequantizeEnding::kPlain : RequantizeEnding::kNoClamp;
}

}  // namespace octavo::kernels
