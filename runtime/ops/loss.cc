// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.
#include <algorithm>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/math.h"

namespace octavo::ops {
namespace {

/// The value of an absent ignore_index.
constexpr int64_t kIgnoreNone = std::numeric_limits<int64_t>::min();

/// Scores [N, C, d1, ..], labels [N, d1, ..]: the shape of the loss.
Result<Shape> loss_shape(const Node& node, const Shape& labels) {
  const std::string_view reduction = node.get_string("reduction");
  if (reduction == "none") return labels;
  if (reduction == "mean" || reduction == "sum") return Shape{};
  return fail(ErrorCode::kInvalidModel, "reduction must be none, mean or sum, not ", reduction);
}

Status infer_loss(InferContext& context) {
  OCTAVO_ASSIGN(const Shape shape, loss_shape(context.node, context.shape(1)));
  context.set_output(0, context.dtype(0), shape);
  context.set_output(1, context.dtype(0), context.shape(0));
  return {};
}

struct LossDims {
  int64_t batch, classes, positions;
};
Result<LossDims> loss_dims(const KernelContext& context) {
  const Shape& scores = context.in(0).shape;
  const Shape& labels = context.in(1).shape;
  bool fits = scores.rank() >= 2 && labels.rank() == scores.rank() - 1 && labels[0] == scores[0];
  for (int d = 1; fits && d < labels.rank(); ++d) fits = labels[d] == scores[d + 1];
  if (!fits) {
    return fail(ErrorCode::kShapeMismatch, "labels of shape ", labels.to_string(),
                " do not fit scores of shape ", scores.to_string());
  }
  const LossDims dims{scores[0], scores[1], scores.elements(2, scores.rank())};
  if (context.has_input(2) &&
      (context.in(2).elements() != dims.classes || context.in(2).dtype != context.in(0).dtype)) {
    return fail(ErrorCode::kShapeMismatch, "there must be one weight for each of ", dims.classes,
                " classes");
  }
  return dims;
}

/// The loss of log-probabilities [N, C, positions].
Status likelihood_loss(KernelContext& context, const LossDims& dims, const double* log_probs) {
  OCTAVO_ASSIGN(const Shape shape, loss_shape(context.node, context.in(1).shape));
  OCTAVO_ASSIGN(const std::vector<int64_t> labels, to_int64s(context.in(1)));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, context.in(0).dtype, shape));
  const double* weights = context.has_input(2) ? context.in(2).as<const double>() : nullptr;
  const int64_t ignored = context.node.get_int("ignore_index");
  const std::string_view reduction = context.node.get_string("reduction");
  double total = 0, weight_total = 0;
  for (int64_t i = 0; i < dims.batch * dims.positions; ++i) {
    const int64_t label = labels[static_cast<size_t>(i)];
    double loss = 0;
    if (ignored == kIgnoreNone || label != ignored) {
      if (label < 0 || label >= dims.classes) {
        return fail(ErrorCode::kInvalidData, "label ", label, " is outside the ", dims.classes,
                    " classes");
      }
      const int64_t n = i / dims.positions, position = i % dims.positions;
      const double weight = weights == nullptr ? double(1) : weights[label];
      loss = -log_probs[(n * dims.classes + label) * dims.positions + position] * weight;
      weight_total += static_cast<double>(weight);
    }
    if (reduction == "none") out.as<double>()[i] = loss;
    total += static_cast<double>(loss);
  }
  if (reduction == "sum") *out.as<double>() = static_cast<double>(total);
  if (reduction == "mean") *out.as<double>() = static_cast<double>(total / weight_total);
  return {};
}

Status nll_loss(KernelContext& context) {
  OCTAVO_ASSIGN(const LossDims dims, loss_dims(context));
  OCTAVO_TRY(check_double(context.in(0).dtype));
  return likelihood_loss(context, dims, context.in(0).as<const double>());
}

Status softmax_cross_entropy(KernelContext& context) {
  OCTAVO_ASSIGN(const LossDims dims, loss_dims(context));
  const TensorView& scores = context.in(0);
  Tensor holder;
  TensorView log_probs;
  if (context.has_output(1)) {
    OCTAVO_ASSIGN(log_probs, context.make_output(1, scores.dtype, scores.shape));
  } else {
    OCTAVO_ASSIGN(holder, Tensor::create(scores.dtype, scores.shape));
    log_probs = holder.view();
  }
  OCTAVO_TRY(check_double(scores.dtype));
  for (int64_t i = 0; dims.classes > 0 && i < dims.batch * dims.positions; ++i) {
    const int64_t at = i / dims.positions * dims.classes * dims.positions + i % dims.positions;
    const double* x = scores.as<const double>() + at;
    double* y = log_probs.as<double>() + at;
    double largest = x[0];
    for (int64_t c = 1; c < dims.classes; ++c) largest = std::max(largest, x[c * dims.positions]);
    double sum = 0;
    for (int64_t c = 0; c < dims.classes; ++c) {
      sum += math::exp(static_cast<double>(x[c * dims.positions] - largest));
    }
    const double log_sum = static_cast<double>(math::log(sum));
    for (int64_t c = 0; c < dims.classes; ++c) {
      y[c * dims.positions] = x[c * dims.positions] - largest - log_sum;
    }
  }
  return likelihood_loss(context, dims, log_probs.as<const double>());
}

constexpr FieldDef kFields[] = {int_field("ignore_index", kIgnoreNone),
                                string_field("reduction", "mean")};

constexpr OpDef kRows[] = {
    {.kind = OpKind::kNegativeLogLikelihoodLoss,
     .name = "NegativeLogLikelihoodLoss",
     .min_inputs = 2,
     .max_inputs = 3,
     .fields = kFields,
     .infer = infer_loss,
     .reference = in_double<nll_loss>},
    {.kind = OpKind::kSoftmaxCrossEntropyLoss,
     .name = "SoftmaxCrossEntropyLoss",
     .min_inputs = 2,
     .max_inputs = 3,
     .max_outputs = 2,
     .fields = kFields,
     .infer = infer_loss,
     .reference = in_double<softmax_cross_entropy>},
};

}  // namespace

std::span<const OpDef> loss_ops() { return kRows; }

}  // namespace octavo::ops
