// ArgMax, ArgMin, TopK and CumSum: operators along one axis that look at order.
#include <algorithm>
#include <numeric>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/fold.h"
#include "runtime/sort.h"

namespace octavo::ops {
namespace {

Status infer_arg(InferContext& context) {
  context.set_output(0, DType::kI64);
  const Shape& x = context.shape(0);
  if (!x.has_rank()) return {};
  OCTAVO_ASSIGN(const int64_t axis, normalize_axis(context.node.get_int("axis"), x.rank()));
  context.output(0).shape = folded_shape(x, {&axis, 1}, context.node.get_int("keepdims") != 0);
  return {};
}

template <bool kMax>
Status arg_extremum(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const int64_t axis, normalize_axis(context.node.get_int("axis"), x.shape.rank()));
  const bool last = context.node.get_int("select_last_index") != 0;
  const AxisSplit split = split_axis(x, static_cast<int>(axis));
  if (split.dim == 0 && split.outer * split.inner > 0) {
    return fail(ErrorCode::kShapeMismatch, "axis ", axis, " has no elements");
  }
  const bool keep = context.node.get_int("keepdims") != 0;
  OCTAVO_ASSIGN(const TensorView out,
                context.make_output(0, DType::kI64, folded_shape(x.shape, {&axis, 1}, keep)));
  return visit_wide(x.dtype, [&]<class T>() -> Status {
    for (int64_t o = 0; o < split.outer; ++o) {
      for (int64_t i = 0; i < split.inner; ++i) {
        const T* from = x.as<const T>() + o * split.dim * split.inner + i;
        int64_t best = 0;
        for (int64_t d = 1; d < split.dim; ++d) {
          const T value = from[d * split.inner], current = from[best * split.inner];
          const bool better = kMax ? value > current : value < current;
          if (better || (last && value == current)) best = d;
        }
        out.as<int64_t>()[o * split.inner + i] = best;
      }
    }
    return {};
  });
}

template <ReferenceFn kReference>
Status widened(KernelContext& context) {
  return run_widened(context, kReference, widen_number);
}

Status check_k(int64_t k, int64_t dim) {
  if (k >= 0 && (dim < 0 || k <= dim)) return {};
  return fail(ErrorCode::kShapeMismatch, "K = ", k, " of ", dim, " elements");
}

Status infer_topk(InferContext& context) {
  context.set_output(0, context.dtype(0));
  context.set_output(1, DType::kI64);
  Shape shape = context.shape(0);
  if (!shape.has_rank()) return {};
  OCTAVO_ASSIGN(const int axis, normalize_axis(context.node.get_int("axis"), shape.rank()));
  OCTAVO_ASSIGN(const auto k, constant_ints(context, 1));
  if (k && k->size() != 1) return fail(ErrorCode::kShapeMismatch, "K must be one integer");
  if (k) OCTAVO_TRY(check_k((*k)[0], shape[axis]));
  shape[axis] = k ? (*k)[0] : kUnknownDim;
  for (size_t i = 0; i < context.output_count() && i < 2; ++i) context.output(i).shape = shape;
  return {};
}

Status topk(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const int axis, normalize_axis(context.node.get_int("axis"), x.shape.rank()));
  OCTAVO_ASSIGN(const int64_t k, scalar_int(context.in(1)));
  const AxisSplit split = split_axis(x, axis);
  OCTAVO_TRY(check_k(k, split.dim));
  const bool largest = context.node.get_int("largest") != 0;
  Shape shape = x.shape;
  shape[axis] = k;
  TensorView values, indices;
  if (context.has_output(0)) {
    OCTAVO_ASSIGN(values, context.make_output(0, x.dtype, shape));
  }
  if (context.has_output(1)) {
    OCTAVO_ASSIGN(indices, context.make_output(1, DType::kI64, shape));
  }
  return visit_wide(x.dtype, [&]<class T>() -> Status {
    std::vector<int64_t> order(static_cast<size_t>(split.dim));
    for (int64_t o = 0; o < split.outer; ++o) {
      for (int64_t i = 0; i < split.inner; ++i) {
        const T* from = x.as<const T>() + o * split.dim * split.inner + i;
        // NaN above everything.
        const auto before = [&](int64_t p, int64_t q) {
          const T a = from[p * split.inner], b = from[q * split.inner];
          const bool nan_a = a != a, nan_b = b != b;
          if (nan_a != nan_b) return nan_a == largest;
          return largest ? a > b : a < b;
        };
        std::iota(order.begin(), order.end(), 0);
        sort_first(order, k, before);
        for (int64_t j = 0; j < k; ++j) {
          const int64_t at = (o * k + j) * split.inner + i, index = order[static_cast<size_t>(j)];
          if (values.data != nullptr) values.as<T>()[at] = from[index * split.inner];
          if (indices.data != nullptr) indices.as<int64_t>()[at] = index;
        }
      }
    }
    return {};
  });
}

Status cumsum(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const int64_t axis_input, scalar_int(context.in(1)));
  OCTAVO_ASSIGN(const int axis, normalize_axis(axis_input, x.shape.rank()));
  const bool exclusive = context.node.get_int("exclusive") != 0;
  const bool reverse = context.node.get_int("reverse") != 0;
  const AxisSplit split = split_axis(x, axis);
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  return visit_wide(x.dtype, [&]<class T>() -> Status {
    // Integers as unsigned: they wrap around.
    using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
    for (int64_t o = 0; o < split.outer; ++o) {
      for (int64_t i = 0; i < split.inner; ++i) {
        Sum sum = 0;
        for (int64_t d = 0; d < split.dim; ++d) {
          const int64_t along = reverse ? split.dim - 1 - d : d;
          const int64_t at = (o * split.dim + along) * split.inner + i;
          const auto value = static_cast<Sum>(x.as<const T>()[at]);
          if (exclusive) out.as<T>()[at] = static_cast<T>(sum);
          sum += value;
          if (!exclusive) out.as<T>()[at] = static_cast<T>(sum);
        }
      }
    }
    return {};
  });
}

constexpr FieldDef kArgFields[] = {int_field("axis", 0), int_field("keepdims", 1),
                                   int_field("select_last_index", 0)};
constexpr FieldDef kTopKFields[] = {int_field("axis", -1), int_field("largest", 1),
                                    int_field("sorted", 1)};
constexpr FieldDef kCumSumFields[] = {int_field("exclusive", 0), int_field("reverse", 0)};

constexpr OpDef kRows[] = {
    {.kind = OpKind::kArgMax,
     .name = "ArgMax",
     .fields = kArgFields,
     .infer = infer_arg,
     .reference = widened<arg_extremum<true>>},
    {.kind = OpKind::kArgMin,
     .name = "ArgMin",
     .fields = kArgFields,
     .infer = infer_arg,
     .reference = widened<arg_extremum<false>>},
    {.kind = OpKind::kTopK,
     .name = "TopK",
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 2,
     .max_outputs = 2,
     .fields = kTopKFields,
     .infer = infer_topk,
     .reference = widened<topk>},
    {.kind = OpKind::kCumSum,
     .name = "CumSum",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kCumSumFields,
     .infer = infer_like_input,
     .reference = widened<cumsum>},
};

}  // namespace

std::span<const OpDef> rank_ops() { return kRows; }

}  // namespace octavo::ops
