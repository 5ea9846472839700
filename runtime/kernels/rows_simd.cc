#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/rows_simd.cc"
#include <cmath>
#include <limits>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/math-inl.h"
#include "runtime/kernels/rows.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// Vectors that are summed up before they are added to the sum of all, which keeps long sums exact
// to a few units in the last place.
constexpr int64_t kRun = 64;

// Calls fn(start value, term(x), combine(a, b)).
template <class Fn>
HWY_INLINE void with_fold(Fold fold, const Fn& fn) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto same = [](auto x) OCTAVO_INLINE { return x; };
  const auto add = [](auto a, auto b) OCTAVO_INLINE { return hn::Add(a, b); };
  switch (fold) {
    case Fold::kSum: return fn(0.0f, same, add);
    case Fold::kAbsSum: return fn(0.0f, [](auto x) OCTAVO_INLINE { return hn::Abs(x); }, add);
    case Fold::kSquareSum: return fn(0.0f, [](auto x) OCTAVO_INLINE { return hn::Mul(x, x); }, add);
    case Fold::kMax:
      return fn(-kInfinity, same, [](auto a, auto b) OCTAVO_INLINE {
        return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b);
      });
    case Fold::kMin:
      return fn(kInfinity, same, [](auto a, auto b) OCTAVO_INLINE {
        return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(a)), a, b);
      });
  }
}

// The fold of a vector's lanes, half with half.
template <class D1, class Combine>
HWY_INLINE float fold_vector(D1, hn::Vec<D1> v, const Combine& combine) {
  if constexpr (HWY_MAX_LANES_D(D1) == 1) {
    return hn::GetLane(v);
  } else {
    const hn::Half<D1> half;
    const auto halves = combine(hn::LowerHalf(half, v), hn::UpperHalf(half, v));
    return fold_vector(half, halves, combine);
  }
}

// The fold of term(x[i]) over a row, lane by lane, then over the lanes.
template <class Term, class Combine>
HWY_INLINE float fold_lanes(const float* x, int64_t count, float start, const Term& term,
                            const Combine& combine) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto total = hn::Set(d, start);
  for (int64_t begin = 0; begin < count; begin += kRun * lanes) {
    const int64_t end = HWY_MIN(count, begin + kRun * lanes);
    auto sum = hn::Set(d, start), b = sum, c = sum, e = sum;
    int64_t i = begin;
    for (; i + 4 * lanes <= end; i += 4 * lanes) {  // four chains, which overlap
      sum = combine(sum, term(hn::LoadU(d, x + i)));
      b = combine(b, term(hn::LoadU(d, x + i + lanes)));
      c = combine(c, term(hn::LoadU(d, x + i + 2 * lanes)));
      e = combine(e, term(hn::LoadU(d, x + i + 3 * lanes)));
    }
    sum = combine(combine(sum, b), combine(c, e));
    for (; i < end; i += lanes) {
      const auto n = static_cast<size_t>(end - i);
      const auto next = combine(sum, term(load(d, x + i, HWY_MIN(n, hn::Lanes(d)))));
      sum = n >= hn::Lanes(d) ? next : hn::IfThenElse(hn::FirstN(d, n), next, sum);
    }
    total = combine(total, sum);
  }
  return fold_vector(d, total, combine);
}

float fold_row(Fold fold, const float* x, int64_t count) {
  float result = 0;
  with_fold(fold, [&](float start, auto term, auto combine)
                      OCTAVO_INLINE { result = fold_lanes(x, count, start, term, combine); });
  return result;
}

void fold_columns(Fold fold, const float* x, int64_t depth, int64_t stride, float* y,
                  int64_t count) {
  const D d;
  with_fold(fold, [&](float start, auto term, auto combine) OCTAVO_INLINE {
    for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
      auto total = hn::Set(d, start);
      for (int64_t begin = 0; begin < depth; begin += kRun) {
        const int64_t end = HWY_MIN(depth, begin + kRun);
        auto sum = hn::Set(d, start);
        for (int64_t k = begin; k < end; ++k) {
          sum = combine(sum, term(load(d, x + k * stride + i, n)));
        }
        total = combine(total, sum);
      }
      store(total, d, y + i, n);
    });
  });
}

float squared_deviations(const float* x, float mean, int64_t count) {
  const D d;
  const auto m = hn::Set(d, mean);
  return fold_lanes(
      x, count, 0.0f,
      [&](auto v) OCTAVO_INLINE {
        const auto difference = hn::Sub(v, m);
        return hn::Mul(difference, difference);
      },
      [](auto a, auto b) OCTAVO_INLINE { return hn::Add(a, b); });
}

void normalize_row(const float* x, float* y, int64_t count, float mean, float factor,
                   RowFactor scale, RowFactor bias) {
  const D d;
  const auto m = hn::Set(d, mean), f = hn::Set(d, factor);
  const auto all_scale = hn::Set(d, scale.data[0]), all_bias = hn::Set(d, bias.data[0]);
  for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
    const auto s = scale.stride != 0 ? load(d, scale.data + i, n) : all_scale;
    const auto b = bias.stride != 0 ? load(d, bias.data + i, n) : all_bias;
    const auto normal = hn::Mul(hn::Sub(load(d, x + i, n), m), f);
    store(hn::Add(hn::Mul(normal, s), b), d, y + i, n);
  });
}

