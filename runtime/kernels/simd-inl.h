// What several kernels share, compiled once for every SIMD target (included after
// hwy/foreach_target.h). Vectors of a target have whole 128-bit blocks; scalable ones (SVE, RVV)
// are not used, as the int8 kernels rely on how narrowing orders blocks.
#if defined(OCTAVO_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OCTAVO_SIMD_INL_H_
#undef OCTAVO_SIMD_INL_H_
#else
#define OCTAVO_SIMD_INL_H_
#endif

#include <cstring>
#include <utility>

#include "hwy/highway.h"
#include "runtime/kernels/requantize_ending.h"

// After a lambda's parameters: compiled for the SIMD target and always inlined, so that the arrays
// of vectors that it captures stay in registers.
#undef OCTAVO_INLINE
#define OCTAVO_INLINE HWY_ATTR __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Registers of the target, for choosing tiles.
inline constexpr bool kHas32Registers = HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86;

/// fn(0), fn(1), ... fn(N - 1) with compile-time arguments: keeps arrays of vectors in registers.
template <int N, class Fn>
HWY_INLINE void unroll(const Fn& fn) {
  [&]<int... I>(std::integer_sequence<int, I...>) OCTAVO_INLINE {
    (fn(std::integral_constant<int, I>()), ...);
  }(std::make_integer_sequence<int, N>());
}

/// Round half to even. Precise for values within int32; the kernels clamp before.
template <class DI, class V>
HWY_INLINE hn::Vec<DI> round_in_range(DI di, V v) {
#if HWY_ARCH_X86
  return hn::NearestIntInRange(di, v);  // without NearestInt's repair of overflow
#else
  (void)di;
  return hn::NearestInt(v);
#endif
}

/// What follows the accumulation of int8 operators (runtime/quant.h), in its order.
template <class D, RequantizeEnding kEnding = RequantizeEnding::kFull>
struct RequantizeVectors {
  D df;
  hn::Vec<D> zero_point, lo, hi;

  RequantizeVectors(D d, float zero_point, float lo, float hi)
      : df(d), zero_point(hn::Set(d, zero_point)), lo(hn::Set(d, lo)), hi(hn::Set(d, hi)) {}

  HWY_INLINE hn::Vec<D> scale(hn::Vec<hn::RebindToSigned<D>> acc, const float* multiplier,
                              const float* bias) const {
    const auto scaled = hn::Mul(hn::ConvertTo(df, acc), hn::LoadU(df, multiplier));
    return hn::Add(scaled, hn::LoadU(df, bias));
  }
  HWY_INLINE hn::Vec<D> finish(hn::Vec<D> y) const {
    if constexpr (kEnding != RequantizeEnding::kPlain) y = hn::Add(y, zero_point);
    if constexpr (kEnding == RequantizeEnding::kFull) y = hn::Min(hn::Max(y, lo), hi);
    return y;
  }
  HWY_INLINE hn::Vec<hn::RebindToSigned<D>> round(hn::Vec<D> y) const {
    return round_in_range(hn::RebindToSigned<D>(), finish(y));
  }
};

/// Narrows four vectors of int32 to one of 8 bits: within each 128-bit block, four bytes of each.
template <class D8, class VI32>
HWY_INLINE hn::Vec<D8> narrow4(D8 d8, VI32 a, VI32 b, VI32 c, VI32 d) {
  const hn::Repartition<int16_t, D8> d16;
  return hn::ReorderDemote2To(d8, hn::ReorderDemote2To(d16, a, b), hn::ReorderDemote2To(d16, c, d));
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
