#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/half_simd.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/bf16-inl.h"
#include "runtime/kernels/half.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

using DF = hn::ScalableTag<float>;
using DU32 = hn::RebindToUnsigned<DF>;
using DU16 = hn::Rebind<uint16_t, DF>;

// Exponent and mantissa move by 13 bits and a change of bias, which a multiplication does; it also
// makes denormal numbers normal.
HWY_INLINE hn::Vec<DF> widen_f16(hn::Vec<DU16> half) {
  const DU32 d;
  const auto bits = hn::PromoteTo(d, half);
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(d, 0x8000)));
  const auto magnitude = hn::And(bits, hn::Set(d, 0x7FFF));
  const auto shifted = hn::ShiftLeft<13>(magnitude);
  const auto scaled = hn::BitCast(d, hn::Mul(hn::BitCast(DF(), shifted), hn::Set(DF(), 0x1p112f)));
  const auto special = hn::Or(shifted, hn::Set(d, 0x7F800000));  // infinite or NaN
  const auto is_special = hn::Ge(magnitude, hn::Set(d, 0x7C00));
  return hn::BitCast(DF(), hn::Or(sign, hn::IfThenElse(is_special, special, scaled)));
}

HWY_INLINE hn::Vec<DU16> narrow_f16(hn::Vec<DF> x) {
  const DU32 d;
  const auto bits = hn::BitCast(d, x);
  const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 0x8000));
  const auto magnitude = hn::And(bits, hn::Set(d, 0x7FFFFFFF));
  // Normal results: round half to even at bit 13, in integers.
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(d, 1));
  const auto rebiased = hn::Sub(magnitude, hn::Set(d, 112 << 23));
  const auto normal = hn::ShiftRight<13>(hn::Add(rebiased, hn::Add(odd, hn::Set(d, 0xFFF))));
  // Denormal ones: adding 1/2 leaves them, rounded, in the sum's last bits.
  const auto half = hn::Set(DF(), 0.5f);
  const auto sum = hn::BitCast(d, hn::Add(hn::BitCast(DF(), magnitude), half));
  const auto denormal = hn::Sub(sum, hn::BitCast(d, half));
  auto result = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 113 << 23)), denormal, normal);
  // 65520 and more are infinite; NaN stays NaN.
  result = hn::IfThenElse(hn::Ge(magnitude, hn::Set(d, 0x477FF000)), hn::Set(d, 0x7C00), result);
  const auto nan =
      hn::Or(hn::Set(d, 0x7E00), hn::And(hn::ShiftRight<13>(magnitude), hn::Set(d, 0x3FF)));
  result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 0x7F800000)), nan, result);
  return hn::TruncateTo(DU16(), hn::Or(sign, result));
}

template <class Widen>
HWY_INLINE void widen(const uint16_t* x, float* y, int64_t count, const Widen& function) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(function(hn::LoadU(DU16(), x + i)), DF(), y + i);
  if (i < count) {
    const auto n = static_cast<size_t>(count - i);
    hn::StoreN(function(hn::LoadN(DU16(), x + i, n)), DF(), y + i, n);
  }
}

template <class Narrow>
HWY_INLINE void narrow(const float* x, uint16_t* y, int64_t count, const Narrow& function) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(DF()));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(function(hn::LoadU(DF(), x + i)), DU16(), y + i);
  if (i < count) {
    const auto n = static_cast<size_t>(count - i);
    hn::StoreN(function(hn::LoadN(DF(), x + i, n)), DU16(), y + i, n);
  }
}

void widen_row(DType dtype, const void* x, float* y, int64_t count) {
  const auto* from = static_cast<const uint16_t*>(x);
  if (dtype == DType::kBF16) {
    widen(from, y, count, [](auto v) OCTAVO_INLINE { return widen_bf16(DF(), v); });
  } else {
    widen(from, y, count, [](auto v) OCTAVO_INLINE { return widen_f16(v); });
  }
}

void narrow_row(DType dtype, const float* x, void* y, int64_t count) {
  auto* to = static_cast<uint16_t*>(y);
  if (dtype == DType::kBF16) {
    narrow(x, to, count, [](auto v) OCTAVO_INLINE { return narrow_bf16(DF(), v); });
  } else {
    narrow(x, to, count, [](auto v) OCTAVO_INLINE { return narrow_f16(v); });
  }
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(widen_row);
HWY_EXPORT(narrow_row);
}  // namespace

void widen_row(DType dtype, const void* x, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(widen_row)(dtype, x, y, count);
}
void narrow_row(DType dtype, const float* x, void* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(narrow_row)(dtype, x, y, count);
}
}  // namespace octavo::kernels
#endif
