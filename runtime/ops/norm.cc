// Normalizations, in double precision.
#include <algorithm>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/fold.h"
#include "runtime/ops/move.h"

namespace octavo::ops {
namespace {

/// Inputs [first, first + count) hold one element of x's dtype per channel.
Status check_per_channel(const KernelContext& context, size_t first, size_t count,
                         int64_t channels) {
  for (size_t i = first; i < first + count; ++i) {
    const TensorView& view = context.in(i);
    if (view.dtype != context.in(0).dtype || view.elements() != channels) {
      return fail(ErrorCode::kShapeMismatch, "input ", i, " must be ", channels, " elements of ",
                  dtype_name(context.in(0).dtype), ", one per channel, but is ",
                  view.shape.to_string(), " of ", dtype_name(view.dtype));
    }
  }
  return {};
}

Status check_has_channels(const Shape& x) {
  if (x.rank() >= 2) return {};
  return fail(ErrorCode::kShapeMismatch, "a tensor of rank ", x.rank(), " has no channel axis");
}

Status infer_batch_norm(InferContext& context) {
  OCTAVO_TRY(infer_like_input(context));
  for (size_t i = 1; i < context.output_count() && i < 3; ++i) {
    context.set_output(i, context.dtype(i + 2), context.shape(i + 2));
  }
  return {};
}

/// y = x * factor[c] + offset[c] along axis 1.
void scale_channels(ThreadPool* pool, const TensorView& x, const TensorView& out,
                    const double* factor, const double* offset) {
  const AxisSplit split = split_axis(x, 1);
  const double* in = x.as<const double>();
  double* y = out.as<double>();
  if (split.inner == 1) {
    parallel_for(pool, split.outer, 16384 / std::max<int64_t>(split.dim, 1) + 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t o = begin; o < end; ++o) {
                     for (int64_t c = 0; c < split.dim; ++c) {
                       y[o * split.dim + c] = in[o * split.dim + c] * factor[c] + offset[c];
                     }
                   }
                 });
    return;
  }
  parallel_for(pool, split.outer * split.dim, 16384 / std::max<int64_t>(split.inner, 1) + 1,
               [&](int64_t begin, int64_t end) {
                 for (int64_t p = begin; p < end; ++p) {
                   const double f = factor[p % split.dim], b = offset[p % split.dim];
                   for (int64_t i = p * split.inner; i < (p + 1) * split.inner; ++i) {
                     y[i] = in[i] * f + b;
                   }
                 }
               });
}

Status batch_norm(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_TRY(check_has_channels(x.shape));
  const int64_t channels = x.shape[1];
  OCTAVO_TRY(check_per_channel(context, 1, 4, channels));
  const double epsilon = context.node.get_float("epsilon");
  const bool training = context.node.get_int("training_mode") != 0;
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  OCTAVO_TRY(check_double(x.dtype));
  const auto count = static_cast<size_t>(channels);
  std::vector<double> mean(context.in(3).as<const double>(),
                           context.in(3).as<const double>() + count);
  std::vector<double> variance(context.in(4).as<const double>(),
                               context.in(4).as<const double>() + count);
  if (training) {
    std::vector<int64_t> axes;
    for (int d = 0; d < x.shape.rank(); ++d) {
      if (d != 1) axes.push_back(d);
    }
    OCTAVO_ASSIGN(const Moments moments, fold_moments(x, folded_shape(x.shape, axes, true)));
    const double momentum = context.node.get_float("momentum");
    const auto update = [&](size_t i, const std::vector<double>& running,
                            const std::vector<double>& batch) -> Status {
      if (!context.has_output(i)) return {};
      OCTAVO_ASSIGN(const TensorView y, context.make_output(i, x.dtype, Shape{channels}));
      for (size_t c = 0; c < count; ++c) {
        y.as<double>()[c] = running[c] * momentum + batch[c] * (1 - momentum);
      }
      return {};
    };
    OCTAVO_TRY(update(1, mean, moments.mean));
    OCTAVO_TRY(update(2, variance, moments.variance));
    mean = moments.mean;
    variance = moments.variance;
  } else {
    for (size_t i = 1; i < 3; ++i) {
      if (!context.has_output(i)) continue;
      OCTAVO_ASSIGN(const TensorView y, context.make_output(i, x.dtype, Shape{channels}));
      copy_elements(context.in(i + 2), y);
    }
  }
  std::vector<double> factor(count), offset(count);
  for (size_t c = 0; c < count; ++c) {
    factor[c] = context.in(1).as<const double>()[c] / std::sqrt(variance[c] + epsilon);
    offset[c] = context.in(2).as<const double>()[c] - mean[c] * factor[c];
  }
  scale_channels(context.pool, x, out, factor.data(), offset.data());
  return {};
}

