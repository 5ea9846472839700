#include "core/diagnosis/names.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "core/diagnosis/channel_scale.h"
#include "core/provenance.h"
#include "core/quantization/channel_groups.h"
#include "runtime/op.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

// Rounding the weights changes the size of a channel by less, equalization of some by more.
constexpr float kScaled = 0.02f;

std::vector<NodeId> operators(const Graph& graph) {
  std::vector<NodeId> found;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (!is_conversion(graph.nodes[n])) found.push_back(static_cast<NodeId>(n));
  }
  return found;
}

// By ValueId of `graph`: what it stands for in `reference`. Empty if the operators differ.
std::vector<ValueId> matched_values(const Graph& reference, const Graph& graph) {
  const std::vector<NodeId> theirs = operators(reference), ours = operators(graph);
  if (theirs.size() != ours.size()) return {};
  std::vector<ValueId> matched(graph.values.size(), kNoValue);
  const auto match = [&](ValueId a, ValueId b) {
    ValueId& known = matched[static_cast<size_t>(b)];
    if (known == kNoValue) known = a;
    return known == a;
  };
  for (const ValueId input : graph.inputs) {
    const ValueId a = reference.find_value(graph.value(input).name);
    if (a != kNoValue) match(a, input);
  }
  size_t at = 0;
  for (const Node& node : graph.nodes) {
    if (is_conversion(node)) {
      const ValueId a = matched[static_cast<size_t>(node.inputs[0])];
      if (a != kNoValue && !match(a, node.outputs[0])) return {};
      continue;
    }
    const Node& same = reference.node(theirs[at++]);
    if (same.kind != node.kind || same.outputs.size() != node.outputs.size()) return {};
    for (size_t i = 0; i < same.inputs.size(); ++i) {
      const ValueId a = same.inputs[i], b = node.input(i);
      if (a == kNoValue || reference.value(a).constant.present()) continue;
      if (b == kNoValue || matched[static_cast<size_t>(b)] != a) return {};
    }
    for (size_t i = 0; i < same.outputs.size(); ++i) {
      const ValueId a = same.outputs[i], b = node.outputs[i];
      if ((a == kNoValue) != (b == kNoValue)) return {};
      if (a != kNoValue && !match(a, b)) return {};
    }
  }
  return matched;
}

// What the quantizer appends to the names of tensors whose channels it scaled; empty: it did not.
std::string suffix_of_scaled(const Graph& graph) {
  const auto provenance = read_provenance(graph);
  if (!provenance) return "";
  for (const QuantConfig& stage : provenance->recipe.stages) {
    const auto* config = std::get_if<StaticQuantConfig>(&stage);
    if (config == nullptr || equalization_of(*config) == "none") continue;
    const bool absorbs = equalization_of(*config) == "cross_layer" && config->bias_absorption;
    return concat(kEqualizedSuffix, absorbs ? kAbsorbedSuffix : "");
  }
  return "";
}

// Without names of their own, nodes are called by their outputs, some of which may have names.
bool has_names_of(const Graph& reference, const Graph& graph) {
  std::unordered_set<std::string_view> known;
  for (const Node& node : reference.nodes) known.insert(node.name);
  size_t count = 0, found = 0;
  for (const Node& node : graph.nodes) {
    if (is_conversion(node)) continue;
    ++count;
    found += known.contains(node.name);
  }
  return 2 * found >= count;
}

// Names operators and what they compute, except what the graph gives away. `suffix(node, value)`.
template <class Suffix>
void give_names(const Graph& reference, std::span<const ValueId> matched, Graph& graph,
                const Suffix& suffix) {
  const std::vector<NodeId> theirs = operators(reference);
  size_t at = 0;
  for (Node& node : graph.nodes) {
    const bool converts = is_conversion(node);
    if (!converts) node.name = reference.node(theirs[at++]).name;
    for (const ValueId id : node.outputs) {
      if (id == kNoValue || std::ranges::contains(graph.outputs, id)) continue;
      const ValueId a = matched[static_cast<size_t>(id)];
      if (a == kNoValue) continue;
      const bool is_output = std::ranges::contains(reference.outputs, a);
      graph.value(id).name = concat(reference.value(a).name, is_output ? "" : suffix(node, id),
                                    converts || is_output ? "_converted" : "");
    }
  }
}

}  // namespace

Model with_names_of(const Model& float_model, const Model& quantized) {
  const Graph &reference = float_model.graph(), &graph = quantized.graph();
  if (has_names_of(reference, graph)) return quantized;
  const std::vector<ValueId> matched = matched_values(reference, graph);
  if (matched.empty()) return quantized;
  auto named = std::make_shared<Graph>(graph);
  // As channel groups are: results of convolutions, and what adds them or cuts them off. Some of
  // them are scaled: those whose weights are larger or smaller than the float model's.
  const std::string suffix = suffix_of_scaled(graph);
  const auto may_be_scaled = [](OpKind kind) {
    return kind == OpKind::kConv || kind == OpKind::kAdd || kind == OpKind::kRelu ||
           kind == OpKind::kClip;
  };
  give_names(reference, matched, *named,
             [&](const Node& node, ValueId) { return may_be_scaled(node.kind) ? suffix : ""; });
  const auto scaled = scaled_tensors(reference, *named);
  const auto is_scaled = [](float factor) { return factor > 0 && std::fabs(factor - 1) > kScaled; };
  give_names(reference, matched, *named, [&](const Node&, ValueId id) {
    const auto found = scaled.find(named->value(id).name);
    const bool any = found != scaled.end() && std::ranges::any_of(found->second.factors, is_scaled);
    return any ? suffix : "";
  });
  return Model(std::move(named));
}

}  // namespace octavo
