// Activations that become part of the operator before them, or one operator of their own.
#include <cmath>
#include <limits>

#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"
#include "runtime/requantize.h"

namespace octavo::passes {
namespace {

// Relu's and Clip's bounds, if they are constant.
std::optional<ActivationBounds> match_bounds(const Graph& graph, const Node& node) {
  ActivationBounds bounds;
  if (node.kind == OpKind::kRelu) {
    bounds.lo = 0;
    return bounds;
  }
  if (node.kind != OpKind::kClip) return std::nullopt;
  for (const size_t i : {1, 2}) {
    if (node.input(i) == kNoValue) continue;
    const auto number = float_scalar(graph, node.inputs[i]);
    if (!number || std::isnan(*number)) return std::nullopt;
    (i == 1 ? bounds.lo : bounds.hi) = *number;
  }
  if (bounds.lo > bounds.hi) return std::nullopt;
  return bounds;
}

// The types in which operators with fused activations compute.
bool is_compute_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

bool can_take_activation(const Node& node) {
  const OpDef* op = find_op(node.kind);
  return op != nullptr && find_field(*op, "activation") != nullptr &&
         node.get_string("activation").empty() && node.outputs.size() == 1;
}

// x, if `value` is clip(x + 3, 0, 6) with `relu6` the Clip's node.
ValueId match_shifted_relu6(const GraphEditor& editor, NodeId relu6) {
  const Graph& graph = editor.graph();
  if (relu6 < 0) return kNoValue;
  const Node& clip = graph.node(relu6);
  const auto bounds = match_bounds(graph, clip);
  if (!bounds || bounds->lo != 0 || bounds->hi != 6 || clip.kind != OpKind::kClip) return kNoValue;
  const NodeId shift = sole_producer(editor, clip, 0);
  if (shift < 0 || graph.node(shift).kind != OpKind::kAdd) return kNoValue;
  const Node& add = graph.node(shift);
  for (const size_t i : {0, 1}) {
    if (float_scalar(graph, add.inputs[1 - i]) == 3.0f) return add.inputs[i];
  }
  return kNoValue;
}

// The operand that is not the constant 1/6 (Mul) or 6 (Div); kNoValue if the node is no such thing.
ValueId match_sixth(const Graph& graph, const Node& node) {
  if (node.kind == OpKind::kDiv && float_scalar(graph, node.inputs[1]) == 6.0f)
    return node.inputs[0];
  if (node.kind != OpKind::kMul) return kNoValue;
  for (const size_t i : {0, 1}) {
    const auto factor = float_scalar(graph, node.inputs[1 - i]);
    if (factor && std::fabs(*factor - 1.0f / 6) < 1e-6f) return node.inputs[i];
  }
  return kNoValue;
}

}  // namespace

/// Relu and Clip with constant bounds behind an operator that can do it itself.
Result<int> fuse_activations(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const auto bounds = match_bounds(graph, node);
    if (!bounds || !is_compute_float(graph.value(node.outputs[0]).dtype)) continue;
    const NodeId before = sole_producer(editor, node, 0);
    if (before < 0 || !can_take_activation(graph.node(before))) continue;
    if (graph.value(node.inputs[0]).quant != nullptr) continue;
    Node& producer = graph.nodes[static_cast<size_t>(before)];
    constexpr float kMax = std::numeric_limits<float>::max();
    if (bounds->lo == 0 && bounds->hi >= kMax) {
      producer.set("activation", std::string("Relu"));
    } else {
      producer.set("activation", std::string("Clip"));
      producer.set("activation_params",
                   std::vector<float>{std::max(bounds->lo, -kMax), std::min(bounds->hi, kMax)});
    }
    absorb(editor, before, static_cast<NodeId>(n));
    ++changes;
  }
  return changes;
}

/// clip(x + 3, 0, 6) / 6 is HardSigmoid(alpha 1/6, beta 1/2); times x it is HardSwish.
Result<int> fuse_hard_swish(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  const auto node_count = graph.nodes.size();
  const auto replace = [&](size_t n, OpKind kind, ValueId x) {
    Node made{.kind = kind,
              .inputs = {x},
              .outputs = graph.nodes[n].outputs,
              .name = graph.nodes[n].name};
    if (kind == OpKind::kHardSigmoid) {
      made.set("alpha", 1.0f / 6);
      made.set("beta", 0.5f);
    }
    editor.erase(static_cast<NodeId>(n));
    editor.insert_before(static_cast<NodeId>(n), std::move(made));
    ++changes;
  };
  // x * clip(x + 3, 0, 6), or its product with 1/6 before: then one more node follows.
  const auto gate_of = [&](const Node& mul) {
    for (const size_t i : {0, 1}) {
      const NodeId clip = sole_producer(editor, mul, i);
      const ValueId x = match_shifted_relu6(editor, clip);
      if (x != kNoValue && x == mul.inputs[1 - i]) return x;
    }
    return kNoValue;
  };
  for (size_t n = 0; n < node_count; ++n) {
    if (editor.is_erased(static_cast<NodeId>(n))) continue;
    const Node node = graph.nodes[n];
    if (const ValueId scaled = match_sixth(graph, node); scaled != kNoValue) {
      if (!editor.has_one_use(scaled) || editor.producer(scaled) < 0) continue;
      const Node& before = graph.node(editor.producer(scaled));
      if (before.kind == OpKind::kMul) {
        const ValueId x = gate_of(before);
        if (x != kNoValue) replace(n, OpKind::kHardSwish, x);
        continue;
      }
      const ValueId x = match_shifted_relu6(editor, editor.producer(scaled));
      if (x != kNoValue) replace(n, OpKind::kHardSigmoid, x);
      continue;
    }
    if (node.kind != OpKind::kMul) continue;
    for (const size_t i : {0, 1}) {
      const NodeId gate = sole_producer(editor, node, i);
      if (gate < 0 || graph.node(gate).kind != OpKind::kHardSigmoid) continue;
      const Node& sigmoid = graph.node(gate);
      if (sigmoid.inputs[0] != node.inputs[1 - i] ||
          std::fabs(sigmoid.get_float("alpha") - 1.0f / 6) > 1e-6f ||
          sigmoid.get_float("beta") != 0.5f) {
        continue;
      }
      replace(n, OpKind::kHardSwish, sigmoid.inputs[0]);
      break;
    }
  }
  return changes;
}

/// A quantized Relu or Clip does nothing if its input has its output's parameters and the bounds
/// are no narrower than what the integers can say.
Result<int> remove_saturated_clips(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const auto bounds = match_bounds(graph, node);
    if (!bounds) continue;
    const Value &in = graph.value(node.inputs[0]), &out = graph.value(node.outputs[0]);
    if (in.quant == nullptr || out.quant == nullptr || in.dtype != out.dtype ||
        !(*in.quant == *out.quant) || !in.quant->per_tensor()) {
      continue;
    }
    const IntRange range = quantized_range(in.dtype);
    const float scale = in.quant->scale[0];
    const auto zero = static_cast<int64_t>(in.quant->zero_point[0]);
    const float smallest = static_cast<float>(range.lo - zero) * scale;
    const float largest = static_cast<float>(range.hi - zero) * scale;
    // Less than half a step outside rounds to the bound itself.
    if (smallest < bounds->lo - 0.25f * scale || largest > bounds->hi + 0.25f * scale) continue;
    changes += bypass(editor, static_cast<NodeId>(n), node.inputs[0]) ? 1 : 0;
  }
  return changes;
}

}  // namespace octavo::passes