/// Rows of `count` consecutive elements, each normalized to mean 0 and variance 1; then
/// element(row, i, normalized) gives what is stored. Statistics of row r go to `keep` if it is set.
template <class Element, class Keep>
void normalize_rows(ThreadPool* pool, const double* x, double* y, int64_t rows, int64_t count,
                    double epsilon, const Element& element, const Keep& keep) {
  parallel_for(
      pool, rows, 16384 / std::max<int64_t>(count, 1) + 1, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const double* from = x + r * count;
          const auto n = static_cast<double>(count);
          const double mean = sum_terms(from, count, [](double v) { return v; }) / n;
          const double variance =
              sum_terms(from, count, [mean](double v) { return (v - mean) * (v - mean); }) / n;
          const double inverse = 1 / std::sqrt(variance + epsilon);
          for (int64_t i = 0; i < count; ++i) {
            y[r * count + i] = element(r, i, (from[i] - mean) * inverse);
          }
          keep(r, mean, inverse);
        }
      });
}
constexpr auto kKeepNothing = [](int64_t, double, double) {};

// InstanceNormalization: every channel is a group.
Status group_norm(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_TRY(check_has_channels(x.shape));
  OCTAVO_TRY(check_double(x.dtype));
  const int64_t channels = x.shape[1];
  const bool is_instance = context.node.kind == OpKind::kInstanceNormalization;
  const int64_t groups = is_instance ? channels : context.node.get_int("num_groups");
  OCTAVO_TRY(check_per_channel(context, 1, 2, channels));
  if (groups < 0 || (groups == 0 ? channels : channels % groups) != 0) {
    return fail(ErrorCode::kShapeMismatch, channels, " channels do not form ", groups, " groups");
  }
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  if (groups == 0) return {};
  const int64_t plane = x.shape.elements(2, x.shape.rank());
  const int64_t per_group = channels / groups;
  const double* scale = context.in(1).as<const double>();
  const double* bias = context.in(2).as<const double>();
  normalize_rows(
      context.pool, x.as<const double>(), out.as<double>(), x.shape[0] * groups, per_group * plane,
      context.node.get_float("epsilon"),
      [&](int64_t r, int64_t i, double v) {
        const int64_t c = r % groups * per_group + i / plane;
        return v * scale[c] + bias[c];
      },
      kKeepNothing);
  return {};
}

Status infer_layer_norm(InferContext& context) {
  OCTAVO_TRY(infer_like_input(context));
  const bool in_float = context.node.get_int("stash_type") == 1;
  const DType stash = in_float ? DType::kF32 : context.dtype(0);
  Shape shape = context.shape(0);
  if (shape.has_rank()) {
    OCTAVO_ASSIGN(const int axis, normalize_axis(context.node.get_int("axis"), shape.rank()));
    for (int d = axis; d < shape.rank(); ++d) shape[d] = 1;
  }
  context.set_output(1, stash, shape);
  context.set_output(2, stash, shape);
  return {};
}

