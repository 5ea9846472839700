// Reduce*: sums, means, extrema and norms along axes.
#include <algorithm>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/fold.h"
#include "runtime/ops/math.h"
#include "runtime/ops/move.h"

namespace octavo::ops {

Shape folded_shape(const Shape& shape, std::span<const int64_t> axes, bool keep) {
  Shape out;
  for (int d = 0; d < shape.rank(); ++d) {
    const bool folded = std::ranges::find(axes, d) != axes.end();
    if (!folded) out.push_back(shape[d]);
    if (folded && keep) out.push_back(1);
  }
  return out;
}

namespace {

/// Nothing to reduce over: the axes are empty and the node says that this means none.
bool is_noop(const Node& node, const std::vector<int64_t>& axes) {
  return axes.empty() && node.get_int("noop_with_empty_axes") != 0;
}

Status resolve_axes(std::vector<int64_t>& axes, int rank) {
  if (axes.empty()) {
    for (int d = 0; d < rank; ++d) axes.push_back(d);
    return {};
  }
  return normalize_axes(axes, rank);
}

Status infer_reduce(InferContext& context) {
  const Shape& x = context.shape(0);
  const bool keep = context.node.get_int("keepdims") != 0;
  context.set_output(0, context.dtype(0));
  OCTAVO_ASSIGN(auto axes, constant_ints(context, 1));
  if (!axes) {
    const Shape& axes_shape = context.shape(1);
    if (!x.has_rank()) return {};
    if (keep) {
      context.output(0).shape = Shape::filled(x.rank(), kUnknownDim);
    } else if (axes_shape.rank() == 1 && axes_shape[0] > 0 && axes_shape[0] <= x.rank()) {
      const int left = x.rank() - static_cast<int>(axes_shape[0]);
      context.output(0).shape = Shape::filled(left, kUnknownDim);
    }
    return {};
  }
  if (is_noop(context.node, *axes)) {
    context.output(0).shape = x;
    return {};
  }
  if (!x.has_rank()) {
    if (!keep && axes->empty()) context.output(0).shape = Shape{};
    return {};
  }
  OCTAVO_TRY(resolve_axes(*axes, x.rank()));
  context.output(0).shape = folded_shape(x, *axes, keep);
  return {};
}

// What a reduction does: an accumulator of type Acc starts at start(), takes elements by add() and
// becomes the result by finish(). Accumulators are double for reals; integers wrap around in 64
// bits.
template <class T>
using AccumulatorOf = std::conditional_t<std::is_floating_point_v<T>, double, T>;

template <class A>
A wrapping_add(A a, A b) {
  if constexpr (std::is_integral_v<A>) {
    return static_cast<A>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  } else {
    return a + b;
  }
}
template <class A>
A wrapping_multiply(A a, A b) {
  if constexpr (std::is_integral_v<A>) {
    return static_cast<A>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  } else {
    return a * b;
  }
}

struct SumOp {
  template <class A>
  static A start() {
    return 0;
  }
  template <class A>
  static A term(A x) {
    return x;
  }
  template <class A>
  static A add(A acc, A x) {
    return wrapping_add(acc, x);
  }
  template <class A>
  static A finish(A acc, int64_t) {
    return acc;
  }
};
struct MeanOp : SumOp {
  template <class A>
  static A finish(A acc, int64_t count) {
    if constexpr (std::is_integral_v<A>) {
      return count == 0 ? 0 : static_cast<A>(acc / static_cast<A>(count));
    } else {
      return acc / static_cast<A>(count);
    }
  }
};
struct L1Op : SumOp {
  template <class A>
  static A term(A x) {
    return x < A(0) ? wrapping_multiply(x, static_cast<A>(-1)) : x;
  }
};
struct SumSquareOp : SumOp {
  template <class A>
  static A term(A x) {
    return wrapping_multiply(x, x);
  }
};
struct L2Op : SumSquareOp {
  template <class A>
  static A finish(A acc, int64_t) {
    return static_cast<A>(std::sqrt(static_cast<double>(acc)));
  }
};
struct LogSumOp : SumOp {
  template <class A>
  static A finish(A acc, int64_t) {
    if constexpr (std::is_integral_v<A>) {
      return acc > 0 ? static_cast<A>(math::log(static_cast<double>(acc))) : 0;
    } else {
      return math::log(acc);
    }
  }
};
struct ProdOp : SumOp {
  template <class A>
  static A start() {
    return 1;
  }
  template <class A>
  static A add(A acc, A x) {
    return wrapping_multiply(acc, x);
  }
};
struct MaxOp : SumOp {
  template <class A>
  static A start() {
    return std::is_floating_point_v<A> ? -std::numeric_limits<A>::infinity()
                                       : std::numeric_limits<A>::lowest();
  }
  template <class A>
  static A add(A acc, A x) {
    return x > acc || x != x ? x : acc;
  }
};
struct MinOp : SumOp {
  template <class A>
  static A start() {
    return std::is_floating_point_v<A> ? std::numeric_limits<A>::infinity()
                                       : std::numeric_limits<A>::max();
  }
  template <class A>
  static A add(A acc, A x) {
    return x < acc || x != x ? x : acc;
  }
};

/// One accumulator for each position of `kept`.
template <class Op, class T>
Result<std::vector<AccumulatorOf<T>>> fold(const TensorView& x, const Shape& kept) {
  using A = AccumulatorOf<T>;
  std::vector<A> acc(static_cast<size_t>(kept.elements()), Op::template start<A>());
  OCTAVO_TRY((for_each_folded<const T>(
      x, kept, acc.data(), [](const T* row, int64_t count, A* to, int64_t step) {
        if (step == 0) {
          A value = *to;
          for (int64_t i = 0; i < count; ++i) {
            value = Op::add(value, Op::term(static_cast<A>(row[i])));
          }
          *to = value;
        } else {
          for (int64_t i = 0; i < count; ++i) {
            to[i] = Op::add(to[i], Op::term(static_cast<A>(row[i])));
          }
        }
      })));
  return acc;
}

/// log(sum(exp(x))), the largest x taken out so that nothing overflows.
template <class T>
Result<std::vector<AccumulatorOf<T>>> fold_log_sum_exp(const TensorView& x, const Shape& kept) {
  using A = AccumulatorOf<T>;
  OCTAVO_ASSIGN(std::vector<A> largest, (fold<MaxOp, T>(x, kept)));
  if (x.elements() == 0) return largest;
  for (A& value : largest) {
    if (!std::isfinite(static_cast<double>(value))) value = 0;
  }
  std::vector<double> sums(largest.size());
  OCTAVO_TRY((for_each_folded<const T>(
      x, kept, sums.data(), [&](const T* row, int64_t count, double* to, int64_t step) {
        const A* offset = largest.data() + (to - sums.data());
        for (int64_t i = 0; i < count; ++i) {
          to[i * step] +=
              math::exp(static_cast<double>(row[i]) - static_cast<double>(offset[i * step]));
        }
      })));
  for (size_t i = 0; i < sums.size(); ++i) {
    largest[i] = static_cast<A>(math::log(sums[i]) + static_cast<double>(largest[i]));
  }
  return largest;
}
struct LogSumExpOp {};

struct Reduction {
  Shape kept, output;
  bool noop = false;
};
Result<Reduction> reduction_of(const KernelContext& context) {
  const Shape& x = context.in(0).shape;
  std::vector<int64_t> axes;
  if (context.has_input(1)) {
    OCTAVO_ASSIGN(axes, to_int64s(context.in(1)));
  }
  Reduction reduction;
  reduction.noop = is_noop(context.node, axes);
  if (reduction.noop) {
    reduction.output = x;
    return reduction;
  }
  OCTAVO_TRY(resolve_axes(axes, x.rank()));
  reduction.kept = folded_shape(x, axes, true);
  reduction.output = folded_shape(x, axes, context.node.get_int("keepdims") != 0);
  return reduction;
}

template <class Op>
Status reduce_wide(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const Reduction reduction, reduction_of(context));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, reduction.output));
  if (reduction.noop) {
    copy_elements(x, out);
    return {};
  }
  return visit_wide(x.dtype, [&]<class T>() -> Status {
    if constexpr (std::is_same_v<Op, LogSumExpOp>) {
      OCTAVO_ASSIGN(const auto acc, fold_log_sum_exp<T>(x, reduction.kept));
      std::ranges::transform(acc, out.as<T>(), [](auto a) { return static_cast<T>(a); });
    } else {
      OCTAVO_ASSIGN(const auto acc, (fold<Op, T>(x, reduction.kept)));
      const int64_t folds = reduction.kept.elements();
      const int64_t count = folds > 0 ? x.elements() / folds : 0;
      std::ranges::transform(acc, out.as<T>(),
                             [&](auto a) { return static_cast<T>(Op::finish(a, count)); });
    }
    return {};
  });
}

