#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/pool_simd.cc"
#include <algorithm>
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

// Calls fn(first channel, lanes) over all channels in vectors of D; the last one may be partial.
template <class D, class Fn>
HWY_INLINE void for_each_block(D d, int64_t channels, const Fn& fn) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < channels; c += lanes) {
    fn(c, static_cast<size_t>(std::min(lanes, channels - c)));
  }
}

template <class T>
HWY_INLINE void max_window(const PoolWindow& w, T* y) {
  const hn::ScalableTag<T> d;
  T lowest = std::numeric_limits<T>::lowest();
  if constexpr (hwy::IsFloat<T>()) lowest = -std::numeric_limits<T>::infinity();
  for_each_block(d, w.channels, [&](int64_t c, size_t n) OCTAVO_INLINE {
    const bool whole = n == hn::Lanes(d);
    auto best = hn::Set(d, lowest);
    for_each_pixel<T>(w, [&](const T* pixel) OCTAVO_INLINE {
      const auto x = whole ? hn::LoadU(d, pixel + c) : hn::LoadN(d, pixel + c, n);
      best = hn::IfThenElse(hn::Lt(best, x), x, best);  // a NaN does not win
    });
    whole ? hn::StoreU(best, d, y + c) : hn::StoreN(best, d, y + c, n);
  });
}

HWY_INLINE void mean_f32(const PoolWindow& w, const PoolMean& mean, float* y) {
  const hn::ScalableTag<float> d;
  const auto divisor = hn::Set(d, mean.divisor);
  for_each_block(d, w.channels, [&](int64_t c, size_t n) OCTAVO_INLINE {
    const bool whole = n == hn::Lanes(d);
    auto sum = hn::Zero(d);
    for_each_pixel<float>(w, [&](const float* pixel) OCTAVO_INLINE {
      sum = hn::Add(sum, whole ? hn::LoadU(d, pixel + c) : hn::LoadN(d, pixel + c, n));
    });
    sum = hn::Div(sum, divisor);
    whole ? hn::StoreU(sum, d, y + c) : hn::StoreN(sum, d, y + c, n);
  });
}

template <class T, class Out>
HWY_INLINE void mean_bytes(const PoolWindow& w, const PoolMean& mean, Out* y) {
  const hn::ScalableTag<float> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<T, decltype(df)> d8;
  const hn::Rebind<Out, decltype(df)> out;
  const auto offset = hn::Set(di, mean.offset);
  const auto multiplier = hn::Set(df, mean.multiplier);
  const auto zero = hn::Set(df, mean.zero_y);
  const auto lo = hn::Set(df, hwy::LimitsMin<Out>()), hi = hn::Set(df, hwy::LimitsMax<Out>());
  for_each_block(df, w.channels, [&](int64_t c, size_t n) OCTAVO_INLINE {
    const bool whole = n == hn::Lanes(df);
    auto sum = hn::Zero(di);
    for_each_pixel<T>(w, [&](const T* pixel) OCTAVO_INLINE {
      const auto q = whole ? hn::LoadU(d8, pixel + c) : hn::LoadN(d8, pixel + c, n);
      sum = hn::Add(sum, hn::PromoteTo(di, q));
    });
    auto real = hn::Mul(hn::ConvertTo(df, hn::Sub(sum, offset)), multiplier);
    real = hn::Min(hn::Max(hn::Add(real, zero), lo), hi);
    const auto q = hn::DemoteTo(out, round_in_range(di, real));
    whole ? hn::StoreU(q, out, y + c) : hn::StoreN(q, out, y + c, n);
  });
}

void pool_window(PoolKind kind, PoolType in, PoolType out, const PoolWindow& w,
                 const PoolMean& mean, void* y) {
  if (kind == PoolKind::kMax) {
    if (in == PoolType::kF32) return max_window(w, static_cast<float*>(y));
    if (in == PoolType::kU8) return max_window(w, static_cast<uint8_t*>(y));
    return max_window(w, static_cast<int8_t*>(y));
  }
  if (in == PoolType::kF32) return mean_f32(w, mean, static_cast<float*>(y));
  const auto bytes = [&](auto t) {
    if (out == PoolType::kU8) return mean_bytes<decltype(t)>(w, mean, static_cast<uint8_t*>(y));
    mean_bytes<decltype(t)>(w, mean, static_cast<int8_t*>(y));
  };
  in == PoolType::kU8 ? bytes(uint8_t{}) : bytes(int8_t{});
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(pool_window);
}  // namespace

void pool_window(PoolKind kind, PoolType in, PoolType out, const PoolWindow& window,
                 const PoolMean& mean, void* y) {
  HWY_DYNAMIC_DISPATCH(pool_window)(kind, in, out, window, mean, y);
}
}  // namespace octavo::kernels
#endif
