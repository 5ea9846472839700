#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/elementwise_unary.cc"
#include <algorithm>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// Formulas as in runtime/ops/unary.cc; NaN stays NaN.
void unary_f32(OpKind op, float a, float b, const float* x, float* y, int64_t count) {
  const hn::ScalableTag<float> tag;
  const auto run = [&](auto fn) OCTAVO_INLINE {
    for_each_vector(tag, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
      store(fn(tag, load(tag, x + i, n)), tag, y + i, n);
    });
  };
  switch (op) {
    case OpKind::kAbs: return run([](auto, auto v) OCTAVO_INLINE { return hn::Abs(v); });
    case OpKind::kNeg: return run([](auto, auto v) OCTAVO_INLINE { return hn::Neg(v); });
    case OpKind::kSqrt: return run([](auto, auto v) OCTAVO_INLINE { return hn::Sqrt(v); });
    case OpKind::kFloor: return run([](auto, auto v) OCTAVO_INLINE { return hn::Floor(v); });
    case OpKind::kCeil: return run([](auto, auto v) OCTAVO_INLINE { return hn::Ceil(v); });
    case OpKind::kRound: return run([](auto, auto v) OCTAVO_INLINE { return hn::Round(v); });
    case OpKind::kReciprocal:
      return run([](auto d, auto v) OCTAVO_INLINE { return hn::Div(hn::Set(d, 1.0f), v); });
    case OpKind::kRelu:
      return run([](auto d, auto v) OCTAVO_INLINE {
        return hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Zero(d), v);
      });
    case OpKind::kClip:
      return run([=](auto d, auto v) OCTAVO_INLINE {
        const auto lo = hn::Set(d, a), hi = hn::Set(d, b);
        v = hn::IfThenElse(hn::Lt(v, lo), lo, v);
        return hn::IfThenElse(hn::Gt(v, hi), hi, v);
      });
    case OpKind::kLeakyRelu:
      return run([=](auto d, auto v) OCTAVO_INLINE {
        return hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Mul(v, hn::Set(d, a)), v);
      });
    case OpKind::kElu:
      return run([=](auto d, auto v) OCTAVO_INLINE {
        const auto below = hn::Sub(exp_f32(d, hn::Min(v, hn::Zero(d))), hn::Set(d, 1.0f));
        return hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Mul(below, hn::Set(d, a)), v);
      });
    case OpKind::kHardSigmoid:
      return run([=](auto d, auto v) OCTAVO_INLINE {
        return unit_clamp(d, hn::Add(hn::Mul(hn::Set(d, a), v), hn::Set(d, b)));
      });
    case OpKind::kHardSwish:
      return run([](auto d, auto v) OCTAVO_INLINE {
        const auto gate = hn::Add(hn::Div(v, hn::Set(d, 6.0f)), hn::Set(d, 0.5f));
        return hn::Mul(v, unit_clamp(d, gate));
      });
    case OpKind::kExp: return run([](auto d, auto v) OCTAVO_INLINE { return exp_f32(d, v); });
    case OpKind::kSigmoid: return run([](auto d, auto v) OCTAVO_INLINE { return sigmoid(d, v); });
    case OpKind::kTanh: return run([](auto d, auto v) OCTAVO_INLINE { return tanh_f32(d, v); });
    case OpKind::kErf: return run([](auto d, auto v) OCTAVO_INLINE { return erf_f32(d, v); });
    case OpKind::kGelu:  // a != 0: the tanh form
      if (a != 0) {
        return run([](auto d, auto v) OCTAVO_INLINE {
          const auto cube = hn::Mul(hn::Mul(hn::Mul(hn::Set(d, 0.044715f), v), v), v);
          const auto inner = hn::Mul(hn::Set(d, 0.79788456080286535588f), hn::Add(v, cube));
          return hn::Mul(v, sigmoid(d, hn::Add(inner, inner)));
        });
      }
      return run([](auto d, auto v) OCTAVO_INLINE {
        const auto half = hn::Mul(v, hn::Set(d, 0.5f));
        const auto e = erf_f32(d, hn::Mul(v, hn::Set(d, 0.70710678118654752440f)));
        return hn::Add(half, hn::Mul(half, e));
      });
    default: return;
  }
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(unary_f32);
}  // namespace

void unary_f32(OpKind op, float a, float b, const float* x, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(unary_f32)(op, a, b, x, y, count);
}

void apply_f32(const UnaryFunction& function, float* x, int64_t count) {
  if (!function.times_x) return unary_f32(function.op, function.a, function.b, x, x, count);
  constexpr int64_t kBlock = 512;
  float y[kBlock];
  for (; count > 0; x += kBlock, count -= kBlock) {
    const int64_t n = std::min(count, kBlock);
    unary_f32(function.op, function.a, function.b, x, y, n);
    binary_f32(OpKind::kMul, {x, 1}, {y, 1}, x, n);
  }
}
}  // namespace octavo::kernels
#endif
