// bf16 numbers as float vectors, and functions of results that become bf16, for every SIMD target.
#if defined(OCTAVO_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OCTAVO_BF16_INL_H_
#undef OCTAVO_BF16_INL_H_
#else
#define OCTAVO_BF16_INL_H_
#endif

#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// Of 2^r for r in [0, 1], highest power first.
inline constexpr float kPower[] = {0.0789672570f, 0.2246931558f, 0.6963247711f, 0.9999002882f};

template <class DF>
using Bf16Bits = hn::Rebind<uint16_t, DF>;

template <class DF>
HWY_INLINE hn::Vec<DF> widen_bf16(DF df, hn::Vec<Bf16Bits<DF>> bits) {
  return hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(hn::RebindToUnsigned<DF>(), bits)));
}

// In integers: the instruction for it (AVX512_BF16) takes denormal numbers for zeros.
template <class DF>
HWY_INLINE hn::Vec<Bf16Bits<DF>> narrow_bf16(DF, hn::Vec<DF> x) {
  const hn::RebindToUnsigned<DF> d;
  const auto bits = hn::BitCast(d, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7FFF))));
  const auto nan = hn::Or(hn::ShiftRight<16>(bits), hn::Set(d, 0x40));
  const auto is_nan = hn::RebindMask(d, hn::IsNaN(x));
  return hn::TruncateTo(Bf16Bits<DF>(), hn::IfThenElse(is_nan, nan, rounded));
}

/// The same of sums of products, in which the same processors take denormal numbers for zeros.
template <class DF>
HWY_INLINE hn::Vec<Bf16Bits<DF>> narrow_sums([[maybe_unused]] DF df, hn::Vec<DF> x) {
#if HWY_NATIVE_DOT_BF16
  return hn::BitCast(Bf16Bits<DF>(), hn::DemoteTo(hn::Rebind<hwy::bfloat16_t, DF>(), x));
#else
  return narrow_bf16(df, x);
#endif
}

/// 1 / (1 + e^-x) within 2^-12 of its value, where half of a bf16 number's last place is 2^-9: with
/// t = -x / ln(2), 2^t as 2^floor(t) times the cubic polynomial through the values of 2^r at the
/// Chebyshev nodes of [0, 1] (within 2^-13.2).
template <class DF, class V = hn::Vec<DF>>
HWY_INLINE V sigmoid_bf16(DF df, V x) {
  const auto set = [&](float value) OCTAVO_INLINE { return hn::Set(df, value); };
  const auto power = [&](V r) OCTAVO_INLINE {
    auto p = hn::MulAdd(set(kPower[0]), r, set(kPower[1]));
    p = hn::MulAdd(p, r, set(kPower[2]));
    return hn::MulAdd(p, r, set(kPower[3]));
  };
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  const auto t = hn::Mul(x, set(-1.44269504f));
  const V r{_mm512_reduce_ps(t.raw, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
  const V e{_mm512_scalef_ps(power(r).raw, t.raw)};
  return V{_mm512_rcp14_ps(hn::Add(e, set(1.0f)).raw)};
#else
  const hn::RebindToSigned<DF> di;
  const auto limited = hn::Min(hn::Max(x, set(-87.0f)), set(87.0f));
  const auto t = hn::Mul(limited, set(-1.44269504f));
  const auto n = hn::Floor(t);
  const auto exponent = hn::ShiftLeft<23>(hn::ConvertTo(di, n));
  const auto e = hn::BitCast(df, hn::Add(hn::BitCast(di, power(hn::Sub(t, n))), exponent));
  return hn::IfThenElse(hn::Eq(x, x), hn::Div(set(1.0f), hn::Add(e, set(1.0f))), x);
#endif
}

/// Calls end(fn), where fn maps float vectors that become bf16: the bounds if there is no function,
/// else the function, or, if that has no such fn, the identity after it was applied to the `count`
/// numbers from x on.
template <class End>
HWY_INLINE void with_ending(const UnaryFunction* function, float lo, float hi, float* x,
                            int64_t count, const End& end) {
  const hn::ScalableTag<float> d;
  if (function == nullptr) {
    const auto low = hn::Set(d, lo), high = hn::Set(d, hi);
    return end([&](auto v) OCTAVO_INLINE { return hn::Min(hn::Max(v, low), high); });
  }
  if (function->op == OpKind::kSigmoid) {
    if (!function->times_x) return end([&](auto v) OCTAVO_INLINE { return sigmoid_bf16(d, v); });
    return end([&](auto v) OCTAVO_INLINE { return hn::Mul(v, sigmoid_bf16(d, v)); });
  }
  apply_f32(*function, x, count);
  end([](auto v) OCTAVO_INLINE { return v; });
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
