// Softmax, normalizations and reductions of float tensors: what is computed along rows.
#include "runtime/kernels/rows.h"

#include <cmath>

#include "runtime/kernels/kernel_step.h"
#include "runtime/ops/common.h"

namespace octavo::kernels {
namespace {

int64_t grain_of(int64_t row) { return 16384 / std::max<int64_t>(row, 1) + 1; }

bool is_f32_node(const PlanGraph& graph, const Node& node) {
  const auto fits = [&](ValueId id) { return id == kNoValue || is_f32(graph, id); };
  return std::ranges::all_of(node.inputs, fits) && is_f32(graph, node.output(0)) &&
         !graph.is_constant(node.input(0)) && graph.info(node.input(0)).shape.elements() > 0;
}

// ---- Softmax and LogSoftmax

bool is_softmax(const PlanGraph& graph, const Node& node) {
  return is_f32_node(graph, node) && graph.info(node.input(0)).shape.rank() > 0;
}

class SoftmaxStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout layout) {
    std::unique_ptr<SoftmaxStep> step(new SoftmaxStep(graph, node));
    const Shape& shape = graph.info(node.input(0)).shape;
    OCTAVO_ASSIGN(const int axis, normalize_axis(node.get_int("axis"), shape.rank()));
    step->split_ = ops::split_axis({nullptr, DType::kF32, layout, shape}, axis);
    return step;
  }
  int in_place_input() const override { return 0; }

  Status run(const StepContext& context) override {
    const auto* x = input(context, 0).as<const float>();
    auto* y = context.outputs[0].as<float>();
    const auto [outer, dim, inner] = split_;
    constexpr int64_t kShortRow = 16;
    const bool log = log_;
    if (inner == 1 && dim < kShortRow) {
      parallel_for(context.pool, outer, grain_of(dim), [&](int64_t begin, int64_t end) {
        softmax_columns(log, x + begin * dim, y + begin * dim, dim, 1, dim, end - begin);
      });
      return {};
    }
    parallel_for(context.pool, outer, grain_of(dim * inner), [&](int64_t begin, int64_t end) {
      for (int64_t at = begin * dim * inner; at < end * dim * inner; at += dim * inner) {
        if (inner == 1) {
          softmax_row(log, x + at, y + at, dim);
        } else {
          softmax_columns(log, x + at, y + at, dim, inner, 1, inner);
        }
      }
    });
    return {};
  }

 private:
  SoftmaxStep(const PlanGraph& graph, const Node& node)
      : KernelStep(graph, node), log_(node.kind == OpKind::kLogSoftmax) {}
  bool log_;
  ops::AxisSplit split_{};
};

// ---- Normalizations: rows of consecutive elements, then factors by element or by channel

// Whether inputs 1 and 2 (optional if `may_lack`) have `count` elements.
bool factors_fit(const PlanGraph& graph, const Node& node, int64_t count, bool may_lack) {
  for (size_t i = 1; i < 3; ++i) {
    const ValueId id = node.input(i);
    if (id == kNoValue ? i == 1 || !may_lack : graph.info(id).shape.elements() != count) {
      return false;
    }
  }
  return true;
}

bool is_normalization(const PlanGraph& graph, const Node& node) {
  const Shape& x = graph.info(node.input(0)).shape;
  if (!is_f32_node(graph, node) || node.output(1) != kNoValue || node.output(2) != kNoValue) {
    return false;
  }
  if (node.kind == OpKind::kLayerNormalization) {
    const auto axis = normalize_axis(node.get_int("axis"), x.rank());
    return axis && factors_fit(graph, node, x.elements(*axis, x.rank()), /*may_lack=*/true);
  }
  if (x.rank() < 2 || !factors_fit(graph, node, x[1], /*may_lack=*/false)) return false;
  if (node.kind == OpKind::kInstanceNormalization) return true;
  const int64_t groups = node.get_int("num_groups");
  return groups > 0 && x[1] % groups == 0;
}

class NormalizeStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout) {
    std::unique_ptr<NormalizeStep> step(new NormalizeStep(graph, node));
    const Shape& x = graph.info(node.input(0)).shape;
    step->epsilon_ = node.get_float("epsilon");
    if (node.kind == OpKind::kLayerNormalization) {
      OCTAVO_ASSIGN(const int axis, normalize_axis(node.get_int("axis"), x.rank()));
      step->rows_ = x.elements(0, axis);
      step->part_ = x.elements(axis, x.rank());
      return step;
    }
    step->groups_ = node.kind == OpKind::kInstanceNormalization ? x[1] : node.get_int("num_groups");
    step->rows_ = x[0] * step->groups_;
    step->parts_ = x[1] / step->groups_;
    step->part_ = x.elements(2, x.rank());
    return step;
  }
  int in_place_input() const override { return 0; }

  Status run(const StepContext& context) override {
    const auto* x = input(context, 0).as<const float>();
    const auto* scale = input(context, 1).as<const float>();
    const auto* bias = input(context, 2).as<const float>();
    auto* y = context.outputs[0].as<float>();
    const int64_t count = parts_ * part_;
    const float zero = 0;
    parallel_for(context.pool, rows_, grain_of(count), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float* row = x + r * count;
        const auto n = static_cast<float>(count);
        const float mean = fold_row(Fold::kSum, row, count) / n;
        const float factor = 1 / std::sqrt(squared_deviations(row, mean, count) / n + epsilon_);
        for (int64_t p = 0; p < parts_; ++p) {
          const int64_t channel = groups_ == 0 ? 0 : r % groups_ * parts_ + p;
          const int64_t stride = groups_ == 0 ? 1 : 0;
          normalize_row(row + p * part_, y + r * count + p * part_, part_, mean, factor,
                        {scale + channel, stride},
                        bias == nullptr ? RowFactor{&zero, 0} : RowFactor{bias + channel, stride});
        }
      }
    });
    return {};
  }

 private:
  using KernelStep::KernelStep;
  int64_t rows_ = 0;
  int64_t parts_ = 1, part_ = 0;  // of a row: channels, and their elements
  int64_t groups_ = 0;            // of channels; 0: scale and bias are by element
  float epsilon_ = 0;
};

// ---- BatchNormalization with constant statistics: a factor and an offset for each channel

bool is_batch_norm(const PlanGraph& graph, const Node& node) {
  const Shape& x = graph.info(node.input(0)).shape;
  if (!is_f32_node(graph, node) || x.rank() < 2 || node.output(1) != kNoValue ||
      node.output(2) != kNoValue || node.get_int("training_mode") != 0) {
    return false;
  }
  for (size_t i = 1; i < 5; ++i) {
    if (!graph.is_constant(node.input(i)) || graph.info(node.input(i)).shape != Shape{x[1]}) {
      return false;
    }
  }
  return true;
}

class BatchNormStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout layout) {
    std::unique_ptr<BatchNormStep> step(new BatchNormStep(graph, node));
    const TensorView x{nullptr, DType::kF32, layout, graph.info(node.input(0)).shape};
    step->split_ = ops::split_axis(x, 1);
    const auto at = [&](size_t input, int64_t c) {
      return static_cast<double>(step->constant(input).as<const float>()[c]);
    };
    const double epsilon = node.get_float("epsilon");
    for (int64_t c = 0; c < x.shape[1]; ++c) {
      const double factor = at(1, c) / std::sqrt(at(4, c) + epsilon);
      step->factor_.push_back(static_cast<float>(factor));
      step->offset_.push_back(static_cast<float>(at(2, c) - at(3, c) * factor));
    }
    return step;
  }
  int in_place_input() const override { return 0; }

  Status run(const StepContext& context) override {
    const auto* x = input(context, 0).as<const float>();
    auto* y = context.outputs[0].as<float>();
    // Rows are pixels (all channels) or planes (one channel).
    const bool pixels = split_.inner == 1;
    const int64_t count = pixels ? split_.dim : split_.inner;
    const int64_t rows = pixels ? split_.outer : split_.outer * split_.dim;
    parallel_for(context.pool, rows, grain_of(count), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t channel = pixels ? 0 : r % split_.dim;
        const int64_t stride = pixels ? 1 : 0;
        normalize_row(x + r * count, y + r * count, count, 0, 1, {factor_.data() + channel, stride},
                      {offset_.data() + channel, stride});
      }
    });
    return {};
  }

 private:
  using KernelStep::KernelStep;
  ops::AxisSplit split_{};
  std::vector<float> factor_, offset_;
};

// ---- Reductions along axes that are neighbours in memory

struct Reduction {
  Fold fold;
  bool mean = false, root = false;
};
Reduction reduction_of(OpKind kind) {
  switch (kind) {
    case OpKind::kReduceMean: return {Fold::kSum, true};
    case OpKind::kReduceMax: return {Fold::kMax};
    case OpKind::kReduceMin: return {Fold::kMin};
    case OpKind::kReduceL1: return {Fold::kAbsSum};
    case OpKind::kReduceL2: return {Fold::kSquareSum, false, true};
    case OpKind::kReduceSumSquare: return {Fold::kSquareSum};
    default: return {Fold::kSum};
  }
}

