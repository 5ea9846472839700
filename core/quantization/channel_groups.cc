#include "core/quantization/channel_groups.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace octavo {
namespace {

class GroupFinder {
 public:
  GroupFinder(const Graph& graph, const Annotation& annotation, const ChannelGroupRules& rules)
      : graph_(graph),
        annotation_(annotation),
        rules_(rules),
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

  std::vector<ChannelGroup> run() {
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (!is_sum(static_cast<NodeId>(n))) continue;
      const Node& node = graph_.nodes[n];
      for (const ValueId id : node.inputs) parents_[index(root(id))] = root(node.outputs[0]);
    }
    std::map<ValueId, ChannelGroup> by_root;
    for (const Node& node : graph_.nodes) {
      for (const ValueId id : node.outputs) {
        if (id != kNoValue) by_root[root(id)].values.push_back(id);
      }
    }
    std::vector<ChannelGroup> groups;
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

  // A quantized convolution whose weights and bias are its own.
  bool is_free(NodeId n) const {
    const Node& node = graph_.node(n);
    const NodeAnnotation& a = annotation_.nodes[static_cast<size_t>(n)];
    if (node.kind != OpKind::kConv || !a.quantized || node.inputs.size() > 3) return false;
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      if (id != kNoValue && readers_[index(id)].size() != 1) return false;
    }
    return !rules_.per_channel_only || a.config->weight_granularity == "per_channel";
  }

  // f(s x) = s f(x) for the fused activation f. Clip(0, hi) is meant too if the value is alone:
  // what it cuts off lies outside the calibrated range then.
  bool scales_with_input(const Node& node, bool alone) const {
    const std::string_view activation = node.get_string("activation");
    const auto params = node.get_floats("activation_params");
    return activation.empty() || activation == "Relu" ||
           ((alone || rules_.clip_in_sums) && activation == "Clip" && params.size() == 2 &&
            params[0] == 0);
  }

  bool find_producers(ChannelGroup& group) const {
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

  bool find_consumers(ChannelGroup& group) const {
    const bool is_linear = std::ranges::all_of(
        group.producers, [&](NodeId n) { return graph_.node(n).get_string("activation").empty(); });
    for (const ValueId value : group.values) {
      for (const NodeId reader : readers_[index(value)]) {
        if (reader == kOutput) return false;
        if (is_sum(reader)) continue;
        if (!is_free(reader)) return false;
        const Shape& weight = graph_.value(graph_.node(reader).inputs[1]).shape;
        const bool is_depthwise = is_depthwise_consumer(graph_.node(reader), group) &&
                                  weight[1] == 1 && weight[0] == group.channels;
        const bool is_dense =
            graph_.node(reader).get_int("group") == 1 && weight[1] == group.channels;
        if (!is_depthwise && !(is_dense && (is_linear || rules_.dense_behind_activation))) {
          return false;
        }
        group.consumers.push_back(reader);
      }
    }
    return !group.consumers.empty();
  }

  const Graph& graph_;
  const Annotation& annotation_;
  const ChannelGroupRules rules_;
  std::vector<std::vector<NodeId>> readers_;  // by ValueId
  std::vector<ValueId> parents_;              // union-find over values
};

void rename(Graph& graph, ValueId id, std::string_view suffix) {
  std::string name = graph.value(id).name;
  do {
    name += suffix;
  } while (graph.find_value(name) != kNoValue);
  graph.value(id).name = std::move(name);
}

}  // namespace

void rename_values(Graph& graph, const ChannelGroup& group, std::string_view suffix) {
  for (const ValueId value : group.values) rename(graph, value, suffix);
}

std::vector<ChannelGroup> find_channel_groups(const Graph& graph, const Annotation& annotation,
                                              const ChannelGroupRules& rules) {
  return GroupFinder(graph, annotation, rules).run();
}

bool is_depthwise_consumer(const Node& node, const ChannelGroup& group) {
  return group.channels > 1 && node.get_int("group") == group.channels;
}

Status scale_constant(Graph& graph, ValueId id, int axis, std::span<const float> factors) {
  Value& value = graph.value(id);
  OCTAVO_ASSIGN(Tensor scaled, value.constant.clone());
  const auto data = scaled.data<float>();
  const auto inner = static_cast<size_t>(value.shape.elements(axis + 1, value.shape.rank()));
  for (size_t i = 0; i < data.size(); ++i) data[i] *= factors[i / inner % factors.size()];
  value.constant = std::move(scaled);
  return {};
}

Status scale_channels(Graph& graph, const ChannelGroup& group, std::span<const float> factors) {
  std::vector<float> inverse;
  for (const float factor : factors) inverse.push_back(1 / factor);
  for (const NodeId n : group.producers) {
    const Node& node = graph.node(n);
    OCTAVO_TRY(scale_constant(graph, node.inputs[1], 0, factors));
    if (node.input(2) != kNoValue) OCTAVO_TRY(scale_constant(graph, node.inputs[2], 0, factors));
  }
  for (const NodeId n : group.consumers) {
    const Node& node = graph.node(n);
    OCTAVO_TRY(
        scale_constant(graph, node.inputs[1], is_depthwise_consumer(node, group) ? 0 : 1, inverse));
  }
  return {};
}

}  // namespace octavo
