#include "core/quantization/equalize.h"

#include <algorithm>
#include <cmath>

namespace octavo {
namespace {

// A channel of which calibration saw little is scaled up no more than this.
constexpr float kMaxFactor = 16;

// A depthwise convolution, the only reader of what another convolution computes.
struct Pair {
  NodeId producer, consumer;
  ValueId value;
};

std::vector<int> count_uses(const Graph& graph) {
  std::vector<int> uses(graph.values.size(), 0);
  const auto count = [&](ValueId id) {
    if (id != kNoValue) ++uses[static_cast<size_t>(id)];
  };
  for (const Node& node : graph.nodes) std::ranges::for_each(node.inputs, count);
  std::ranges::for_each(graph.outputs, count);
  return uses;
}

// f(s x) = s f(x) for the fused activation f, as far as integers of the calibrated range tell:
// what Clip(0, hi) cuts off lies outside the range.
bool scales_with_input(const Node& node) {
  const std::string_view activation = node.get_string("activation");
  const auto params = node.get_floats("activation_params");
  return activation.empty() || activation == "Relu" ||
         (activation == "Clip" && params.size() == 2 && params[0] == 0);
}

std::vector<Pair> find_pairs(const Graph& graph, const Annotation& annotation) {
  const std::vector<int> uses = count_uses(graph);
  // A quantized convolution per channel, whose weights and bias are its own.
  const auto is_free = [&](const Node& node, const NodeAnnotation& a) {
    if (node.kind != OpKind::kConv || !a.quantized || node.inputs.size() > 3) return false;
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      if (id != kNoValue && uses[static_cast<size_t>(id)] != 1) return false;
    }
    return a.config->weight_granularity == "per_channel";
  };
  std::vector<Pair> pairs;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (!is_free(node, annotation.nodes[n])) continue;
    const ValueId value = node.inputs[0];
    const NodeId producer = annotation.producers[static_cast<size_t>(value)];
    if (producer < 0 || uses[static_cast<size_t>(value)] != 1) continue;
    const Node& before = graph.node(producer);
    if (!is_free(before, annotation.nodes[static_cast<size_t>(producer)]) ||
        !scales_with_input(before)) {
      continue;
    }
    const int64_t channels = graph.value(before.inputs[1]).shape[0];
    const Shape& weight = graph.value(node.inputs[1]).shape;
    const bool is_depthwise = node.get_int("group") == channels && weight[1] == 1;
    // With several outputs per channel the weights' axis 0 is longer than the value's.
    if (is_depthwise && weight[0] == channels) {
      pairs.push_back({producer, static_cast<NodeId>(n), value});
    }
  }
  return pairs;
}

float magnitude(const Range& range) { return std::max(-range.min, range.max); }

// Multiplies slice c of axis 0 by factors[c].
Status scale_constant(Graph& graph, ValueId id, std::span<const float> factors) {
  Value& value = graph.value(id);
  OCTAVO_ASSIGN(Tensor scaled, value.constant.clone());
  const auto data = scaled.data<float>();
  const size_t inner = data.size() / factors.size();
  for (size_t i = 0; i < data.size(); ++i) data[i] *= factors[i / inner];
  value.constant = std::move(scaled);
  return {};
}

}  // namespace

void want_channel_ranges(const Graph& graph, const Annotation& annotation,
                         std::vector<WantedValue>& wanted) {
  for (const Pair& pair : find_pairs(graph, annotation)) {
    wanted[static_cast<size_t>(pair.value)].per_channel = true;
  }
}

Status equalize_channels(Graph& graph, const Annotation& annotation,
                         const Calibration& calibration) {
  for (const Pair& pair : find_pairs(graph, annotation)) {
    const Collector* collector = calibration.collectors[static_cast<size_t>(pair.value)].get();
    const Node& producer = graph.node(pair.producer);
    const ValueId weight = producer.inputs[1], bias = producer.input(2);
    if (collector == nullptr ||
        static_cast<int64_t>(collector->channel_ranges().size()) != graph.value(weight).shape[0]) {
      continue;
    }
    const float whole = magnitude(collector->range());
    std::vector<float> up, down;
    for (const Range& range : collector->channel_ranges()) {
      const float channel = magnitude(range);
      const float wanted = channel > 0 ? whole / channel : 1.0f;
      up.push_back(std::exp2(std::floor(std::log2(std::clamp(wanted, 1.0f, kMaxFactor)))));
      down.push_back(1 / up.back());
    }
    if (std::ranges::all_of(up, [](float factor) { return factor == 1; })) continue;
    OCTAVO_TRY(scale_constant(graph, weight, up));
    if (bias != kNoValue) OCTAVO_TRY(scale_constant(graph, bias, up));
    OCTAVO_TRY(scale_constant(graph, graph.node(pair.consumer).inputs[1], down));
    std::string name = graph.value(pair.value).name;
    do name += "_equalized";
    while (graph.find_value(name) != kNoValue);
    graph.value(pair.value).name = std::move(name);
  }
  return {};
}

}  // namespace octavo
