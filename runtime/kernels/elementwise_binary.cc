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
        return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::Ne(a, a)), a, b);
      });
    case OpKind::kMin:
      return fn([](auto, auto a, auto b) OCTAVO_INLINE {
        return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::Ne(a, a)), a, b);
      });
    case OpKind::kPRelu:
      return fn([](auto d, auto x, auto slope) OCTAVO_INLINE {
        return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(x, slope), x);
      });
    default: return;
  }
}

// Calls fn(i, lanes) for whole vectors, then once for what is left (lanes < N).
template <class D, class Whole, class Rest>
HWY_INLINE void for_each_vector(D d, int64_t count, const Whole& whole, const Rest& rest) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) whole(i);
  if (i < count) rest(i, static_cast<size_t>(count - i));
}

void binary_f32(OpKind op, RowOperand a, RowOperand b, float* y, int64_t count) {
  const hn::ScalableTag<float> d;
  const auto* pa = static_cast<const float*>(a.data);
  const auto* pb = static_cast<const float*>(b.data);
  const auto all_a = hn::Set(d, pa[0]);
  const auto all_b = hn::Set(d, pb[0]);
  with_binary(op, [&](auto apply) OCTAVO_INLINE {
    for_each_vector(
        d, count,
        [&](int64_t i) OCTAVO_INLINE {
          const auto va = a.stride != 0 ? hn::LoadU(d, pa + i) : all_a;
          const auto vb = b.stride != 0 ? hn::LoadU(d, pb + i) : all_b;
          hn::StoreU(apply(d, va, vb), d, y + i);
        },
        [&](int64_t i, size_t n) OCTAVO_INLINE {
          const auto va = a.stride != 0 ? hn::LoadN(d, pa + i, n) : all_a;
          const auto vb = b.stride != 0 ? hn::LoadN(d, pb + i, n) : all_b;
          hn::StoreN(apply(d, va, vb), d, y + i, n);
        });
  });
}

// 8-bit integers as float vectors and back.
template <class T, class D>
struct Bytes {
  using DT = hn::Rebind<T, D>;
  using DI = hn::RebindToSigned<D>;
  static HWY_INLINE hn::Vec<D> real(D d, hn::Vec<DT> q, hn::Vec<DI> zero, hn::Vec<D> scale) {
    return hn::Mul(hn::ConvertTo(d, hn::Sub(hn::PromoteTo(DI(), q), zero)), scale);
  }
  // Divides, rounds half to even, NaN to zero, then adds the zero point and saturates.
  static HWY_INLINE hn::Vec<DT> quantize(D d, hn::Vec<D> x, hn::Vec<D> scale, hn::Vec<D> zero) {
    auto q = hn::Round(hn::Div(x, scale));
    q = hn::Add(hn::IfThenElseZero(hn::Eq(q, q), q), zero);
    q = hn::Min(hn::Max(q, hn::Set(d, hwy::LimitsMin<T>())), hn::Set(d, hwy::LimitsMax<T>()));
    return hn::DemoteTo(DT(), round_in_range(DI(), q));
  }
};

template <class TA, class TB, class TY>
HWY_INLINE void binary_bytes(OpKind op, const BinaryInt8& p, RowOperand a, RowOperand b, TY* y,
                             int64_t count) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<TA, decltype(d)> da;
  const hn::Rebind<TB, decltype(d)> db;
  const hn::Rebind<TY, decltype(d)> dy;
  const auto* pa = static_cast<const TA*>(a.data);
  const auto* pb = static_cast<const TB*>(b.data);
  const auto zero_a = hn::Set(di, p.zero_a), zero_b = hn::Set(di, p.zero_b);
  const auto scale_a = hn::Set(d, p.scale_a), scale_b = hn::Set(d, p.scale_b);
  const auto scale_y = hn::Set(d, p.scale_y);
  const auto zero_y = hn::Set(d, static_cast<float>(p.zero_y));
  const auto all_a = hn::Set(da, pa[0]);
  const auto all_b = hn::Set(db, pb[0]);
  with_binary(op, [&](auto apply) OCTAVO_INLINE {
    const auto compute = [&](auto qa, auto qb) OCTAVO_INLINE {
      const auto ra = Bytes<TA, decltype(d)>::real(d, qa, zero_a, scale_a);
      const auto rb = Bytes<TB, decltype(d)>::real(d, qb, zero_b, scale_b);
      return Bytes<TY, decltype(d)>::quantize(d, apply(d, ra, rb), scale_y, zero_y);
    };
    for_each_vector(
        d, count,
        [&](int64_t i) OCTAVO_INLINE {
          const auto qa = a.stride != 0 ? hn::LoadU(da, pa + i) : all_a;
          const auto qb = b.stride != 0 ? hn::LoadU(db, pb + i) : all_b;
          hn::StoreU(compute(qa, qb), dy, y + i);
        },
        [&](int64_t i, size_t n) OCTAVO_INLINE {
          const auto qa = a.stride != 0 ? hn::LoadN(da, pa + i, n) : all_a;
          const auto qb = b.stride != 0 ? hn::LoadN(db, pb + i, n) : all_b;
          hn::StoreN(compute(qa, qb), dy, y + i, n);
        });
  });
}

