#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/pool_simd.cc"
#include <algorithm>
#include <array>
#include <limits>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/pool.h"
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// fn(pixel) for every pixel of the window.
template <class T, class Fn>
HWY_INLINE void for_each_pixel(const PoolWindow& w, const Fn& fn) {
  const T* plane = static_cast<const T*>(w.base);
  for (int64_t z = 0; z < w.count[0]; ++z, plane += w.step[0]) {
    const T* row = plane;
    for (int64_t y = 0; y < w.count[1]; ++y, row += w.step[1]) {
      const T* pixel = row;
      for (int64_t x = 0; x < w.count[2]; ++x, pixel += w.step[2]) fn(pixel);
    }
  }
}

// The larger one; a NaN does not win.
template <class D>
HWY_INLINE hn::Vec<D> larger(D, hn::Vec<D> best, hn::Vec<D> x) {
#if HWY_ARCH_X86
  return hn::Max(x, best);  // of a NaN or equal numbers the second
#else
  if constexpr (hwy::IsFloat<hn::TFromD<D>>()) return hn::IfThenElse(hn::Lt(best, x), x, best);
#endif
  return hn::Max(best, x);
}
template <class T>
constexpr T lowest() {
  return hwy::IsFloat<T>() ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
}

template <class T>
HWY_INLINE void max_window(const PoolWindow& w, T* y) {
  const hn::ScalableTag<T> d;
  // Four vectors at a time, and no loops over the window, which cost as much as a vector.
  constexpr int64_t kMaxPixels = 32;
  const T* pixels[kMaxPixels];
  const int64_t count = w.count[0] * w.count[1] * w.count[2];
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t first = 0;
  if (count <= kMaxPixels && 4 * lanes <= w.channels) {
    const T** next = pixels;
    for_each_pixel<T>(w, [&](const T* pixel) OCTAVO_INLINE { *next++ = pixel; });
    for (; first + 4 * lanes <= w.channels; first += 4 * lanes) {
      auto a = hn::Set(d, lowest<T>()), b = a, c = a, e = a;
      for (int64_t i = 0; i < count; ++i) {
        const T* pixel = pixels[i] + first;
        a = larger(d, a, hn::LoadU(d, pixel));
        b = larger(d, b, hn::LoadU(d, pixel + lanes));
        c = larger(d, c, hn::LoadU(d, pixel + 2 * lanes));
        e = larger(d, e, hn::LoadU(d, pixel + 3 * lanes));
      }
      hn::StoreU(a, d, y + first);
      hn::StoreU(b, d, y + first + lanes);
      hn::StoreU(c, d, y + first + 2 * lanes);
      hn::StoreU(e, d, y + first + 3 * lanes);
    }
  }
  for_each_vector(d, w.channels - first, [&](int64_t c, size_t n) OCTAVO_INLINE {
    auto best = hn::Set(d, lowest<T>());
    for_each_pixel<T>(w, [&](const T* pixel) OCTAVO_INLINE {
      best = larger(d, best, load(d, pixel + first + c, n));
    });
    store(best, d, y + first + c, n);
  });
}

template <class T>
HWY_INLINE void max_columns(const T* x, std::span<const PoolAxis> axes, int64_t channels,
                            std::byte* y, int64_t stride) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (const PoolAxis& axis : axes) {
    const T* from = x + axis.first;
    T* to = reinterpret_cast<T*>(y);
    const auto best = [&](int64_t c, const auto& at) OCTAVO_INLINE {
      auto best = hn::Set(d, lowest<T>());
      const T* pixel = from + c;
      for (int64_t k = 0; k < axis.count; ++k, pixel += axis.step)
        best = larger(d, best, at(pixel));
      return best;
    };
    int64_t c = 0;
    const auto whole = [&](const T* pixel) OCTAVO_INLINE { return hn::LoadU(d, pixel); };
    if (axis.count == 3) {
      const T *second = from + axis.step, *third = second + axis.step;
      for (; c + lanes <= channels; c += lanes) {
        auto best = larger(d, hn::Set(d, lowest<T>()), whole(from + c));
        best = larger(d, best, whole(second + c));
        hn::StoreU(larger(d, best, whole(third + c)), d, to + c);
      }
    }
    for (; c + lanes <= channels; c += lanes) hn::StoreU(best(c, whole), d, to + c);
    if (const auto n = static_cast<size_t>(channels - c); n > 0) {
      hn::StoreN(best(c, [&](const T* pixel) OCTAVO_INLINE { return hn::LoadN(d, pixel, n); }), d,
                 to + c, n);
    }
    y += stride;
  }
}

