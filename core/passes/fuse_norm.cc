// BatchNormalization, and Mul, Add, Sub and Div by a number per channel, are affine: y = a[c] x +
// b[c]. Behind a convolution or a matrix product with constant weights they become part of it.
#include <cmath>

#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"

namespace octavo::passes {
namespace {

struct Affine {
  size_t data_input = 0;
  std::vector<double> a, b;  // per channel; one element: all channels alike
};

// A constant with one number per channel (or one for all) of a tensor of rank `rank`.
std::optional<std::vector<double>> per_channel(const Graph& graph, ValueId constant, int rank,
                                               int channel_axis, int64_t channels) {
  const auto data = float_constant(graph, constant);
  if (!data || graph.value(constant).quant != nullptr) return std::nullopt;
  const Shape& shape = graph.value(constant).shape;
  if (shape.rank() > rank) return std::nullopt;
  for (int i = 0; i < shape.rank(); ++i) {
    const int axis = rank - shape.rank() + i;
    if (shape[i] != 1 && !(axis == channel_axis && shape[i] == channels)) return std::nullopt;
  }
  return std::vector<double>(data->begin(), data->end());
}

std::optional<Affine> match_batch_norm(const Graph& graph, const Node& node) {
  if (node.inputs.size() < 5 || node.get_int("training_mode") != 0) return std::nullopt;
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i] != kNoValue) return std::nullopt;
  }
  const auto scale = float_constant(graph, node.inputs[1]),
             bias = float_constant(graph, node.inputs[2]);
  const auto mean = float_constant(graph, node.inputs[3]),
             variance = float_constant(graph, node.inputs[4]);
  if (!scale || !bias || !mean || !variance || bias->size() != scale->size() ||
      mean->size() != scale->size() || variance->size() != scale->size()) {
    return std::nullopt;
  }
  Affine affine;
  for (size_t c = 0; c < scale->size(); ++c) {
    const double a =
        (*scale)[c] / std::sqrt(static_cast<double>((*variance)[c]) + node.get_float("epsilon"));
    affine.a.push_back(a);
    affine.b.push_back((*bias)[c] - (*mean)[c] * a);
  }
  return affine;
}

std::optional<Affine> match_arithmetic(const Graph& graph, const Node& node, int rank,
                                       int channel_axis, int64_t channels) {
  Affine affine;
  affine.data_input = float_constant(graph, node.inputs[0]) ? 1 : 0;
  const auto numbers =
      per_channel(graph, node.inputs[1 - affine.data_input], rank, channel_axis, channels);
  if (!numbers) return std::nullopt;
  affine.a.assign(numbers->size(), 1.0);
  affine.b.assign(numbers->size(), 0.0);
  for (size_t c = 0; c < numbers->size(); ++c) {
    const double number = (*numbers)[c];
    if (node.kind == OpKind::kMul) {
      affine.a[c] = number;
    } else if (node.kind == OpKind::kAdd) {
      affine.b[c] = number;
    } else if (node.kind == OpKind::kSub) {
      affine.a[c] = affine.data_input == 0 ? 1.0 : -1.0;
      affine.b[c] = affine.data_input == 0 ? -number : number;
    } else {
      if (affine.data_input != 0 || number == 0) return std::nullopt;
      affine.a[c] = 1.0 / number;
    }
  }
  return affine;
}

// Where a linear operator keeps its channels.
struct Linear {
  NodeId node = -1;
  size_t bias_input = 2;
  int weight_axis = 0;   // of the weights
  int channel_axis = 1;  // of the output
  int64_t channels = 0, groups = 1;
};

// The convolution or matrix product, free to be changed, that computes this value.
std::optional<Linear> match_linear(const GraphEditor& editor, const Graph& graph, ValueId value) {
  if (value == kNoValue || !editor.has_one_use(value) || editor.producer(value) < 0) {
    return std::nullopt;
  }
  Linear linear{.node = editor.producer(value)};
  const Node& node = graph.node(linear.node);
  const OpDef* op = find_op(node.kind);
  if (op->quant.policy != QuantPolicy::kCompute || op->max_inputs < 3 || node.inputs.size() > 3 ||
      !node.get_string("activation").empty()) {
    return std::nullopt;
  }
  if (!float_constant(graph, node.inputs[1]) || graph.value(node.inputs[1]).quant != nullptr) {
    return std::nullopt;
  }
  const Shape& weight = graph.value(node.inputs[1]).shape;
  if (node.kind == OpKind::kConv && weight.rank() >= 3) {
    linear.channels = weight[0];
  } else if (node.kind == OpKind::kConvTranspose && weight.rank() >= 3) {
    linear.weight_axis = 1;
    linear.groups = node.get_int("group");
    linear.channels = weight[1] * linear.groups;
  } else if (weight.rank() == 2) {
    const bool is_gemm = node.kind == OpKind::kGemm;
    if (is_gemm && (node.get_float("alpha") != 1 || node.get_float("beta") != 1)) {
      return std::nullopt;
    }
    const Shape& output = graph.value(value).shape;
    if (!output.has_rank() || output.rank() < 1) return std::nullopt;
    linear.weight_axis = is_gemm && node.get_int("transB") != 0 ? 0 : 1;
    linear.channels = weight[linear.weight_axis];
    linear.channel_axis = output.rank() - 1;
  } else {
    return std::nullopt;
  }
  if (linear.channels <= 0 || linear.groups <= 0) return std::nullopt;
  if (node.input(2) != kNoValue) {
    const auto bias = float_constant(graph, node.inputs[2]);
    const Shape& shape = graph.value(node.inputs[2]).shape;
    if (!bias || shape.rank() != 1 || shape[0] != linear.channels) return std::nullopt;
  }
  return linear;
}

