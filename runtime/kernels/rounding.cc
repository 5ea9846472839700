#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/rounding.cc"
#include "runtime/kernels/rounding.h"

#include <algorithm>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {
namespace {

constexpr float kLog2E = 1.44269504f;

// 2^x, to 1e-5 of it.
template <class D, class V = hn::Vec<D>>
V exp2_of(D d, V x) {
  const hn::RebindToSigned<D> di;
  x = hn::Clamp(x, hn::Set(d, -126.0f), hn::Set(d, 126.0f));
  const V whole = hn::Round(x);
  const V r = hn::Mul(hn::Sub(x, whole), hn::Set(d, 0.69314718f));
  V power = hn::Set(d, 0.0083333f);
  for (const float c : {0.041666667f, 0.16666667f, 0.5f, 1.0f, 1.0f}) {
    power = hn::Add(hn::Mul(power, r), hn::Set(d, c));
  }
  const auto exponent = hn::Add(hn::ConvertTo(di, whole), hn::Set(di, 127));
  return hn::Mul(power, hn::BitCast(d, hn::ShiftLeft<23>(exponent)));
}

// log2 of positive normal numbers: ln m = 2 artanh((m - 1) / (m + 1)).
template <class D, class V = hn::Vec<D>>
V log2_of(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto sqrt_half = hn::Set(di, 0x3F3504F3);  // m lies in [sqrt(1/2), sqrt(2))
  const auto bits = hn::BitCast(di, x);
  const auto exponent = hn::ShiftRight<23>(hn::Sub(bits, sqrt_half));
  const V m = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(exponent)));
  const V one = hn::Set(d, 1.0f);
  const V t = hn::Div(hn::Sub(m, one), hn::Add(m, one)), t2 = hn::Mul(t, t);
  V series = hn::Set(d, 0.14285714f);
  for (const float c : {0.2f, 0.33333333f, 1.0f}) {
    series = hn::Add(hn::Mul(series, t2), hn::Set(d, c));
  }
  return hn::Add(hn::ConvertTo(d, exponent), hn::Mul(hn::Mul(t, series), hn::Set(d, 2 * kLog2E)));
}

}  // namespace

void rounding_errors(const float* HWY_RESTRICT position, const float* HWY_RESTRICT step,
                     const float* HWY_RESTRICT v, float low, float high, size_t count,
                     float* HWY_RESTRICT share, float* HWY_RESTRICT error) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto one = hn::Set(d, 1.0f), zero = hn::Zero(d);
  for (size_t i = 0; i < count; i += lanes) {
    const size_t here = std::min(lanes, count - i);
    const auto x = hn::Mul(hn::LoadN(d, v + i, here), hn::Set(d, -kLog2E));
    const auto s = hn::Div(one, hn::Add(one, exp2_of(d, x)));
    const auto h = hn::Clamp(
        hn::Add(hn::Mul(s, hn::Set(d, kRoundingStretch)), hn::Set(d, kRoundingShift)), zero, one);
    const auto p = hn::LoadN(d, position + i, here);
    const auto q = hn::Clamp(hn::Add(hn::Floor(p), h), hn::Set(d, low), hn::Set(d, high));
    hn::StoreN(s, d, share + i, here);
    hn::StoreN(hn::Mul(hn::Sub(q, p), hn::LoadN(d, step + i, here)), d, error + i, here);
  }
}

void rounding_step(const RoundingStep& how, const float* HWY_RESTRICT product,
                   const float* HWY_RESTRICT step, const float* HWY_RESTRICT share, size_t count,
                   float* HWY_RESTRICT v, float* HWY_RESTRICT mean, float* HWY_RESTRICT square) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto one = hn::Set(d, 1.0f), zero = hn::Zero(d);
  const auto keep = [&](auto old, auto now, float decay) HWY_ATTR {
    return hn::Add(old, hn::Mul(hn::Sub(now, old), hn::Set(d, 1 - decay)));
  };
  for (size_t i = 0; i < count; i += lanes) {
    const size_t here = std::min(lanes, count - i);
    const auto s = hn::LoadN(d, share + i, here);
    const auto h = hn::Add(hn::Mul(s, hn::Set(d, kRoundingStretch)), hn::Set(d, kRoundingShift));
    auto g = hn::Mul(hn::Mul(hn::Set(d, how.factor), hn::LoadN(d, product + i, here)),
                     hn::LoadN(d, step + i, here));
    if (how.beta > 0) {
      // d/dh of 1 - |2h - 1|^beta = -2 beta |2h - 1|^(beta - 1) sign(2h - 1)
      const auto side = hn::Sub(hn::Add(h, h), one);
      const auto away = hn::Clamp(hn::Abs(side), hn::Set(d, 1e-6f), one);
      const auto power = exp2_of(d, hn::Mul(hn::Set(d, how.beta - 1), log2_of(d, away)));
      g = hn::Sub(g, hn::CopySign(hn::Mul(hn::Set(d, 2 * how.beta * how.reg), power), side));
    }
    // h is flat where it is cut off.
    const auto slope = hn::Mul(hn::Mul(s, hn::Sub(one, s)), hn::Set(d, kRoundingStretch));
    g = hn::IfThenElseZero(hn::And(hn::Gt(h, zero), hn::Lt(h, one)), hn::Mul(g, slope));
    const auto m = keep(hn::LoadN(d, mean + i, here), g, kAdamDecay);
    const auto q = keep(hn::LoadN(d, square + i, here), hn::Mul(g, g), kAdamSquareDecay);
    const auto size =
        hn::Add(hn::Sqrt(hn::Mul(q, hn::Set(d, how.square_unbias))), hn::Set(d, 1e-8f));
    const auto move = hn::Div(hn::Mul(m, hn::Set(d, how.lr * how.unbias)), size);
    hn::StoreN(hn::Sub(hn::LoadN(d, v + i, here), move), d, v + i, here);
    hn::StoreN(m, d, mean + i, here);
    hn::StoreN(q, d, square + i, here);
  }
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(rounding_errors);
HWY_EXPORT(rounding_step);
}  // namespace

void rounding_errors(const float* position, const float* step, const float* v, float low,
                     float high, size_t count, float* share, float* error) {
  HWY_DYNAMIC_DISPATCH(rounding_errors)(position, step, v, low, high, count, share, error);
}
void rounding_step(const RoundingStep& how, const float* product, const float* step,
                   const float* share, size_t count, float* v, float* mean, float* square) {
  HWY_DYNAMIC_DISPATCH(rounding_step)(how, product, step, share, count, v, mean, square);
}
}  // namespace octavo::kernels
#endif