std::optional<ops::AxisSplit> reduced_axes(const PlanGraph& graph, const Node& node,
                                           Layout layout) {
  const Shape& x = graph.info(node.input(0)).shape;
  const int rank = x.rank();
  std::array<bool, kMaxRank> is_reduced{};
  if (node.input(1) != kNoValue) {
    if (!graph.is_constant(node.input(1))) return {};
    const auto axes = to_int64s(graph.info(node.input(1)).constant);
    if (!axes) return {};
    if (axes->empty() && node.get_int("noop_with_empty_axes") != 0) return {};
    if (axes->empty()) is_reduced.fill(true);
    for (const int64_t given : *axes) {
      const auto axis = normalize_axis(given, rank);
      if (!axis) return {};
      is_reduced[static_cast<size_t>(physical_axis(*axis, rank, layout))] = true;
    }
  } else {
    is_reduced.fill(true);
  }
  const Shape stored = physical_shape(x, layout);
  ops::AxisSplit split{1, 1, 1};
  bool inside = false, after = false;
  for (int i = 0; i < rank; ++i) {
    if (stored[i] == 1) continue;
    const bool reduced = is_reduced[static_cast<size_t>(i)];
    after |= inside && !reduced;
    if (reduced && after) return {};
    inside |= reduced;
    (reduced ? split.dim : after ? split.inner : split.outer) *= stored[i];
  }
  return split;
}

bool is_reduction(const PlanGraph& graph, const Node& node) {
  const ValueId x = node.input(0);
  return is_f32(graph, x) && is_f32(graph, node.output(0)) && !graph.is_constant(x) &&
         graph.info(x).shape.elements() > 0 &&
         reduced_axes(graph, node, Layout::kPlain).has_value() &&
         (graph.info(x).shape.rank() < 3 ||
          reduced_axes(graph, node, Layout::kChannelsLast).has_value());
}

class ReduceStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout layout) {
    std::unique_ptr<ReduceStep> step(new ReduceStep(graph, node));
    step->split_ = *reduced_axes(graph, node, layout);
    return step;
  }

  Status run(const StepContext& context) override {
    const auto* x = input(context, 0).as<const float>();
    auto* y = context.outputs[0].as<float>();
    const auto [outer, dim, inner] = split_;
    // Columns in blocks, so that a single tall matrix is work for several threads too.
    constexpr int64_t kBlock = 64;
    const int64_t blocks = (inner + kBlock - 1) / kBlock;
    const auto count = static_cast<float>(dim);
    parallel_for(context.pool, outer * blocks, grain_of(dim * std::min(inner, kBlock)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t item = begin; item < end; ++item) {
                     const int64_t o = item / blocks, column = item % blocks * kBlock;
                     const int64_t columns = std::min(inner - column, kBlock);
                     const float* from = x + o * dim * inner + column;
                     float* to = y + o * inner + column;
                     if (inner == 1) {
                       *to = fold_row(reduction_.fold, from, dim);
                     } else {
                       fold_columns(reduction_.fold, from, dim, inner, to, columns);
                     }
                     for (int64_t i = 0; i < columns; ++i) {
                       if (reduction_.mean) to[i] /= count;
                       if (reduction_.root) to[i] = std::sqrt(to[i]);
                     }
                   }
                 });
    return {};
  }

 private:
  ReduceStep(const PlanGraph& graph, const Node& node)
      : KernelStep(graph, node), reduction_(reduction_of(node.kind)) {}
  Reduction reduction_;
  ops::AxisSplit split_{};
};

constexpr KernelDef softmax_row_of(OpKind op) {
  return {"softmax_f32", op, ClaimLayout::kFollow, is_softmax, SoftmaxStep::create};
}
constexpr KernelDef normalization_row(OpKind op) {
  return {"normalize_f32", op, ClaimLayout::kPlain, is_normalization, NormalizeStep::create};
}
constexpr KernelDef reduction_row(OpKind op) {
  return {"reduce_f32", op, ClaimLayout::kFollow, is_reduction, ReduceStep::create};
}

constexpr KernelDef kKernels[] = {
    {"batch_norm_f32", OpKind::kBatchNormalization, ClaimLayout::kFollow, is_batch_norm,
     BatchNormStep::create},
    softmax_row_of(OpKind::kSoftmax),
    softmax_row_of(OpKind::kLogSoftmax),
    normalization_row(OpKind::kLayerNormalization),
    normalization_row(OpKind::kInstanceNormalization),
    normalization_row(OpKind::kGroupNormalization),
    reduction_row(OpKind::kReduceSum),
    reduction_row(OpKind::kReduceMean),
    reduction_row(OpKind::kReduceMax),
    reduction_row(OpKind::kReduceMin),
    reduction_row(OpKind::kReduceL1),
    reduction_row(OpKind::kReduceL2),
    reduction_row(OpKind::kReduceSumSquare),
};

}  // namespace

std::span<const KernelDef> row_kernels() { return kKernels; }

}  // namespace octavo::kernels
