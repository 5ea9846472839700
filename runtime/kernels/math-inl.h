// Functions of float vectors, accurate to a few units in the last place.
#if defined(OCTAVO_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OCTAVO_MATH_INL_H_
#undef OCTAVO_MATH_INL_H_
#else
#define OCTAVO_MATH_INL_H_
#endif

#include "hwy/contrib/math/math-inl.h"
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

template <class D, class V = hn::Vec<D>>
HWY_INLINE V keep_nan(V x, V y) {
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}

/// Clamped to [0, 1].
template <class D, class V = hn::Vec<D>>
HWY_INLINE V unit_clamp(D d, V x) {
  return keep_nan<D>(x, hn::Min(hn::Max(x, hn::Zero(d)), hn::Set(d, 1.0f)));
}

/// e^x for x from -87.33 to 88.72, where it is a normal number: 2^n * e^r with n = round(x /
/// ln(2)), so that |r| <= ln(2) / 2, and Cephes's polynomial for e^r. Off by 2 units in the last
/// place.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_in_range(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto set = [&](float value) OCTAVO_INLINE { return hn::Set(d, value); };
  // 1.5 * 2^23: the sum's low bits are n.
  const auto shifted = hn::MulAdd(x, set(1.44269504088896341f), set(12582912.0f));
  const auto n = hn::Sub(shifted, set(12582912.0f));
  // ln(2) in two parts, of which n times the first is exact.
  auto r = hn::NegMulAdd(n, set(0.693359375f), x);
  r = hn::NegMulAdd(n, set(-2.12194440e-4f), r);
  auto p = hn::MulAdd(set(1.9875691500e-4f), r, set(1.3981999507e-3f));
  p = hn::MulAdd(p, r, set(8.3334519073e-3f));
  p = hn::MulAdd(p, r, set(4.1665795894e-2f));
  p = hn::MulAdd(p, r, set(1.6666665459e-1f));
  p = hn::MulAdd(p, r, set(5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), set(1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), exponent));
}

/// Results below the least normal number are 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_f32(D d, V x) {
  const auto lo = hn::Set(d, -87.33654f), hi = hn::Set(d, 88.72283f);
  auto y = exp_in_range(d, hn::Min(hn::Max(x, lo), hi));
  y = hn::IfThenZeroElse(hn::Lt(x, lo), y);
  return keep_nan<D>(x, hn::IfThenElse(hn::Gt(x, hi), hn::Inf(d), y));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid(D d, V x) {
  const auto one = hn::Set(d, 1.0f);
  const auto limited = hn::Min(hn::Max(x, hn::Set(d, -87.0f)), hn::Set(d, 87.0f));
  return keep_nan<D>(x, hn::Div(one, hn::Add(one, exp_in_range(d, hn::Neg(limited)))));
}

/// 1 - 2 / (e^2|x| + 1) with the sign of x; Cephes's polynomial where that loses digits.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_f32(D d, V x) {
  const auto set = [&](float value) OCTAVO_INLINE { return hn::Set(d, value); };
  const auto u = hn::Abs(x);
  const auto e = exp_in_range(d, hn::Min(hn::Add(u, u), set(40.0f)));
  const auto large = hn::Sub(set(1.0f), hn::Div(set(2.0f), hn::Add(e, set(1.0f))));
  const auto s = hn::Mul(x, x);
  auto p = hn::MulAdd(set(-5.70498872745e-3f), s, set(2.06390887954e-2f));
  p = hn::MulAdd(p, s, set(-5.37397155531e-2f));
  p = hn::MulAdd(p, s, set(1.33314422036e-1f));
  p = hn::MulAdd(p, s, set(-3.33332819422e-1f));
  const auto small = hn::MulAdd(hn::Mul(p, s), x, x);
  return keep_nan<D>(x, hn::IfThenElse(hn::Lt(u, set(0.625f)), small, hn::CopySign(large, x)));
}

/// The error function: Abramowitz and Stegun 7.1.26 for |x| >= 0.5 (absolute error below 1.5e-7),
/// its Taylor series below.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V erf_f32(D d, V x) {
  const auto set = [&](float value) OCTAVO_INLINE { return hn::Set(d, value); };
  const auto u = hn::Min(hn::Abs(x), set(9.0f));
  const auto t = hn::Div(set(1.0f), hn::MulAdd(set(0.3275911f), u, set(1.0f)));
  auto p = hn::MulAdd(set(1.061405429f), t, set(-1.453152027f));
  p = hn::MulAdd(p, t, set(1.421413741f));
  p = hn::MulAdd(p, t, set(-0.284496736f));
  p = hn::MulAdd(p, t, set(0.254829592f));
  const auto tail = hn::Mul(hn::Mul(p, t), exp_in_range(d, hn::Neg(hn::Mul(u, u))));
  const auto large = hn::CopySign(hn::Sub(set(1.0f), tail), x);
  // 2 / sqrt(pi) * (x - x^3 / 3 + x^5 / 10 - x^7 / 42 + x^9 / 216 - x^11 / 1320)
  const auto s = hn::Mul(x, x);
  auto q = hn::MulAdd(set(-1.0f / 1320), s, set(1.0f / 216));
  q = hn::MulAdd(q, s, set(-1.0f / 42));
  q = hn::MulAdd(q, s, set(0.1f));
  q = hn::MulAdd(q, s, set(-1.0f / 3));
  q = hn::MulAdd(q, s, set(1.0f));
  const auto small = hn::Mul(hn::Mul(x, set(1.12837916709551257390f)), q);
  return keep_nan<D>(x, hn::IfThenElse(hn::Lt(u, set(0.5f)), small, large));
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