void softmax_row(bool log, const float* x, float* y, int64_t count) {
  const D d;
  const auto largest = hn::Set(d, HWY_NAMESPACE::fold_row(Fold::kMax, x, count));
  auto sums = hn::Zero(d);
  for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
    const auto e = exp_f32(d, hn::Sub(load(d, x + i, n), largest));
    sums = hn::Add(sums, n >= hn::Lanes(d) ? e : hn::IfThenElseZero(hn::FirstN(d, n), e));
    if (!log) store(e, d, y + i, n);
  });
  const float sum = hn::ReduceSum(d, sums);
  const auto last = hn::Set(d, log ? std::log(sum) : 1 / sum);
  for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
    const auto v =
        log ? hn::Sub(hn::Sub(load(d, x + i, n), largest), last) : hn::Mul(load(d, y + i, n), last);
    store(v, d, y + i, n);
  });
}

void softmax_columns(bool log, const float* x, float* y, int64_t depth, int64_t stride,
                     int64_t lane_stride, int64_t count) {
  const D d;
  const hn::RebindToSigned<D> di;
  const auto index = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int32_t>(lane_stride)));
  for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
    const int64_t first = i * lane_stride;
    const auto get = [&](const float* from, int64_t k) OCTAVO_INLINE {
      from += first + k * stride;
      return lane_stride == 1 ? load(d, from, n) : hn::GatherIndexN(d, from, index, n);
    };
    const auto put = [&](V v, int64_t k) OCTAVO_INLINE {
      float* to = y + first + k * stride;
      lane_stride == 1 ? store(v, d, to, n) : hn::ScatterIndexN(v, d, to, index, n);
    };
    auto largest = get(x, 0);
    for (int64_t k = 1; k < depth; ++k) largest = hn::Max(largest, get(x, k));
    auto sum = hn::Zero(d);
    for (int64_t k = 0; k < depth; ++k) {
      const auto e = exp_f32(d, hn::Sub(get(x, k), largest));
      sum = hn::Add(sum, e);
      if (!log) put(e, k);
    }
    const auto last = log ? hn::Log(d, sum) : hn::Div(hn::Set(d, 1.0f), sum);
    for (int64_t k = 0; k < depth; ++k) {
      put(log ? hn::Sub(hn::Sub(get(x, k), largest), last) : hn::Mul(get(y, k), last), k);
    }
  });
}

void blend_rows(const float* x, const int32_t* index, const float* weight, int64_t taps,
                int64_t stride, int64_t inner, float* y, int64_t count) {
  const D d;
  if (taps == 2) {  // linear
    const float *first = x + index[0] * inner, *second = x + index[stride] * inner;
    const auto a = hn::Set(d, weight[0]), b = hn::Set(d, weight[stride]);
    return for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
      const auto sum = hn::Add(hn::Zero(d), hn::Mul(a, load(d, first + i, n)));
      store(hn::Add(sum, hn::Mul(b, load(d, second + i, n))), d, y + i, n);
    });
  }
  for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
    auto sum = hn::Zero(d);
    for (int64_t t = 0; t < taps; ++t) {
      const auto row = load(d, x + index[t * stride] * inner + i, n);
      sum = hn::Add(sum, hn::Mul(hn::Set(d, weight[t * stride]), row));
    }
    store(sum, d, y + i, n);
  });
}

void blend_gathered(const float* x, const int32_t* index, const float* weight, int64_t taps,
                    int64_t stride, float* y, int64_t count) {
  const D d;
  const hn::RebindToSigned<D> di;
  for_each_vector(d, count, [&](int64_t i, size_t n) OCTAVO_INLINE {
    auto sum = hn::Zero(d);
    for (int64_t t = 0; t < taps; ++t) {
      const auto at = load(di, index + t * stride + i, n);
      const auto w = load(d, weight + t * stride + i, n);
      sum = hn::Add(sum, hn::Mul(w, hn::GatherIndexN(d, x, at, n)));
    }
    store(sum, d, y + i, n);
  });
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(fold_row);
HWY_EXPORT(fold_columns);
HWY_EXPORT(squared_deviations);
HWY_EXPORT(normalize_row);
HWY_EXPORT(softmax_row);
HWY_EXPORT(softmax_columns);
HWY_EXPORT(blend_rows);
HWY_EXPORT(blend_gathered);
}  // namespace

float fold_row(Fold fold, const float* x, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(fold_row)(fold, x, count);
}
void fold_columns(Fold fold, const float* x, int64_t depth, int64_t stride, float* y,
                  int64_t count) {
  HWY_DYNAMIC_DISPATCH(fold_columns)(fold, x, depth, stride, y, count);
}
float squared_deviations(const float* x, float mean, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(squared_deviations)(x, mean, count);
}
void normalize_row(const float* x, float* y, int64_t count, float mean, float factor,
                   RowFactor scale, RowFactor bias) {
  HWY_DYNAMIC_DISPATCH(normalize_row)(x, y, count, mean, factor, scale, bias);
}
void softmax_row(bool log, const float* x, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(softmax_row)(log, x, y, count);
}
void softmax_columns(bool log, const float* x, float* y, int64_t depth, int64_t stride,
                     int64_t lane_stride, int64_t count) {
  HWY_DYNAMIC_DISPATCH(softmax_columns)(log, x, y, depth, stride, lane_stride, count);
}
void blend_rows(const float* x, const int32_t* index, const float* weight, int64_t taps,
                int64_t stride, int64_t inner, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(blend_rows)(x, index, weight, taps, stride, inner, y, count);
}
void blend_gathered(const float* x, const int32_t* index, const float* weight, int64_t taps,
                    int64_t stride, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(blend_gathered)(x, index, weight, taps, stride, y, count);
}
}  // namespace octavo::kernels
#endif
