#include "core/quantization/equalize.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "core/quantization/params.h"

namespace octavo {
namespace {

// A channel of which calibration saw little is scaled up no more than this.
constexpr float kMaxFactor = 4;

// Values that have the same factors because they are added, and the convolutions around them.
struct Group {
  std::vector<ValueId> values;
  std::vector<NodeId> producers;
  std::vector<NodeId> consumers;
  int64_t channels = 0;
};

class GroupFinder {
 public:
  GroupFinder(const Graph& graph, const Annotation& annotation)
      : graph_(graph),
        annotation_(annotation),
        readers_(graph.values.size()),
        parents_(graph.values.size()) {
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      for (const ValueId id : graph.nodes[n].inputs) {
        if (id != kNoValue) readers_[index(id)].push_back(static_cast<NodeId>(n));
      }
    }
    for (const ValueId id : graph.outputs) readers_[index(id)].push_back(kOutput);
    std::iota(parents_.begin(), parents_.end(), 0);
  }

  std::vector<Group> run() {
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (!is_sum(static_cast<NodeId>(n))) continue;
      const Node& node = graph_.nodes[n];
      for (const ValueId id : node.inputs) parents_[index(root(id))] = root(node.outputs[0]);
    }
    std::map<ValueId, Group> by_root;
    for (const Node& node : graph_.nodes) {
      for (const ValueId id : node.outputs) {
        if (id != kNoValue) by_root[root(id)].values.push_back(id);
      }
    }
    std::vector<Group> groups;
    for (auto& [unused, group] : by_root) {
      if (find_producers(group) && find_consumers(group)) groups.push_back(std::move(group));
    }
    return groups;
  }

 private:
  static constexpr NodeId kOutput = -1;  // a reader that is no node: the graph's user

  static size_t index(ValueId id) { return static_cast<size_t>(id); }
  ValueId root(ValueId value) const {
    while (parents_[index(value)] != value) value = parents_[index(value)];
    return value;
  }

  bool is_sum(NodeId n) const {
    const Node& node = graph_.node(n);
    if (node.kind != OpKind::kAdd || !annotation_.nodes[static_cast<size_t>(n)].quantized) {
      return false;
    }
    const Shape& shape = graph_.value(node.outputs[0]).shape;
    return std::ranges::all_of(node.inputs, [&](ValueId id) {
      const Value& value = graph_.value(id);
      return !value.constant.present() && value.shape.has_rank() && value.shape == shape;
    });
  }

  // A quantized convolution with a weight scale per channel, whose weights and bias are its own.
  bool is_free(NodeId n) const {
    const Node& node = graph_.node(n);
    const NodeAnnotation& a = annotation_.nodes[static_cast<size_t>(n)];
    if (node.kind != OpKind::kConv || !a.quantized || node.inputs.size() > 3) return false;
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      if (id != kNoValue && readers_[index(id)].size() != 1) return false;
    }
    return a.config->weight_granularity == "per_channel";
  }

  // f(s x) = s f(x) for the fused activation f. Clip(0, hi) is meant too if the value is alone:
  // what it cuts off lies outside the calibrated range then.
  static bool scales_with_input(const Node& node, bool alone) {
    const std::string_view activation = node.get_string("activation");
    const auto params = node.get_floats("activation_params");
    return activation.empty() || activation == "Relu" ||
           (alone && activation == "Clip" && params.size() == 2 && params[0] == 0);
  }

  bool find_producers(Group& group) const {
    for (const ValueId value : group.values) {
      const NodeId producer = annotation_.producers[index(value)];
      if (!annotation_.is_produced_quantized(graph_, value)) return false;
      if (is_sum(producer)) continue;
      const Node& node = graph_.node(producer);
      if (!is_free(producer) || !scales_with_input(node, group.values.size() == 1)) return false;
      const int64_t channels = graph_.value(node.inputs[1]).shape[0];
      if (!group.producers.empty() && group.channels != channels) return false;
      group.channels = channels;
      group.producers.push_back(producer);
    }
    return !group.producers.empty();
  }

  bool find_consumers(Group& group) const {
    const bool is_linear = std::ranges::all_of(
        group.producers, [&](NodeId n) { return graph_.node(n).get_string("activation").empty(); });
    for (const ValueId value : group.values) {
      for (const NodeId reader : readers_[index(value)]) {
        if (reader == kOutput) return false;
        if (is_sum(reader)) continue;
        if (!is_free(reader)) return false;
        const Shape& weight = graph_.value(graph_.node(reader).inputs[1]).shape;
        const int64_t convolution_groups = graph_.node(reader).get_int("group");
        const bool is_depthwise =
            convolution_groups == group.channels && weight[1] == 1 && weight[0] == group.channels;
        const bool is_dense = convolution_groups == 1 && weight[1] == group.channels;
        if (!is_depthwise && !(is_dense && is_linear)) return false;
        group.consumers.push_back(reader);
      }
    }
    return !group.consumers.empty();
  }

  const Graph& graph_;
  const Annotation& annotation_;
  std::vector<std::vector<NodeId>> readers_;  // by ValueId
  std::vector<ValueId> parents_;              // union-find over values
};