template <class Op>
Status reduce(KernelContext& context) {
  return run_widened(context, reduce_wide<Op>, widen_number);
}

/// Max and Min of no elements are the limits of the type itself, which the widened one hides.
template <class Op>
Status reduce_extremum(KernelContext& context) {
  const TensorView& x = context.in(0);
  if (x.elements() > 0 || dtype_info(x.dtype).is_float) return reduce<Op>(context);
  OCTAVO_ASSIGN(const Reduction reduction, reduction_of(context));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, reduction.output));
  const auto run = [&]<class T>() -> Status {
    using Limits = std::numeric_limits<ComputeType<T>>;
    if constexpr (std::is_integral_v<T>) {
      std::fill_n(out.as<T>(), out.elements(),
                  std::is_same_v<Op, MaxOp> ? Limits::lowest() : Limits::max());
      return {};
    } else {
      return bad_dtype(x.dtype);
    }
  };
  return visit_dtype(x.dtype, run, [&]() -> Status { return bad_dtype(x.dtype); });
}

constexpr FieldDef kFields[] = {int_field("keepdims", 1), int_field("noop_with_empty_axes", 0)};

constexpr OpDef row(OpKind kind, const char* name, ReferenceFn reference,
                    QuantPolicy policy = QuantPolicy::kFloatOnly) {
  return {.kind = kind,
          .name = name,
          .max_inputs = 2,
          .fields = kFields,
          .infer = infer_reduce,
          .reference = reference,
          .quant = {.policy = policy},
          .layout = LayoutRule::kAgnostic};
}

constexpr OpDef kRows[] = {
    row(OpKind::kReduceSum, "ReduceSum", reduce<SumOp>),
    row(OpKind::kReduceMean, "ReduceMean", reduce<MeanOp>, QuantPolicy::kRequantize),
    row(OpKind::kReduceMax, "ReduceMax", reduce_extremum<MaxOp>, QuantPolicy::kSameScale),
    row(OpKind::kReduceMin, "ReduceMin", reduce_extremum<MinOp>, QuantPolicy::kSameScale),
    row(OpKind::kReduceProd, "ReduceProd", reduce<ProdOp>),
    row(OpKind::kReduceL1, "ReduceL1", reduce<L1Op>),
    row(OpKind::kReduceL2, "ReduceL2", reduce<L2Op>),
    row(OpKind::kReduceLogSum, "ReduceLogSum", reduce<LogSumOp>),
    row(OpKind::kReduceLogSumExp, "ReduceLogSumExp", reduce<LogSumExpOp>),
    row(OpKind::kReduceSumSquare, "ReduceSumSquare", reduce<SumSquareOp>),
};

}  // namespace

std::span<const OpDef> reduce_ops() { return kRows; }

}  // namespace octavo::ops
