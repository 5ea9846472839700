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

#ifdef __wasm_relaxed_simd__
#include <wasm_simd128.h>
#endif

// After a lambda's parameters: compiled for the SIMD target and always inlined, so that the arrays
// of vectors that it captures stay in registers.
#undef OCTAVO_INLINE
#define OCTAVO_INLINE HWY_ATTR __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Registers of the target, for choosing tiles.
inline constexpr bool kHas32Registers = HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86;

#ifdef __wasm_relaxed_simd__
inline constexpr bool kRelaxedSimd = true;
#else
inline constexpr bool kRelaxedSimd = false;
#endif

/// Whether dot4 below is one instruction. x86: since VNNI; WebAssembly: relaxed SIMD.
inline constexpr bool kHasDot4 =
    HWY_ARCH_X86 ? HWY_TARGET <= HWY_AVX3_DL : (kRelaxedSimd || !HWY_ARCH_WASM);

/// fn(0), fn(1), ... fn(N - 1) with compile-time arguments: keeps arrays of vectors in registers.
template <int N, class Fn>
HWY_INLINE void unroll(const Fn& fn) {
  [&]<int... I>(std::integer_sequence<int, I...>) OCTAVO_INLINE {
    (fn(std::integral_constant<int, I>()), ...);
  }(std::make_integer_sequence<int, N>());
}

/// A vector, or what is left of a row: its first n lanes. With loops over these one body serves
/// both, as most are needed in many variants.
template <class D, class T>
HWY_INLINE hn::Vec<D> load(D d, const T* from, size_t n) {
  return n >= hn::Lanes(d) ? hn::LoadU(d, from) : hn::LoadN(d, from, n);
}
template <class D, class T>
HWY_INLINE void store(hn::Vec<D> v, D d, T* to, size_t n) {
  n >= hn::Lanes(d) ? hn::StoreU(v, d, to) : hn::StoreN(v, d, to, n);
}
/// fn(i, n) for all vectors of a row: elements [i, i + n), n at most a vector.
template <class D, class Fn>
HWY_INLINE void for_each_vector(D d, int64_t count, const Fn& fn) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < count; i += lanes) {
    fn(i, static_cast<size_t>(count - i < lanes ? count - i : lanes));
  }
}

/// Round half to even of values below 2^22 in magnitude; the kernels clamp before.
template <class DI, class V>
HWY_INLINE hn::Vec<DI> round_in_range(DI di, V v) {
#if HWY_ARCH_X86
  return hn::NearestIntInRange(di, v);  // without NearestInt's repair of overflow
#elif HWY_ARCH_WASM
  // The conversions of WebAssembly saturate, which takes many instructions. Floats from 2^23 to
  // 2^24 are one apart: adding 1.5 * 2^23 leaves the rounded integer in the low bits.
  const hn::RebindToFloat<DI> df;
  float shift = 12582912.0f;
  asm("" : "+r"(shift));  // kept in a register: engines build constants of vectors at each use
  const auto magic = hn::Set(df, shift);
  return hn::Sub(hn::BitCast(di, hn::Add(v, magic)), hn::BitCast(di, magic));
#else
  (void)di;
  return hn::NearestInt(v);
#endif
}

/// a * b + c of floats, fused if the target can.
template <class V>
HWY_INLINE V mul_add(V a, V b, V c) {
#ifdef __wasm_relaxed_simd__
  return V{wasm_f32x4_relaxed_madd(a.raw, b.raw, c.raw)};
#else
  return hn::MulAdd(a, b, c);
#endif
}

/// sums[i] + x[4i] * w[4i] + ... + x[4i + 3] * w[4i + 3]; x is unsigned, except on those engines of
/// WebAssembly that take it for signed (Int8Input::kSigned).
template <class DI, class VU8, class VI8>
HWY_INLINE hn::Vec<DI> dot4(DI d32, VU8 x, VI8 w, hn::Vec<DI> sums) {
#ifdef __wasm_relaxed_simd__
  (void)d32;
  return hn::Vec<DI>{wasm_i32x4_relaxed_dot_i8x16_i7x16_add(w.raw, x.raw, sums.raw)};
#else
  return hn::SumOfMulQuadAccumulate(d32, x, w, sums);
#endif
}
/// sums[i] + x[2i] * w[2i] + x[2i + 1] * w[2i + 1] of int16.
template <class DI, class VI16>
HWY_INLINE hn::Vec<DI> dot2(DI d32, VI16 x, VI16 w, hn::Vec<DI> sums) {
  return hn::Add(sums, hn::WidenMulPairwiseAdd(d32, x, w));
}

/// What follows the accumulation of int8 operators (runtime/quant.h), in its order.
template <class D, RequantizeEnding kEnding = RequantizeEnding::kFull>
struct RequantizeVectors {
  D df;
  hn::Vec<D> zero_point, lo, hi;

  RequantizeVectors(D d, float zero_point, float lo, float hi)
      : df(d), zero_point(hn::Set(d, zero_point)), lo(hn::Set(d, lo)), hi(hn::Set(d, hi)) {}

