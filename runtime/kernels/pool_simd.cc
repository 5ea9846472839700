#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/pool_simd.cc"
#include <algorithm>
#include <array>
#include <limits>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/dtype.h"
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

// The largest of the vectors that it takes, at first the lowest number.
template <class T>
struct Maximum {
  static constexpr hn::ScalableTag<T> d{};
  static constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(T));
  hn::Vec<hn::ScalableTag<T>> best;
  HWY_INLINE Maximum() : best(hn::Set(d, lowest<T>())) {}
  HWY_INLINE void take(const T* x) { best = larger(d, best, hn::LoadU(d, x)); }
  HWY_INLINE void take(const T* x, size_t n) { best = larger(d, best, load(d, x, n)); }
  HWY_INLINE void put(T* y) const { hn::StoreU(best, d, y); }
  HWY_INLINE void put(T* y, size_t n) const { store(best, d, y, n); }
};
// As floats: those at even places and those at odd ones.
template <>
struct Maximum<BFloat16> {
  static constexpr hn::ScalableTag<uint16_t> d{};
  static constexpr hn::RepartitionToWide<decltype(d)> d32{};
  static constexpr hn::RebindToFloat<decltype(d32)> df{};
  static constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(uint16_t));
  using V = hn::Vec<decltype(d)>;
  hn::Vec<decltype(df)> even, odd;
  HWY_INLINE Maximum() : even(hn::Set(df, lowest<float>())), odd(even) {}
  HWY_INLINE void take(V x) {
    const auto bits = hn::BitCast(d32, x), upper = hn::And(bits, hn::Set(d32, 0xFFFF0000));
    even = larger(df, even, hn::BitCast(df, hn::ShiftLeft<16>(bits)));
    odd = larger(df, odd, hn::BitCast(df, upper));
  }
  HWY_INLINE V result() const {
    const auto lower = hn::ShiftRight<16>(hn::BitCast(d32, even));
    return hn::BitCast(d, hn::Or(lower, hn::BitCast(d32, odd)));
  }
  HWY_INLINE void take(const BFloat16* x) { take(hn::LoadU(d, bits_of(x))); }
  HWY_INLINE void take(const BFloat16* x, size_t n) { take(load(d, bits_of(x), n)); }
  HWY_INLINE void put(BFloat16* y) const { hn::StoreU(result(), d, &y->bits); }
  HWY_INLINE void put(BFloat16* y, size_t n) const { store(result(), d, &y->bits, n); }
  static const uint16_t* bits_of(const BFloat16* x) { return &x->bits; }
};

template <class T>
HWY_INLINE void max_window(const PoolWindow& w, T* y) {
  // Four vectors at a time, and no loops over the window, which cost as much as a vector.
  constexpr int64_t kMaxPixels = 32, kLanes = Maximum<T>::kLanes;
  const T* pixels[kMaxPixels];
  const int64_t count = w.count[0] * w.count[1] * w.count[2];
  int64_t first = 0;
  if (count <= kMaxPixels && 4 * kLanes <= w.channels) {
    const T** next = pixels;
    for_each_pixel<T>(w, [&](const T* pixel) OCTAVO_INLINE { *next++ = pixel; });
    for (; first + 4 * kLanes <= w.channels; first += 4 * kLanes) {
      Maximum<T> a, b, c, e;
      for (int64_t i = 0; i < count; ++i) {
        const T* pixel = pixels[i] + first;
        a.take(pixel);
        b.take(pixel + kLanes);
        c.take(pixel + 2 * kLanes);
        e.take(pixel + 3 * kLanes);
      }
      a.put(y + first);
      b.put(y + first + kLanes);
      c.put(y + first + 2 * kLanes);
      e.put(y + first + 3 * kLanes);
    }
  }
  for_each_vector(Maximum<T>::d, w.channels - first, [&](int64_t c, size_t n) OCTAVO_INLINE {
    Maximum<T> best;
    for_each_pixel<T>(w, [&](const T* pixel) OCTAVO_INLINE { best.take(pixel + first + c, n); });
    best.put(y + first + c, n);
  });
}

