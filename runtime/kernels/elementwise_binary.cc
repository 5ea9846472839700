#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/elementwise_binary.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// Calls fn with a function on two vectors.
template <class Fn>
HWY_INLINE void with_binary(OpKind op, const Fn& fn) {
  switch (op) {
    case OpKind::kAdd: return fn([](auto, auto a, auto b) OCTAVO_INLINE { return hn::Add(a, b); });
    case OpKind::kSub: return fn([](auto, auto a, auto b) OCTAVO_INLINE { return hn::Sub(a, b); });
    case OpKind::kMul: return fn([](auto, auto a, auto b) OCTAVO_INLINE { return hn::Mul(a, b); });
    case OpKind::kDiv: return fn([](auto, auto a, auto b) OCTAVO_INLINE { return hn::Div(a, b); });
    case OpKind::kMax:  // a NaN on either side is the result
      return fn([](auto, auto a, auto b) OCTAVO_INLINE {
        return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b);
      });
    case OpKind::kMin:
      return fn([](auto, auto a, auto b) OCTAVO_INLINE {
        return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(a)), a, b);
      });
    case OpKind::kPRelu:
      return fn([](auto d, auto x, auto slope) OCTAVO_INLINE {
        return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(x, slope), x);
      });
    default: return;
  }
}

void binary_f32(OpKind op, RowOperand a, RowOperand b, float* y, int64_t count) {
  const hn::ScalableTag<float> d;
  const auto* pa = static_cast<const float*>(a.data);
  const auto* pb = static_cast<const float*>(b.data);
  const auto all_a = hn::Set(d, pa[0]);
  const auto all_b = hn::Set(d, pb[0]);
  with_binary(op, [&](auto apply) OCTAVO_INLINE {
    for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
      const auto va = a.stride != 0 ? load(d, pa + i, n) : all_a;
      const auto vb = b.stride != 0 ? load(d, pb + i, n) : all_b;
      store(apply(d, va, vb), d, y + i, n);
    });
  });
}

// 8-bit integers (T: uint8_t) or 16-bit ones (uint16_t) as float vectors and back. Signed ones are
// read as unsigned ones with the sign bit flipped, which adds 128 or 32768 to them and to their
// zero point: one code for both.
template <class D, class T = uint8_t>
struct Integers {
  using DT = hn::Rebind<T, D>;
  using DI = hn::RebindToSigned<D>;
  static constexpr int32_t kMost = std::numeric_limits<T>::max();
  static constexpr int32_t kHalf = kMost / 2 + 1;
  D d;
  hn::Vec<DT> flip;
  hn::Vec<D> scale, lo, hi;  // lo, hi: without the zero point
  hn::Vec<DI> zero;

  Integers(D df, float s, int32_t zero_point, bool is_signed)
      : d(df),
        flip(hn::Set(DT(), static_cast<T>(is_signed ? kHalf : 0))),
        scale(hn::Set(df, s)),
        zero(hn::Set(DI(), zero_point + (is_signed ? kHalf : 0))) {
    lo = hn::Neg(hn::ConvertTo(df, zero));
    hi = hn::Add(lo, hn::Set(df, static_cast<float>(kMost)));
  }

  HWY_INLINE hn::Vec<D> real(hn::Vec<DT> q) const {
    const auto integer = hn::Sub(hn::PromoteTo(DI(), hn::Xor(q, flip)), zero);
    return hn::Mul(hn::ConvertTo(d, integer), scale);
  }
  // Divides, rounds half to even, NaN to zero, then adds the zero point and saturates: the bounds
  // are integers, so that they may come before rounding.
  HWY_INLINE hn::Vec<DI> round(hn::Vec<D> x) const {
    auto q = hn::Div(x, scale);
    q = hn::IfThenElseZero(hn::Eq(q, q), q);
    return hn::Add(round_in_range(DI(), hn::Min(hn::Max(q, lo), hi)), zero);
  }
  HWY_INLINE hn::Vec<DT> quantize(hn::Vec<D> x) const {
    return hn::Xor(hn::DemoteTo(DT(), round(x)), flip);
  }
};

void binary_int8(OpKind op, const BinaryInt8& p, RowOperand a, RowOperand b, void* y,
                 int64_t count) {
  const hn::ScalableTag<float> d;
  using B = Integers<decltype(d)>;
  const B::DT d8;
  const B bytes_a(d, p.scale_a, p.zero_a, p.signed_a);
  const B bytes_b(d, p.scale_b, p.zero_b, p.signed_b);
  const B bytes_y(d, p.scale_y, p.zero_y, p.signed_y);
  const auto* pa = static_cast<const uint8_t*>(a.data);
  const auto* pb = static_cast<const uint8_t*>(b.data);
  auto* py = static_cast<uint8_t*>(y);
  const auto all_a = hn::Set(d8, pa[0]);
  const auto all_b = hn::Set(d8, pb[0]);
  with_binary(op, [&](auto apply) OCTAVO_INLINE {
    for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
      const auto qa = a.stride != 0 ? load(d8, pa + i, n) : all_a;
      const auto qb = b.stride != 0 ? load(d8, pb + i, n) : all_b;
      const auto result = apply(d, bytes_a.real(qa), bytes_b.real(qb));
      store(bytes_y.quantize(result), d8, py + i, n);
    });
  });
}

