#include <algorithm>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/math.h"

namespace octavo::ops {
namespace {

Status infer_softmax(InferContext& context) {
  if (context.shape(0).has_rank()) {
    OCTAVO_TRY(normalize_axis(context.node.get_int("axis"), context.shape(0).rank()));
  }
  return infer_like_input(context);
}

// `count` elements `stride` apart.
template <bool kLog>
struct Softmax {
  static void apply(const double* x, double* y, int64_t count, int64_t stride) {
    double largest = x[0];
    for (int64_t i = 1; i < count; ++i) largest = std::max(largest, x[i * stride]);
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += math::exp(x[i * stride] - largest);
    for (int64_t i = 0; i < count; ++i) {
      const double v = x[i * stride] - largest;
      y[i * stride] = kLog ? v - math::log(sum) : math::exp(v) / sum;
    }
  }
};
struct Hardmax {
  static void apply(const double* x, double* y, int64_t count, int64_t stride) {
    int64_t best = 0;
    for (int64_t i = 1; i < count; ++i) {
      if (x[i * stride] > x[best * stride]) best = i;
    }
    for (int64_t i = 0; i < count; ++i) y[i * stride] = i == best ? 1 : 0;
  }
};

template <class Function>
Status along_axis(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const int axis, normalize_axis(context.node.get_int("axis"), x.shape.rank()));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  const AxisSplit split = split_axis(x, axis);
  if (split.dim == 0) return {};
  OCTAVO_TRY(check_double(x.dtype));
  const double* in = x.as<const double>();
  double* to = out.as<double>();
  parallel_for(context.pool, split.outer * split.inner, 16384 / split.dim + 1,
               [&](int64_t begin, int64_t end) {
                 for (int64_t j = begin; j < end; ++j) {
                   const int64_t at = j / split.inner * split.dim * split.inner + j % split.inner;
                   Function::apply(in + at, to + at, split.dim, split.inner);
                 }
               });
  return {};
}

constexpr FieldDef kFields[] = {int_field("axis", -1)};

constexpr OpDef row(OpKind kind, const char* name, ReferenceFn reference, float fixed_scale = 0) {
  return {.kind = kind,
          .name = name,
          .fields = kFields,
          .infer = infer_softmax,
          .reference = reference,
          .quant = {.policy = QuantPolicy::kFloatOnly, .fixed_scale = fixed_scale},
          .layout = LayoutRule::kAgnostic,
          .flags = kInPlace};
}

constexpr OpDef kRows[] = {
    row(OpKind::kSoftmax, "Softmax", in_double<along_axis<Softmax<false>>>, 1.0f / 256),
    row(OpKind::kLogSoftmax, "LogSoftmax", in_double<along_axis<Softmax<true>>>),
    row(OpKind::kHardmax, "Hardmax", in_double<along_axis<Hardmax>>),
};

}  // namespace

std::span<const OpDef> softmax_ops() { return kRows; }

}  // namespace octavo::ops
