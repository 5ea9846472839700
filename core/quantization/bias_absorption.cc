#include "core/quantization/bias_absorption.h"

#include <algorithm>
#include <cmath>

#include "core/quantization/channel_groups.h"

namespace octavo {
namespace {

constexpr ChannelGroupRules kRules{.dense_behind_activation = true};

bool has_padding(const Graph& graph, const Node& node) {
  const std::string_view mode = node.get_string("auto_pad");
  if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
    const Shape& weight = graph.value(node.inputs[1]).shape;
    return weight.elements(2, weight.rank()) > 1;
  }
  return std::ranges::any_of(node.get_ints("pads"), [](int64_t pad) { return pad != 0; });
}

// The constants of a value's channels; empty if there are none.
std::vector<float> constants_of(ValueId value, double deviations, bool clipped,
                                const ChannelStats& stats) {
  const std::vector<double> mean = stats.mean(value), energy = stats.energy(value);
  const std::vector<double> cut = stats.cut_off(value);
  const std::span<const Range> ranges = stats.ranges(value);
  std::vector<float> constants(mean.size(), 0);
  bool any = false;
  for (size_t c = 0; c < mean.size(); ++c) {
    const double deviation = std::sqrt(std::max(energy[c] - mean[c] * mean[c], 0.0));
    // A bound above would move with the channel.
    if (clipped && cut[c] > 0) continue;
    const double low = std::min<double>(mean[c] - deviations * deviation, ranges[c].min);
    constants[c] = static_cast<float>(std::max(low, 0.0));
    any = any || constants[c] > 0;
  }
  return any ? constants : std::vector<float>();
}

// Adds shift[o] to a convolution's bias.
Status shift_bias(Graph& graph, NodeId n, std::span<const double> shift) {
  Value& value = graph.value(graph.node(n).inputs[2]);
  OCTAVO_ASSIGN(Tensor bias, value.constant.clone());
  const auto to = bias.data<float>();
  for (size_t o = 0; o < shift.size(); ++o) to[o] = static_cast<float>(to[o] + shift[o]);
  value.constant = std::move(bias);
  return {};
}

// What a convolution computes of the constants.
std::vector<double> absorbed(const Graph& graph, const Node& node,
                             std::span<const float> constants) {
  const Value& weights = graph.value(node.inputs[1]);
  const auto data = weights.constant.data<const float>();
  const auto outputs = static_cast<size_t>(weights.shape[0]);
  const auto inputs = static_cast<size_t>(weights.shape[1]);
  const size_t kernel = data.size() / (outputs * inputs);
  const size_t per_group = outputs / static_cast<size_t>(node.get_int("group"));
  std::vector<double> shift(outputs, 0);
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t i = 0; i < inputs; ++i) {
      double sum = 0;
      for (size_t k = 0; k < kernel; ++k) sum += data[(o * inputs + i) * kernel + k];
      shift[o] += sum * constants[o / per_group * inputs + i];
    }
  }
  return shift;
}

}  // namespace

Status absorb_biases(Graph& graph, const Annotation& annotation, double deviations,
                     ChannelStats& stats) {
  for (const ChannelGroup& group : find_channel_groups(graph, annotation, kRules)) {
    const auto has_bias = [&](NodeId n) { return graph.node(n).input(2) != kNoValue; };
    const auto is_padded = [&](NodeId n) { return has_padding(graph, graph.node(n)); };
    if (group.values.size() != 1 || !std::ranges::all_of(group.producers, has_bias) ||
        !std::ranges::all_of(group.consumers, has_bias) ||
        std::ranges::any_of(group.consumers, is_padded)) {
      continue;
    }
    const ValueId value = group.values[0];
    const bool clipped = graph.node(group.producers[0]).get_string("activation") == "Clip";
    const std::vector<float> constants = constants_of(value, deviations, clipped, stats);
    if (std::ssize(constants) != group.channels) continue;
    std::vector<double> less;
    for (const float c : constants) less.push_back(-static_cast<double>(c));
    OCTAVO_TRY(shift_bias(graph, group.producers[0], less));
    for (const NodeId n : group.consumers) {
      OCTAVO_TRY(shift_bias(graph, n, absorbed(graph, graph.node(n), constants)));
    }
    stats.shift(value, constants);
    rename_values(graph, group, kAbsorbedSuffix);
  }
  return {};
}

}  // namespace octavo
