// Casts that undo each other, and Casts beside QuantizeLinear and DequantizeLinear.
#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"

namespace octavo::passes {
namespace {

// Every value of `from` is one of `to`.
bool is_lossless(DType from, DType to) {
  const bool half = from == DType::kBF16 || from == DType::kF16;
  return (half && (to == DType::kF32 || to == DType::kF64)) ||
         (from == DType::kF32 && to == DType::kF64);
}

bool is_half(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF16; }

}  // namespace

/// Cast of a lossless Cast becomes one, or none.
Result<int> merge_casts(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (node.kind != OpKind::kCast || editor.is_erased(static_cast<NodeId>(n))) continue;
    const NodeId before = editor.producer(node.inputs[0]);
    if (before < 0 || graph.node(before).kind != OpKind::kCast) continue;
    const ValueId source = graph.node(before).inputs[0];
    const DType dtype = graph.value(source).dtype;
    if (!is_lossless(dtype, graph.value(node.inputs[0]).dtype)) continue;
    ++changes;
    if (graph.value(node.outputs[0]).dtype == dtype &&
        bypass(editor, static_cast<NodeId>(n), source)) {
      continue;
    }
    editor.set_input(static_cast<NodeId>(n), 0, source);
  }
  return changes;
}

/// QuantizeLinear reads, and DequantizeLinear writes, half precision itself. (In ONNX they would
/// need a half-precision scale.)
Result<int> fuse_quantize_casts(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (editor.is_erased(static_cast<NodeId>(n))) continue;
    if (node.kind == OpKind::kQuantizeLinear && node.inputs.size() == 1) {
      const NodeId before = editor.producer(node.inputs[0]);
      if (before < 0 || graph.node(before).kind != OpKind::kCast) continue;
      const ValueId source = graph.node(before).inputs[0];
      if (!is_half(graph.value(source).dtype)) continue;
      editor.set_input(static_cast<NodeId>(n), 0, source);
      ++changes;
    } else if (node.kind == OpKind::kCast && is_half(graph.value(node.outputs[0]).dtype)) {
      const NodeId before = sole_producer(editor, node, 0);
      if (before < 0 || graph.node(before).kind != OpKind::kDequantizeLinear ||
          graph.node(before).inputs.size() != 1) {
        continue;
      }
      absorb(editor, before, static_cast<NodeId>(n));
      ++changes;
    }
  }
  return changes;
}

}  // namespace octavo::passes
