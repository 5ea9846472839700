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

template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_f32(D d, V x) {
  // Past +-104 the result is 0 or infinite; the library's reduction is for smaller arguments.
  const auto y = hn::Exp(d, hn::Min(hn::Max(x, hn::Set(d, -104.0f)), hn::Set(d, 88.7f)));
  const auto limited = hn::IfThenElse(hn::Gt(x, hn::Set(d, 88.72283f)), hn::Inf(d), y);
  return keep_nan<D>(x, limited);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid(D d, V x) {
  const auto one = hn::Set(d, 1.0f);
  const auto e = hn::Exp(d, hn::Neg(hn::Min(hn::Abs(x), hn::Set(d, 88.0f))));
  const auto positive = hn::Div(one, hn::Add(one, e));
  return keep_nan<D>(x, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(e, positive), positive));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_f32(D d, V x) {
  return keep_nan<D>(x, hn::Tanh(d, hn::Min(hn::Max(x, hn::Set(d, -20.0f)), hn::Set(d, 20.0f))));
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
  const auto tail = hn::Mul(hn::Mul(p, t), hn::Exp(d, hn::Neg(hn::Mul(u, u))));
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