Result<Tensor> scaled_weights(const Tensor& weights, const Linear& linear,
                              const std::vector<double>& a) {
  OCTAVO_ASSIGN(Tensor out, weights.clone());
  const Shape& shape = weights.shape();
  const int64_t inner = shape.elements(linear.weight_axis + 1, shape.rank());
  const int64_t along = shape[linear.weight_axis];
  const int64_t inputs = linear.weight_axis == 0 ? 1 : shape[0];
  const int64_t inputs_per_group = std::max<int64_t>(inputs / linear.groups, 1);
  const auto data = out.data<float>();
  for (int64_t i = 0; i < static_cast<int64_t>(data.size()); ++i) {
    const int64_t outer = i / (inner * along), c = i / inner % along;
    // The weights of a grouped ConvTranspose are [inputs, outputs / groups, ...].
    const int64_t group = linear.groups == 1 ? 0 : outer / inputs_per_group;
    const int64_t channel = group * along + c;
    float& w = data[static_cast<size_t>(i)];
    w = static_cast<float>(w * a[a.size() == 1 ? 0 : static_cast<size_t>(channel)]);
  }
  return out;
}

Status fold(GraphEditor& editor, const Linear& linear, const Affine& affine) {
  Graph& graph = editor.graph();
  const Node node = graph.node(linear.node);
  if (std::ranges::any_of(affine.a, [](double a) { return a != 1.0; })) {
    const Value weight = graph.value(node.inputs[1]);
    OCTAVO_ASSIGN(Tensor scaled, scaled_weights(weight.constant, linear, affine.a));
    editor.set_input(linear.node, 1, editor.add_constant(weight.name, std::move(scaled)));
  }
  const auto at = [](const std::vector<double>& list, int64_t c) {
    return list[list.size() == 1 ? 0 : static_cast<size_t>(c)];
  };
  const auto old_bias = float_constant(graph, node.input(2));
  OCTAVO_ASSIGN(Tensor bias, Tensor::create(DType::kF32, Shape{linear.channels}));
  for (int64_t c = 0; c < linear.channels; ++c) {
    const double old = old_bias ? (*old_bias)[static_cast<size_t>(c)] : 0.0;
    bias.data<float>()[static_cast<size_t>(c)] =
        static_cast<float>(old * at(affine.a, c) + at(affine.b, c));
  }
  const std::string name = old_bias ? graph.value(node.inputs[2]).name
                                    : concat(graph.value(node.inputs[1]).name, "_bias");
  const ValueId id = editor.add_constant(name, std::move(bias));
  if (node.inputs.size() > 2) {
    editor.set_input(linear.node, 2, id);
  } else {
    editor.add_input(linear.node, id);
  }
  return {};
}

}  // namespace

/// Conv, ConvTranspose, Gemm or MatMul followed by an affine operator becomes one node.
Result<int> fold_affine(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const bool is_norm = node.kind == OpKind::kBatchNormalization;
    if (!is_norm && node.kind != OpKind::kMul && node.kind != OpKind::kAdd &&
        node.kind != OpKind::kSub && node.kind != OpKind::kDiv) {
      continue;
    }
    const size_t data = !is_norm && float_constant(graph, node.input(0)) ? 1 : 0;
    const auto linear = match_linear(editor, graph, node.input(data));
    if (!linear) continue;
    const Value& value = graph.value(node.inputs[data]);
    if (!value.shape.has_rank() || value.dtype != DType::kF32 || value.quant != nullptr ||
        graph.value(node.outputs[0]).quant != nullptr || !node.get_string("activation").empty()) {
      continue;
    }
    const auto affine = is_norm ? match_batch_norm(graph, node)
                                : match_arithmetic(graph, node, value.shape.rank(),
                                                   linear->channel_axis, linear->channels);
    if (!affine || affine->data_input != data || affine->a.empty()) continue;
    if (affine->a.size() != 1 && affine->a.size() != static_cast<size_t>(linear->channels))
      continue;
    // BatchNormalization's channels are axis 1.
    if (is_norm && linear->channel_axis != 1) continue;
    OCTAVO_TRY(fold(editor, *linear, *affine));
    absorb(editor, linear->node, static_cast<NodeId>(n));
    ++changes;
  }
  return changes;
}

}  // namespace octavo::passes