// How far a channel can be scaled up within the range of the whole tensor.
float room(const Range& whole, const Range& channel, bool symmetric) {
  const auto magnitude = [](const Range& range) { return std::max(-range.min, range.max); };
  float factor = kMaxFactor;
  if (symmetric && magnitude(channel) > 0) {
    factor = std::min(factor, magnitude(whole) / magnitude(channel));
  }
  if (!symmetric && channel.max > 0) factor = std::min(factor, whole.max / channel.max);
  if (!symmetric && channel.min < 0) factor = std::min(factor, whole.min / channel.min);
  return std::max(factor, 1.0f);
}

// The factors of a group's channels; empty if its ranges are not known.
std::vector<float> choose_factors(const Group& group, const Annotation& annotation,
                                  const Calibration& calibration) {
  std::vector<float> factors(static_cast<size_t>(group.channels), kMaxFactor);
  for (const ValueId value : group.values) {
    const Collector* collector = calibration.collectors[static_cast<size_t>(value)].get();
    if (collector == nullptr || collector->channel_ranges().size() != factors.size()) return {};
    const auto producer = static_cast<size_t>(annotation.producers[static_cast<size_t>(value)]);
    const StaticQuantConfig& config = *annotation.nodes[producer].config;
    // What lies outside the chosen range stays as it is; nothing else may come to lie outside.
    const auto range = activation_range(*collector, /*is_input=*/false, config);
    if (!range) return {};
    for (size_t c = 0; c < factors.size(); ++c) {
      factors[c] =
          std::min(factors[c], room(*range, collector->channel_ranges()[c], config.act_sym));
    }
  }
  return factors;
}

// Multiplies slice c of `axis` by factors[c].
Status scale_constant(Graph& graph, ValueId id, int axis, std::span<const float> factors) {
  Value& value = graph.value(id);
  OCTAVO_ASSIGN(Tensor scaled, value.constant.clone());
  const auto data = scaled.data<float>();
  const auto inner = static_cast<size_t>(value.shape.elements(axis + 1, value.shape.rank()));
  for (size_t i = 0; i < data.size(); ++i) data[i] *= factors[i / inner % factors.size()];
  value.constant = std::move(scaled);
  return {};
}

void rename(Graph& graph, ValueId id) {
  std::string name = graph.value(id).name;
  do {
    name += "_equalized";
  } while (graph.find_value(name) != kNoValue);
  graph.value(id).name = std::move(name);
}

}  // namespace

void want_channel_ranges(const Graph& graph, const Annotation& annotation,
                         std::vector<WantedValue>& wanted) {
  for (const Group& group : GroupFinder(graph, annotation).run()) {
    for (const ValueId value : group.values)
      wanted[static_cast<size_t>(value)].options.per_channel = true;
  }
}

Status equalize_channels(Graph& graph, const Annotation& annotation,
                         const Calibration& calibration) {
  for (const Group& group : GroupFinder(graph, annotation).run()) {
    const std::vector<float> up = choose_factors(group, annotation, calibration);
    if (std::ranges::all_of(up, [](float factor) { return factor == 1; })) continue;
    std::vector<float> down;
    for (const float factor : up) down.push_back(1 / factor);
    for (const NodeId n : group.producers) {
      const Node& node = graph.node(n);
      OCTAVO_TRY(scale_constant(graph, node.inputs[1], 0, up));
      if (node.input(2) != kNoValue) OCTAVO_TRY(scale_constant(graph, node.inputs[2], 0, up));
    }
    for (const NodeId n : group.consumers) {
      const Node& node = graph.node(n);
      const int axis = node.get_int("group") == group.channels && group.channels > 1 ? 0 : 1;
      OCTAVO_TRY(scale_constant(graph, node.inputs[1], axis, down));
    }
    for (const ValueId value : group.values) rename(graph, value);
  }
  return {};
}

}  // namespace octavo
