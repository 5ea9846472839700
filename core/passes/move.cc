// Chains of operators that only move elements.
#include <algorithm>

#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"

namespace octavo::passes {
namespace {

bool is_view(OpKind kind) {
  return kind == OpKind::kReshape || kind == OpKind::kFlatten || kind == OpKind::kSqueeze ||
         kind == OpKind::kUnsqueeze;
}

std::vector<int64_t> permutation(const Graph& graph, const Node& node) {
  const auto perm = node.get_ints("perm");
  if (!perm.empty()) return {perm.begin(), perm.end()};
  const Shape& shape = graph.value(node.inputs[0]).shape;
  std::vector<int64_t> reversed;
  for (int i = shape.has_rank() ? shape.rank() : 0; i-- > 0;) reversed.push_back(i);
  return reversed;
}

}  // namespace

/// Transpose of Transpose becomes one, or none.
Result<int> merge_transposes(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    Node& node = graph.nodes[n];
    if (node.kind != OpKind::kTranspose || editor.is_erased(static_cast<NodeId>(n))) continue;
    const NodeId before = editor.producer(node.inputs[0]);
    if (before < 0 || graph.node(before).kind != OpKind::kTranspose) continue;
    const auto first = permutation(graph, graph.node(before)), second = permutation(graph, node);
    if (first.empty() || first.size() != second.size()) continue;
    std::vector<int64_t> merged;
    for (const int64_t axis : second) {
      if (axis < 0 || axis >= static_cast<int64_t>(first.size())) break;
      merged.push_back(first[static_cast<size_t>(axis)]);
    }
    if (merged.size() != first.size()) continue;
    const ValueId source = graph.node(before).inputs[0];
    ++changes;
    if (std::ranges::is_sorted(merged) && bypass(editor, static_cast<NodeId>(n), source)) continue;
    graph.nodes[n].set("perm", merged);
    editor.set_input(static_cast<NodeId>(n), 0, source);
  }
  return changes;
}

/// A Reshape of a Reshape (Flatten, Squeeze, Unsqueeze) needs only the last shape. Any of them with
/// a known result becomes a Reshape when it stands behind another.
Result<int> merge_reshapes(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  const auto node_count = static_cast<NodeId>(graph.nodes.size());
  for (NodeId n = 0; n < node_count; ++n) {
    const Node& node = graph.node(n);
    if (!is_view(node.kind) || editor.is_erased(n)) continue;
    const NodeId before = editor.producer(node.inputs[0]);
    if (before < 0 || !is_view(graph.node(before).kind)) continue;
    const Value& output = graph.value(node.outputs[0]);
    if (output.quant != nullptr && !output.quant->per_tensor()) continue;
    const ValueId source = graph.node(before).inputs[0];
    if (output.shape.is_static()) {
      // The shape of an empty tensor has zeros, which mean "as the input".
      if (output.shape.elements() == 0) continue;
      const Tensor shape = Tensor::vector_i64(output.shape.dims());
      const ValueId target = editor.add_constant(concat(output.name, "_shape"), shape);
      const Node reshape{.kind = OpKind::kReshape,
                         .inputs = {source, target},
                         .outputs = node.outputs,
                         .name = node.name};
      editor.erase(n);
      editor.insert_before(n, reshape);
    } else {
      const auto shape = node.kind == OpKind::kReshape ? int_constant(graph, node.input(1))
                                                       : std::optional<std::vector<int64_t>>();
      if (!shape || std::ranges::count(*shape, 0) > 0) continue;
      editor.set_input(n, 0, source);
    }
    ++changes;
  }
  return changes;
}

}  // namespace octavo::passes