Status layer_norm(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const int axis, normalize_axis(context.node.get_int("axis"), x.shape.rank()));
  const int64_t rows = x.shape.elements(0, axis);
  const int64_t count = x.shape.elements(axis, x.shape.rank());
  for (size_t i = 1; i < 3; ++i) {
    if (!context.has_input(i)) continue;
    const TensorView& view = context.in(i);
    if (view.dtype != x.dtype || (view.elements() != count && view.elements() != 1)) {
      return fail(ErrorCode::kShapeMismatch, i == 1 ? "Scale" : "B", " must have ", count,
                  " elements of ", dtype_name(x.dtype), ", got ", view.shape.to_string(), " of ",
                  dtype_name(view.dtype));
    }
  }
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  // Mean and inverse standard deviation, if they are wanted.
  std::array<TensorView, 2> stash;
  Shape stash_shape = x.shape;
  for (int d = axis; d < x.shape.rank(); ++d) stash_shape[d] = 1;
  for (size_t i = 0; i < 2; ++i) {
    if (!context.has_output(i + 1)) continue;
    OCTAVO_ASSIGN(stash[i], context.make_output(i + 1, context.out(i + 1).dtype, stash_shape));
  }
  const auto store = [](const TensorView& view, int64_t row, double value) {
    if (view.dtype == DType::kF32) view.as<float>()[row] = static_cast<float>(value);
    if (view.dtype == DType::kF64) view.as<double>()[row] = value;
  };
  OCTAVO_TRY(check_double(x.dtype));
  const double* scale = context.in(1).as<const double>();
  const double* bias = context.has_input(2) ? context.in(2).as<const double>() : nullptr;
  const int64_t scale_step = context.in(1).elements() == 1 ? 0 : 1;
  const int64_t bias_step = bias == nullptr || context.in(2).elements() == 1 ? 0 : 1;
  normalize_rows(
      context.pool, x.as<const double>(), out.as<double>(), rows, count,
      context.node.get_float("epsilon"),
      [&](int64_t, int64_t i, double v) {
        const double scaled = v * scale[i * scale_step];
        return bias == nullptr ? scaled : scaled + bias[i * bias_step];
      },
      [&](int64_t row, double mean, double inverse) {
        store(stash[0], row, mean);
        store(stash[1], row, inverse);
      });
  return {};
}

Status mean_variance_norm(KernelContext& context) {
  const TensorView& x = context.in(0);
  const auto given = context.node.get_ints("axes");
  std::vector<int64_t> axes(given.begin(), given.end());
  if (axes.empty()) axes = {0, 2, 3};
  OCTAVO_TRY(normalize_axes(axes, x.shape.rank()));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  OCTAVO_TRY(check_double(x.dtype));
  const Shape kept = folded_shape(x.shape, axes, true);
  OCTAVO_ASSIGN(Moments moments, fold_moments(x, kept));
  // ONNX's function adds epsilon to the deviation, not to the variance.
  for (double& v : moments.variance) v = 1 / (std::sqrt(v) + 1e-9);
  const double* inverses = moments.variance.data();
  double* means = moments.mean.data();
  return for_each_folded<const double>(
      x, kept, means, [&](const double* row, int64_t n, double* mean, int64_t step) {
        const double* inverse = inverses + (mean - means);
        double* y = out.as<double>() + (row - x.as<const double>());
        for (int64_t i = 0; i < n; ++i) {
          y[i] = static_cast<double>((static_cast<double>(row[i]) - mean[i * step]) *
                                     inverse[i * step]);
        }
      });
}

Status lp_norm(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const int axis, normalize_axis(context.node.get_int("axis"), x.shape.rank()));
  const int64_t p = context.node.get_int("p");
  if (p != 1 && p != 2) return fail(ErrorCode::kInvalidModel, "p must be 1 or 2, not ", p);
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  const AxisSplit split = split_axis(x, axis);
  OCTAVO_TRY(check_double(x.dtype));
  for (int64_t j = 0; j < split.outer * split.inner; ++j) {
    const int64_t at = j / split.inner * split.dim * split.inner + j % split.inner;
    const double* from = x.as<const double>() + at;
    double* to = out.as<double>() + at;
    double sum = 0;
    for (int64_t d = 0; d < split.dim; ++d) {
      const auto value = from[d * split.inner];
      sum += p == 1 ? std::abs(value) : value * value;
    }
    const double norm = p == 1 ? sum : std::sqrt(sum);
    for (int64_t d = 0; d < split.dim; ++d) {
      const auto value = from[d * split.inner];
      to[d * split.inner] = norm == 0 ? 0 : value / norm;
    }
  }
  return {};
}