// Windows are filled up to kTaps pixels by repeating one: no loop, which would cost as much.
template <int kTaps, class T>
HWY_INLINE void max_windows(const T* x, const PoolAxis& planes, const PoolAxis& rows,
                            std::span<const PoolAxis> columns, int64_t channels, std::byte* y,
                            int64_t stride) {
  const hn::ScalableTag<T> d;
  std::array<int64_t, kTaps> taps{};
  int64_t width = -1, count = 0;
  x += planes.first + rows.first;
  for (const PoolAxis& axis : columns) {
    if (axis.count != width) {  // at the borders
      width = axis.count;
      count = planes.count * rows.count * width;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = i / width;
        taps[static_cast<size_t>(i)] =
            row / rows.count * planes.step + row % rows.count * rows.step + i % width * axis.step;
      }
      std::fill(taps.begin() + count, taps.end(), 0);
    }
    T* to = reinterpret_cast<T*>(y);
    y += stride;
    if (count == 0) {
      std::fill_n(to, channels, lowest<T>());
      continue;
    }
    const T* from = x + axis.first;
    for_each_vector(d, channels, [&](int64_t c, size_t n) OCTAVO_INLINE {
      const auto largest = [&](const auto& at) OCTAVO_INLINE {
        auto best = hn::Set(d, lowest<T>());
        unroll<kTaps>([&](auto i)
                          OCTAVO_INLINE { best = larger(d, best, at(from + taps[i] + c)); });
        return best;
      };
      if (n < hn::Lanes(d)) {
        const auto best = largest([&](const T* p) OCTAVO_INLINE { return hn::LoadN(d, p, n); });
        return hn::StoreN(best, d, to + c, n);
      }
      hn::StoreU(largest([&](const T* p) OCTAVO_INLINE { return hn::LoadU(d, p); }), d, to + c);
    });
  }
}

void max_of_windows(PoolType type, const void* x, int64_t pixels, const PoolAxis& planes,
                    const PoolAxis& rows, std::span<const PoolAxis> columns, int64_t channels,
                    void* y, int64_t stride) {
  auto* to = static_cast<std::byte*>(y);
  const auto run = [&]<class T>([[maybe_unused]] const T* from) {
    if constexpr (kFewPixels > 0) {
      if (pixels <= 4) return max_windows<4>(from, planes, rows, columns, channels, to, stride);
      max_windows<kFewPixels>(from, planes, rows, columns, channels, to, stride);
    }
  };
  switch (type) {
    case PoolType::kF32: return run(static_cast<const float*>(x));
    case PoolType::kU8: return run(static_cast<const uint8_t*>(x));
    case PoolType::kI8: return run(static_cast<const int8_t*>(x));
  }
}

void max_of_columns(PoolType type, const void* x, std::span<const PoolAxis> axes, int64_t channels,
                    void* y, int64_t stride) {
  auto* to = static_cast<std::byte*>(y);
  switch (type) {
    case PoolType::kF32:
      return max_columns(static_cast<const float*>(x), axes, channels, to, stride);
    case PoolType::kU8:
      return max_columns(static_cast<const uint8_t*>(x), axes, channels, to, stride);
    case PoolType::kI8:
      return max_columns(static_cast<const int8_t*>(x), axes, channels, to, stride);
  }
}

// Sums over the window by channel: add(sum, pixel's vector), then end(c, n, sum). Four vectors at a
// time: each sum waits for its last addition, and pixels are far apart.
template <class D, class T, class Add, class End>
HWY_INLINE void sum_window(D d, const PoolWindow& w, hn::Vec<D> zero, const T*, const Add& add,
                           const End& end) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int kVectors = 4;
  int64_t c = 0;
  for (; c + kVectors * lanes <= w.channels; c += kVectors * lanes) {
    hn::Vec<D> sum[kVectors];
    unroll<kVectors>([&](auto i) OCTAVO_INLINE { sum[i] = zero; });
    for_each_pixel<T>(w, [&](const T* pixel) OCTAVO_INLINE {
      unroll<kVectors>([&](auto i) OCTAVO_INLINE {
        sum[i] = add(sum[i], pixel + c + i * lanes, static_cast<size_t>(lanes));
      });
    });
    unroll<kVectors>([&](auto i)
                         OCTAVO_INLINE { end(c + i * lanes, static_cast<size_t>(lanes), sum[i]); });
  }
  for_each_vector(d, w.channels - c, [&](int64_t i, size_t n) OCTAVO_INLINE {
    auto sum = zero;
    for_each_pixel<T>(w, [&](const T* pixel) OCTAVO_INLINE { sum = add(sum, pixel + c + i, n); });
    end(c + i, n, sum);
  });
}

HWY_INLINE void mean_f32(const PoolWindow& w, const PoolMean& mean, float* y) {
  const hn::ScalableTag<float> d;
  const auto divisor = hn::Set(d, mean.divisor);
  sum_window(
      d, w, hn::Zero(d), y,
      [&](auto sum, const float* x, size_t n) OCTAVO_INLINE { return hn::Add(sum, load(d, x, n)); },
      [&](int64_t c, size_t n, auto sum)
          OCTAVO_INLINE { store(hn::Div(sum, divisor), d, y + c, n); });
}