  HWY_INLINE hn::Vec<D> scale(hn::Vec<hn::RebindToSigned<D>> acc, hn::Vec<D> multiplier,
                              hn::Vec<D> bias) const {
    return hn::Add(hn::Mul(hn::ConvertTo(df, acc), multiplier), bias);
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

/// How depthwise kernels end without a zero point; small code adds it.
inline constexpr RequantizeEnding kPlainEnding =
    kSmallCode ? RequantizeEnding::kSmall : RequantizeEnding::kPlain;

/// Narrows four vectors of int32 to one of 8 bits: within each 128-bit block, four bytes of each.
template <class D8, class VI32>
HWY_INLINE hn::Vec<D8> narrow4(D8 d8, VI32 a, VI32 b, VI32 c, VI32 d) {
  const hn::Repartition<int16_t, D8> d16;
  return hn::ReorderDemote2To(d8, hn::ReorderDemote2To(d16, a, b), hn::ReorderDemote2To(d16, c, d));
}

/// The last part: integers to bytes, within the bounds. D8 is a tag of uint8_t.
template <class D8>
struct ByteVectors {
  D8 d8;
  bool is_signed;
  hn::Vec<D8> lo, hi, flip;  // bounds of unsigned bytes: signed ones have their sign bit flipped

  ByteVectors(D8 d, const ByteRange& range)
      : d8(d),
        is_signed(range.is_signed),
        lo(hn::Set(d, range.lo)),
        hi(hn::Set(d, range.hi)),
        flip(hn::Set(d, range.is_signed ? 0x80 : 0)) {}

  /// kVectors vectors of int32, in the order of narrowing.
  template <RequantizeEnding kEnding = RequantizeEnding::kSmall, int kVectors, class VI32>
  HWY_INLINE hn::Vec<D8> narrow(const VI32 (&q)[kVectors]) const {
    if constexpr (kEnding == RequantizeEnding::kPlain && !kSmallCode) return narrow_to(d8, q);
    if (!is_signed) return hn::Min(hn::Max(narrow_to(d8, q), lo), hi);
    const hn::RebindToSigned<D8> di8;
    const auto bytes = hn::Xor(hn::BitCast(d8, narrow_to(di8, q)), flip);
    return hn::Xor(hn::Min(hn::Max(bytes, lo), hi), flip);
  }

 private:
  template <class DT, int kVectors, class VI32>
  static HWY_INLINE hn::Vec<DT> narrow_to(DT dt, const VI32 (&q)[kVectors]) {
    if constexpr (kVectors == 1) {
      return hn::DemoteTo(dt, q[0]);
    } else if constexpr (kVectors == 2) {
      const hn::Repartition<int16_t, hn::DFromV<VI32>> d16;
      return hn::DemoteTo(dt, hn::ReorderDemote2To(d16, q[0], q[1]));
    } else {
      return narrow4(dt, q[0], q[1], q[2], q[3]);
    }
  }
};

/// Whether a table of 256 bytes is looked up in few instructions.
inline constexpr bool kLooksUp = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL;

/// Looks up bytes in a table of 256 entries.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL
// Two lookups in 128 bytes each.
template <class D>
struct LookUp {
  D d;
  hn::Vec<D> quarter[4];
  LookUp(D d8, const uint8_t* table) : d(d8) {
    for (size_t i = 0; i < 4; ++i) quarter[i] = hn::LoadU(d, table + 64 * i);
  }
  HWY_INLINE hn::Vec<D> operator()(hn::Vec<D> x) const {
    const auto index = hn::IndicesFromVec(d, hn::And(x, hn::Set(d, 127)));
    return hn::IfThenElse(hn::Lt(x, hn::Set(d, 128)),
                          hn::TwoTablesLookupLanes(d, quarter[0], quarter[1], index),
                          hn::TwoTablesLookupLanes(d, quarter[2], quarter[3], index));
  }
};
#else
// Sixteen lookups in 16 bytes each, of which one finds its index in range and the others give 0.
template <class D>
struct LookUp {
  D d;
  const uint8_t* table;
  LookUp(D d8, const uint8_t* t) : d(d8), table(t) {}
  HWY_INLINE hn::Vec<D> operator()(hn::Vec<D> x) const {
    auto y = hn::Zero(d);
    for (size_t i = 0; i < 16; ++i) {
      const auto row = hn::LoadDup128(d, table + 16 * i);
      const auto first = hn::Set(d, static_cast<uint8_t>(16 * i));
#if HWY_TARGET == HWY_WASM
      // swizzle: past 15 is 0.
      y = hn::Or(y, hn::TableLookupBytes(row, hn::Sub(x, first)));
#else
      const auto index = hn::SaturatedAdd(hn::Xor(x, first), hn::Set(d, 0x70));
      y = hn::Or(y, hn::TableLookupBytesOr0(row, index));
#endif
    }
    return y;
  }
};
#endif

/// The entries of a table, if there is one, where kLooksUp. D may be a part of a vector.
template <class D>
HWY_INLINE hn::Vec<D> look_up(D d, hn::Vec<D> x, const uint8_t* table) {
  if constexpr (kLooksUp) {
    if (table != nullptr) {
      const hn::ScalableTag<uint8_t> all;
      return hn::ResizeBitCast(d, LookUp<decltype(all)>(all, table)(hn::ResizeBitCast(all, x)));
    }
  }
  return x;
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
