// Which parts of requantization can be left out without changing any result: early layers spend as
// much time on it as on their sums.
#pragma once

#include <cmath>

#include "runtime/dtype.h"
#include "runtime/quant.h"

namespace octavo::kernels {

/// Fewer variants of the kernels, where every kilobyte is downloaded.
#ifdef __EMSCRIPTEN__
inline constexpr bool kSmallCode = true;
#else
inline constexpr bool kSmallCode = false;
#endif

enum class RequantizeEnding : uint8_t {
  kFull,   // clamped as floats
  kSmall,  // below 2^22 in magnitude before clamping: converted first, clamped as bytes
  // And the zero point is 0. Where code need not be small, of bytes that are unsigned and cut off
  // only where they end, which narrowing does.
  kPlain,
};

/// `terms`: products in each sum.
inline RequantizeEnding requantize_ending(const Requantize& r, DType y, int64_t terms) {
  if (y != DType::kU8 && y != DType::kI8) return RequantizeEnding::kFull;
  const double sum = static_cast<double>(terms) * 255 * 128;
  for (size_t c = 0; c < r.multiplier.size(); ++c) {
    const double y_c = sum * std::abs(double{r.multiplier[c]}) + std::abs(double{r.bias[c]});
    if (!(y_c < 4e6)) return RequantizeEnding::kFull;
  }
  const bool narrows = y == DType::kU8 && r.lo <= 0 && r.hi >= 255;
  return r.zero_point == 0 && (kSmallCode || narrows) ? RequantizeEnding::kPlain
                                                      : RequantizeEnding::kSmall;
}

/// The bounds of an 8-bit output as bytes; of a signed one with their sign bits flipped, so that
/// all compare as unsigned.
struct ByteRange {
  bool is_signed = false;
  uint8_t lo = 0, hi = 255;
};
inline ByteRange byte_range(const Requantize& r, DType y) {
  if (y == DType::kU8) return {false, saturate_round<uint8_t>(r.lo), saturate_round<uint8_t>(r.hi)};
  const auto flipped = [](float bound) {
    return static_cast<uint8_t>(saturate_round<int8_t>(bound) + 128);
  };
  return {true, flipped(r.lo), flipped(r.hi)};
}

}  // namespace octavo::kernels
