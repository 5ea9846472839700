// Conv -> Add with a tensor of the same shape [-> Relu or Clip] becomes a Conv with a residual
// input. Among quantized values the rounding between Conv and Add disappears.
#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"

namespace octavo::passes {
namespace {

constexpr size_t kResidualInput = 3;

bool can_take_residual(const Node& node) {
  return node.kind == OpKind::kConv && node.inputs.size() <= kResidualInput &&
         node.get_string("activation").empty() && node.outputs.size() == 1;
}

}  // namespace

Result<int> fuse_residuals(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node node = graph.nodes[n];
    if (node.kind != OpKind::kAdd) continue;
    // The later convolution, so that the other operand is computed by then.
    NodeId conv = -1;
    size_t conv_input = 0;
    for (const size_t i : {0, 1}) {
      const NodeId candidate = sole_producer(editor, node, i);
      if (candidate > conv && can_take_residual(graph.node(candidate))) {
        conv = candidate;
        conv_input = i;
      }
    }
    if (conv < 0) continue;
    const ValueId residual = node.inputs[1 - conv_input];
    const Value &computed = graph.value(node.inputs[conv_input]), &other = graph.value(residual),
                &sum = graph.value(node.outputs[0]);
    const bool quantized = sum.quant != nullptr;
    if (!same_shape(computed.shape, other.shape) || (computed.quant != nullptr) != quantized ||
        (other.quant != nullptr) != quantized || other.constant.present() ||
        (quantized && !other.quant->per_tensor()) || (!quantized && sum.dtype != other.dtype)) {
      continue;
    }
    Node& producer = graph.nodes[static_cast<size_t>(conv)];
    if (quantized && graph.value(producer.inputs[0]).quant == nullptr) continue;
    while (producer.inputs.size() < kResidualInput) editor.add_input(conv, kNoValue);
    editor.add_input(conv, residual);
    for (const char* attribute : {"activation", "activation_params"}) {
      if (const AttributeValue* value = node.find(attribute)) producer.set(attribute, *value);
    }
    absorb(editor, conv, static_cast<NodeId>(n));
    ++changes;
  }
  return changes;
}

}  // namespace octavo::passes