Status lrn(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_TRY(check_has_channels(x.shape));
  const int64_t size = context.node.get_int("size");
  if (size <= 0) return fail(ErrorCode::kInvalidModel, "size must be positive, not ", size);
  const double alpha = context.node.get_float("alpha") / static_cast<double>(size);
  const double beta = context.node.get_float("beta"), bias = context.node.get_float("bias");
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  const AxisSplit split = split_axis(x, 1);
  const int64_t before = (size - 1) / 2, after = size - 1 - before;
  OCTAVO_TRY(check_double(x.dtype));
  parallel_for(context.pool, split.outer, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> sums(static_cast<size_t>(split.inner));
    for (int64_t o = begin; o < end; ++o) {
      const double* from = x.as<const double>() + o * split.dim * split.inner;
      double* to = out.as<double>() + o * split.dim * split.inner;
      for (int64_t c = 0; c < split.dim; ++c) {
        std::ranges::fill(sums, 0.0);
        const int64_t first = std::max<int64_t>(c - before, 0);
        const int64_t last = c + std::min(after, split.dim - 1 - c);
        for (int64_t k = first; k <= last; ++k) {
          for (int64_t i = 0; i < split.inner; ++i) {
            const auto value = from[k * split.inner + i];
            sums[static_cast<size_t>(i)] += value * value;
          }
        }
        for (int64_t i = 0; i < split.inner; ++i) {
          const double scale = std::pow(bias + alpha * sums[static_cast<size_t>(i)], beta);
          to[c * split.inner + i] = from[c * split.inner + i] / scale;
        }
      }
    }
  });
  return {};
}

constexpr FieldDef kBatchNormFields[] = {
    float_field("epsilon", 1e-5f), float_field("momentum", 0.9f), int_field("training_mode", 0)};
constexpr FieldDef kEpsilonFields[] = {float_field("epsilon", 1e-5f)};
constexpr FieldDef kLayerNormFields[] = {int_field("axis", -1), float_field("epsilon", 1e-5f),
                                         int_field("stash_type", 1)};
constexpr FieldDef kGroupNormFields[] = {
    float_field("epsilon", 1e-5f), required(int_field("num_groups")), int_field("stash_type", 1)};
constexpr FieldDef kMvnFields[] = {ints_field("axes")};  // absent: 0, 2, 3
constexpr FieldDef kLpNormFields[] = {int_field("axis", -1), int_field("p", 2)};
constexpr FieldDef kLrnFields[] = {float_field("alpha", 1e-4f), float_field("beta", 0.75f),
                                   float_field("bias", 1.0f), required(int_field("size"))};

constexpr OpDef kRows[] = {
    {.kind = OpKind::kBatchNormalization,
     .name = "BatchNormalization",
     .min_inputs = 5,
     .max_inputs = 5,
     .max_outputs = 3,
     .fields = kBatchNormFields,
     .infer = infer_batch_norm,
     .reference = in_double<batch_norm>,
     .mixed = {.policy = MixedPolicy::kInfer, .data_inputs = 1},
     .layout = LayoutRule::kAgnostic},
    {.kind = OpKind::kInstanceNormalization,
     .name = "InstanceNormalization",
     .min_inputs = 3,
     .max_inputs = 3,
     .fields = kEpsilonFields,
     .infer = infer_like_input,
     .reference = in_double<group_norm>,
     .mixed = kInferHalf},
    {.kind = OpKind::kLayerNormalization,
     .name = "LayerNormalization",
     .min_inputs = 2,
     .max_inputs = 3,
     .max_outputs = 3,
     .fields = kLayerNormFields,
     .infer = infer_layer_norm,
     .reference = in_double<layer_norm>,
     .mixed = kInferHalf},
    {.kind = OpKind::kGroupNormalization,
     .name = "GroupNormalization",
     .min_inputs = 3,
     .max_inputs = 3,
     .fields = kGroupNormFields,
     .infer = infer_like_input,
     .reference = in_double<group_norm>,
     .mixed = kInferHalf},
    {.kind = OpKind::kMeanVarianceNormalization,
     .name = "MeanVarianceNormalization",
     .fields = kMvnFields,
     .infer = infer_like_input,
     .reference = in_double<mean_variance_norm>,
     .layout = LayoutRule::kAgnostic},
    {.kind = OpKind::kLpNormalization,
     .name = "LpNormalization",
     .fields = kLpNormFields,
     .infer = infer_like_input,
     .reference = in_double<lp_norm>,
     .layout = LayoutRule::kAgnostic},
    {.kind = OpKind::kLRN,
     .name = "LRN",
     .fields = kLrnFields,
     .infer = infer_like_input,
     .reference = in_double<lrn>,
     .layout = LayoutRule::kAgnostic},
};

}  // namespace

std::span<const OpDef> norm_ops() { return kRows; }

}  // namespace octavo::ops