// Signed bytes are read as unsigned ones with the sign bit flipped, which adds 128 to them and to
// their zero point.
HWY_INLINE void mean_bytes(const PoolWindow& w, const PoolMean& mean, bool signed_x, bool signed_y,
                           uint8_t* y) {
  const hn::ScalableTag<float> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<uint8_t, decltype(df)> d8;
  const auto flip_x = hn::Set(d8, static_cast<uint8_t>(signed_x ? 0x80 : 0));
  const auto flip_y = hn::Set(d8, static_cast<uint8_t>(signed_y ? 0x80 : 0));
  const int64_t pixels = w.count[0] * w.count[1] * w.count[2];
  const auto added = static_cast<uint32_t>(signed_x ? 128 * pixels : 0);
  const auto offset = hn::Set(di, static_cast<int32_t>(static_cast<uint32_t>(mean.offset) + added));
  const auto multiplier = hn::Set(df, mean.multiplier);
  const auto zero = hn::Set(df, mean.zero_y);
  const int32_t shift = signed_y ? 128 : 0;  // after rounding: before, it would move ties
  const auto lo = hn::Set(df, static_cast<float>(-shift));
  const auto hi = hn::Set(df, static_cast<float>(255 - shift));
  const auto add = [&](auto sum, const uint8_t* x, size_t n) OCTAVO_INLINE {
    return hn::Add(sum, hn::PromoteTo(di, hn::Xor(load(d8, x, n), flip_x)));
  };
  sum_window(di, w, hn::Zero(di), y, add, [&](int64_t c, size_t n, auto sum) OCTAVO_INLINE {
    auto real = hn::Mul(hn::ConvertTo(df, hn::Sub(sum, offset)), multiplier);
    real = hn::Min(hn::Max(hn::Add(real, zero), lo), hi);
    const auto q = hn::Add(round_in_range(di, real), hn::Set(di, shift));
    store(hn::Xor(hn::DemoteTo(d8, q), flip_y), d8, y + c, n);
  });
}

// What DequantizeLinear and a mean of floats give, bit by bit, without the floats in between.
HWY_INLINE void mean_dequantized(const PoolWindow& w, const PoolMean& mean, bool is_signed,
                                 float* y) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const auto flip = hn::Set(d8, static_cast<uint8_t>(is_signed ? 0x80 : 0));
  const auto zero = hn::Set(di, mean.offset + (is_signed ? 128 : 0));
  const auto scale = hn::Set(d, mean.multiplier), divisor = hn::Set(d, mean.divisor);
  const auto add = [&](auto sum, const uint8_t* x, size_t n) OCTAVO_INLINE {
    const auto integer = hn::Sub(hn::PromoteTo(di, hn::Xor(load(d8, x, n), flip)), zero);
    return hn::Add(sum, hn::Mul(hn::ConvertTo(d, integer), scale));
  };
  sum_window(d, w, hn::Zero(d), static_cast<const uint8_t*>(w.base), add,
             [&](int64_t c, size_t n, auto sum)
                 OCTAVO_INLINE { store(hn::Div(sum, divisor), d, y + c, n); });
}

void pool_window(PoolKind kind, PoolType in, PoolType out, const PoolWindow& w,
                 const PoolMean& mean, void* y) {
  if (kind == PoolKind::kMax) {
    if (in == PoolType::kF32) return max_window(w, static_cast<float*>(y));
    if (in == PoolType::kU8) return max_window(w, static_cast<uint8_t*>(y));
    return max_window(w, static_cast<int8_t*>(y));
  }
  if (in == PoolType::kF32) return mean_f32(w, mean, static_cast<float*>(y));
  if (out == PoolType::kF32) {
    return mean_dequantized(w, mean, in == PoolType::kI8, static_cast<float*>(y));
  }
  mean_bytes(w, mean, in == PoolType::kI8, out == PoolType::kI8, static_cast<uint8_t*>(y));
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(pool_window);
HWY_EXPORT(max_of_columns);
HWY_EXPORT(max_of_windows);
}  // namespace

void pool_window(PoolKind kind, PoolType in, PoolType out, const PoolWindow& window,
                 const PoolMean& mean, void* y) {
  HWY_DYNAMIC_DISPATCH(pool_window)(kind, in, out, window, mean, y);
}
void max_of_columns(PoolType type, const void* x, std::span<const PoolAxis> axes, int64_t channels,
                    void* y, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(max_of_columns)(type, x, axes, channels, y, stride);
}
void max_of_windows(PoolType type, const void* x, int64_t pixels, const PoolAxis& planes,
                    const PoolAxis& rows, std::span<const PoolAxis> columns, int64_t channels,
                    void* y, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(max_of_windows)
  (type, x, pixels, planes, rows, columns, channels, y, stride);
}
}  // namespace octavo::kernels
#endif