template <class T>
void quantize_row_of(const float* x, float scale, int32_t zero_point, bool is_signed, T* y,
                     int64_t count) {
  const hn::ScalableTag<float> d;
  const Integers<decltype(d), T> integers(d, scale, zero_point, is_signed);
  int64_t done = 0;
  if constexpr (sizeof(T) == 1) {
    // Four vectors at a time: narrowing one takes as long as narrowing four.
    const hn::ScalableTag<uint8_t> d8;
    const hn::Repartition<int16_t, decltype(d8)> d16;
    constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
    const auto flip = hn::Set(d8, static_cast<uint8_t>(is_signed ? 0x80 : 0));
    for (; done + 4 * kLanes <= count; done += 4 * kLanes) {
      const auto q = [&](int64_t i) OCTAVO_INLINE {
        return integers.round(hn::LoadU(d, x + done + i * kLanes));
      };
      const auto low = hn::OrderedDemote2To(d16, q(0), q(1));
      const auto high = hn::OrderedDemote2To(d16, q(2), q(3));
      hn::StoreU(hn::Xor(hn::OrderedDemote2To(d8, low, high), flip), d8, y + done);
    }
  }
  for_each_vector(d, count - done, [&](int64_t i, size_t n) OCTAVO_INLINE {
    const auto q = integers.quantize(load(d, x + done + i, n));
    store(q, hn::Rebind<T, decltype(d)>(), y + done + i, n);
  });
}
void quantize_row(const float* x, float scale, int32_t zero_point, DType dtype, void* y,
                  int64_t count) {
  const bool is_signed = dtype == DType::kI8 || dtype == DType::kI16;
  if (dtype == DType::kI8 || dtype == DType::kU8) {
    quantize_row_of(x, scale, zero_point, is_signed, static_cast<uint8_t*>(y), count);
  } else {
    quantize_row_of(x, scale, zero_point, is_signed, static_cast<uint16_t*>(y), count);
  }
}

template <class T>
void dequantize_row_of(const T* x, float scale, int32_t zero_point, bool is_signed, float* y,
                       int64_t count) {
  const hn::ScalableTag<float> d;
  const Integers<decltype(d), T> integers(d, scale, zero_point, is_signed);
  for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
    store(integers.real(load(hn::Rebind<T, decltype(d)>(), x + i, n)), d, y + i, n);
  });
}
void dequantize_row(const void* x, float scale, int32_t zero_point, DType dtype, float* y,
                    int64_t count) {
  const bool is_signed = dtype == DType::kI8 || dtype == DType::kI16;
  if (dtype == DType::kI8 || dtype == DType::kU8) {
    dequantize_row_of(static_cast<const uint8_t*>(x), scale, zero_point, is_signed, y, count);
  } else {
    dequantize_row_of(static_cast<const uint16_t*>(x), scale, zero_point, is_signed, y, count);
  }
}

void lookup_row(const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t count) {
  const hn::ScalableTag<uint8_t> d;
  const LookUp<decltype(d)> look_up(d, table);
  for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
    store(look_up(load(d, x + i, n)), d, y + i, n);
  });
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(binary_f32);
HWY_EXPORT(binary_int8);
HWY_EXPORT(quantize_row);
HWY_EXPORT(dequantize_row);
HWY_EXPORT(lookup_row);
}  // namespace

void binary_f32(OpKind op, RowOperand a, RowOperand b, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(binary_f32)(op, a, b, y, count);
}
void binary_int8(OpKind op, const BinaryInt8& params, RowOperand a, RowOperand b, void* y,
                 int64_t count) {
  HWY_DYNAMIC_DISPATCH(binary_int8)(op, params, a, b, y, count);
}
void quantize_row(const float* x, float scale, int32_t zero_point, DType dtype, void* y,
                  int64_t count) {
  HWY_DYNAMIC_DISPATCH(quantize_row)(x, scale, zero_point, dtype, y, count);
}
void dequantize_row(const void* x, float scale, int32_t zero_point, DType dtype, float* y,
                    int64_t count) {
  HWY_DYNAMIC_DISPATCH(dequantize_row)(x, scale, zero_point, dtype, y, count);
}
void lookup_row(const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(lookup_row)(table, x, y, count);
}
}  // namespace octavo::kernels
#endif