// Calls fn with a value of the 8-bit type.
template <class Fn>
HWY_INLINE void with_bytes(bool is_signed, const Fn& fn) {
  if (is_signed) {
    fn(int8_t{});
  } else {
    fn(uint8_t{});
  }
}

void binary_int8(OpKind op, const BinaryInt8& p, RowOperand a, RowOperand b, void* y,
                 int64_t count) {
  with_bytes(p.signed_a, [&](auto ta) {
    with_bytes(p.signed_b, [&](auto tb) {
      with_bytes(p.signed_y, [&](auto ty) {
        binary_bytes<decltype(ta), decltype(tb)>(op, p, a, b, static_cast<decltype(ty)*>(y), count);
      });
    });
  });
}

template <class T>
HWY_INLINE void quantize_bytes(const float* x, float scale, int32_t zero_point, T* y,
                               int64_t count) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<T, decltype(d)> dy;
  const auto vs = hn::Set(d, scale);
  const auto vz = hn::Set(d, static_cast<float>(zero_point));
  using B = Bytes<T, decltype(d)>;
  for_each_vector(
      d, count,
      [&](int64_t i)
          OCTAVO_INLINE { hn::StoreU(B::quantize(d, hn::LoadU(d, x + i), vs, vz), dy, y + i); },
      [&](int64_t i, size_t n) OCTAVO_INLINE {
        hn::StoreN(B::quantize(d, hn::LoadN(d, x + i, n), vs, vz), dy, y + i, n);
      });
}

void quantize_row(const float* x, float scale, int32_t zero_point, bool is_signed, void* y,
                  int64_t count) {
  with_bytes(is_signed, [&](auto t) {
    quantize_bytes(x, scale, zero_point, static_cast<decltype(t)*>(y), count);
  });
}

template <class T>
HWY_INLINE void dequantize_bytes(const T* x, float scale, int32_t zero_point, float* y,
                                 int64_t count) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<T, decltype(d)> dx;
  const auto vs = hn::Set(d, scale);
  const auto vz = hn::Set(hn::RebindToSigned<decltype(d)>(), zero_point);
  using B = Bytes<T, decltype(d)>;
  for_each_vector(
      d, count,
      [&](int64_t i)
          OCTAVO_INLINE { hn::StoreU(B::real(d, hn::LoadU(dx, x + i), vz, vs), d, y + i); },
      [&](int64_t i, size_t n)
          OCTAVO_INLINE { hn::StoreN(B::real(d, hn::LoadN(dx, x + i, n), vz, vs), d, y + i, n); });
}

void dequantize_row(const void* x, float scale, int32_t zero_point, bool is_signed, float* y,
                    int64_t count) {
  with_bytes(is_signed, [&](auto t) {
    dequantize_bytes(static_cast<const decltype(t)*>(x), scale, zero_point, y, count);
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
}  // namespace

void binary_f32(OpKind op, RowOperand a, RowOperand b, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(binary_f32)(op, a, b, y, count);
}
void binary_int8(OpKind op, const BinaryInt8& params, RowOperand a, RowOperand b, void* y,
                 int64_t count) {
  HWY_DYNAMIC_DISPATCH(binary_int8)(op, params, a, b, y, count);
}
void quantize_row(const float* x, float scale, int32_t zero_point, bool is_signed, void* y,
                  int64_t count) {
  HWY_DYNAMIC_DISPATCH(quantize_row)(x, scale, zero_point, is_signed, y, count);
}
void dequantize_row(const void* x, float scale, int32_t zero_point, bool is_signed, float* y,
                    int64_t count) {
  HWY_DYNAMIC_DISPATCH(dequantize_row)(x, scale, zero_point, is_signed, y, count);
}
}  // namespace octavo::kernels
#endif
