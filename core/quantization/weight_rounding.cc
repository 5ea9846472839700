#include "core/quantization/weight_rounding.h"

#include <algorithm>
#include <cmath>

#include "runtime/requantize.h"

namespace octavo {
namespace {

// What the columns of a node's weights meet; nothing if its rounding cannot be learned.
std::optional<RowSource> row_source(const Graph& graph, const Node& node) {
  const ValueId weight = node.input(1);
  if (weight == kNoValue) return {};
  const Shape& shape = graph.value(weight).shape;
  switch (node.kind) {
    case OpKind::kConv: return RowSource{.value = node.inputs[0], .conv = node, .weight = shape};
    case OpKind::kGemm:
      if (node.get_int("transA") != 0) return {};
      return RowSource{.value = node.inputs[0]};
    case OpKind::kMatMul:
      if (shape.rank() != 2) return {};
      return RowSource{.value = node.inputs[0]};
    default: return {};
  }
}

// The ends of the grid that the weights reach.
std::pair<int, int> ends_of(const RoundingProblem& problem, DType dtype) {
  const auto [least, most] = std::ranges::minmax(problem.position);
  const IntRange whole = quantized_range(dtype);
  return {std::max<int>(static_cast<int>(whole.lo), static_cast<int>(std::floor(least))),
          std::min<int>(static_cast<int>(whole.hi), static_cast<int>(std::ceil(most)))};
}

}  // namespace

WeightRounder::WeightRounder(const Graph& graph, const Annotation& annotation,
                             const SessionOptions& session)
    : observer_(session), session_(session) {
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const NodeAnnotation& a = annotation.nodes[n];
    if (!a.quantized || a.config->rounding != "adaround") continue;
    const auto source = row_source(graph, graph.nodes[n]);
    if (!source) continue;
    layers_[static_cast<NodeId>(n)] = {observer_.watch(*source), adaround_options(*a.config)};
  }
}

void WeightRounder::begin(const ProgressFn& progress) {
  int64_t total = 0;
  for (const auto& [node, layer] : layers_) total += layer.options.iters;
  work_ = Work(progress, total);
}

Result<Tensor> WeightRounder::round(NodeId node, const Tensor& weights, int axis,
                                    const TensorQuant& quant, bool centred) {
  const auto layer = layers_.find(node);
  const Moments* moments =
      layer == layers_.end() ? nullptr : observer_.moments(layer->second.moments);
  if (moments == nullptr || weights.elements() == 0) return quantize_tensor(weights, quant);
  // Rows are outputs: convolutions have them first, matrices first or last.
  const Shape& shape = weights.shape();
  const bool transposed = axis != 0;
  RoundingProblem problem{.rows = static_cast<size_t>(shape[axis])};
  problem.columns = static_cast<size_t>(weights.elements()) / problem.rows;
  const auto real = weights.data<const float>();
  const auto at = [&](size_t r, size_t c) {
    return transposed ? c * problem.rows + r : r * problem.columns + c;
  };
  problem.position.resize(real.size());
  problem.step.resize(real.size());
  for (size_t r = 0; r < problem.rows; ++r) {
    const size_t channel = quant.params.per_tensor() ? 0 : r;
    const float scale = quant.params.scale[channel];
    const auto zero = static_cast<float>(quant.params.zero_point[channel]);
    for (size_t c = 0; c < problem.columns; ++c) {
      problem.position[r * problem.columns + c] = real[at(r, c)] / scale + zero;
      problem.step[r * problem.columns + c] = scale;
    }
  }
  std::tie(problem.low, problem.high) = ends_of(problem, quant.dtype);
  OCTAVO_ASSIGN(const std::vector<int> learned,
                adaround(problem, *moments, centred, layer->second.options, session_, &work_));
  // The real numbers that the integers stand for are quantized to just these.
  OCTAVO_ASSIGN(Tensor made, Tensor::create(DType::kF32, shape));
  const auto to = made.data<float>();
  for (size_t r = 0; r < problem.rows; ++r) {
    const size_t channel = quant.params.per_tensor() ? 0 : r;
    for (size_t c = 0; c < problem.columns; ++c) {
      const int q = learned[r * problem.columns + c] - quant.params.zero_point[channel];
      to[at(r, c)] = static_cast<float>(q) * quant.params.scale[channel];
    }
  }
  return quantize_tensor(made, quant);
}

}  // namespace octavo