template <class T>
HWY_INLINE void max_columns(const T* x, std::span<const PoolAxis> axes, int64_t channels,
                            std::byte* y, int64_t stride) {
  constexpr int64_t kLanes = Maximum<T>::kLanes;
  for (const PoolAxis& axis : axes) {
    const T* from = x + axis.first;
    T* to = reinterpret_cast<T*>(y);
    int64_t c = 0;
    if (axis.count == 3) {
      const T *second = from + axis.step, *third = second + axis.step;
      for (; c + kLanes <= channels; c += kLanes) {
        Maximum<T> best;
        best.take(from + c);
        best.take(second + c);
        best.take(third + c);
        best.put(to + c);
      }
    }
    for (; c + kLanes <= channels; c += kLanes) {
      Maximum<T> best;
      for (int64_t k = 0; k < axis.count; ++k) best.take(from + c + k * axis.step);
      best.put(to + c);
    }
    if (const auto n = static_cast<size_t>(channels - c); n > 0) {
      Maximum<T> best;
      for (int64_t k = 0; k < axis.count; ++k) best.take(from + c + k * axis.step, n);
      best.put(to + c, n);
    }
    y += stride;
  }
}

// Windows are filled up to kTaps pixels by repeating one: no loop, which would cost as much.
template <int kTaps, class T>
HWY_INLINE void max_windows(const T* x, const PoolAxis& planes, const PoolAxis& rows,
                            std::span<const PoolAxis> columns, int64_t channels, std::byte* y,
                            int64_t stride) {
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
    const T* from = x + axis.first;
    for_each_vector(Maximum<T>::d, channels, [&](int64_t c, size_t n) OCTAVO_INLINE {
      Maximum<T> best;
      if (count == 0) return best.put(to + c, n);
      if (n < static_cast<size_t>(Maximum<T>::kLanes)) {
        unroll<kTaps>([&](auto i) OCTAVO_INLINE { best.take(from + taps[i] + c, n); });
        return best.put(to + c, n);
      }
      unroll<kTaps>([&](auto i) OCTAVO_INLINE { best.take(from + taps[i] + c); });
      best.put(to + c);
    });
  }
}

// Calls fn with a pointer of the type; bf16 is computed as f32 where code is small.
template <class Fn>
HWY_INLINE void with_type(PoolType type, const void* x, const Fn& fn) {
  switch (type) {
    case PoolType::kF32: return fn(static_cast<const float*>(x));
    case PoolType::kU8: return fn(static_cast<const uint8_t*>(x));
    case PoolType::kI8: return fn(static_cast<const int8_t*>(x));
    case PoolType::kBF16:
      if constexpr (!kSmallCode) return fn(static_cast<const BFloat16*>(x));
  }
}

void max_of_windows(PoolType type, const void* x, int64_t pixels, const PoolAxis& planes,
                    const PoolAxis& rows, std::span<const PoolAxis> columns, int64_t channels,
                    void* y, int64_t stride) {
  auto* to = static_cast<std::byte*>(y);
  with_type(type, x, [&](const auto* from) {
    if constexpr (kFewPixels > 0) {
      if (pixels <= 4) return max_windows<4>(from, planes, rows, columns, channels, to, stride);
      max_windows<kFewPixels>(from, planes, rows, columns, channels, to, stride);
    }
  });
}

void max_of_columns(PoolType type, const void* x, std::span<const PoolAxis> axes, int64_t channels,
                    void* y, int64_t stride) {
  with_type(type, x, [&](const auto* from) {
    max_columns(from, axes, channels, static_cast<std::byte*>(y), stride);
  });
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
    return with_type(in, y, [&]<class T>(const T*) { max_window(w, static_cast<T*>(y)); });
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
