// Gemm in one form: alpha = beta = 1, transB = 1, and a bias that is a vector of output channels.
#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"

namespace octavo::passes {
namespace {

Result<ValueId> scaled(GraphEditor& editor, ValueId constant, float factor, const Shape& shape) {
  const Value source = editor.graph().value(constant);
  OCTAVO_ASSIGN(Tensor out, Tensor::create(DType::kF32, shape));
  const auto from = source.constant.data<const float>();
  const auto to = out.data<float>();
  for (size_t i = 0; i < to.size(); ++i) to[i] = from[from.size() == 1 ? 0 : i] * factor;
  return editor.add_constant(source.name, std::move(out));
}

}  // namespace

/// Transposes constant weights and folds alpha into them, and beta into a constant bias, which
/// becomes a vector.
Result<int> simplify_gemm(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto id = static_cast<NodeId>(n);
    const Node node = graph.nodes[n];
    if (node.kind != OpKind::kGemm) continue;
    if (!float_constant(graph, node.inputs[1]) || graph.value(node.inputs[1]).quant != nullptr) {
      continue;
    }
    if (graph.value(node.inputs[1]).shape.rank() != 2) continue;
    if (node.get_int("transB") == 0) {
      const Value& b = graph.value(node.inputs[1]);
      OCTAVO_ASSIGN(Tensor turned, transposed(b.constant));
      editor.set_input(id, 1, editor.add_constant(b.name, std::move(turned)));
      graph.nodes[n].set("transB", int64_t{1});
      ++changes;
    }
    const ValueId weights = graph.nodes[n].inputs[1];
    const Shape weight = graph.value(weights).shape;
    const int64_t channels = weight[0];
    const float alpha = node.get_float("alpha"), beta = node.get_float("beta");
    if (alpha != 1) {
      OCTAVO_ASSIGN(const ValueId folded, scaled(editor, weights, alpha, weight));
      editor.set_input(id, 1, folded);
      graph.nodes[n].unset("alpha");
      ++changes;
    }
    const auto bias = float_constant(graph, node.input(2));
    if (!bias || graph.value(node.inputs[2]).quant != nullptr) continue;
    const Shape shape = graph.value(node.inputs[2]).shape;
    const auto count = static_cast<int64_t>(bias->size());
    const bool is_row =
        count == channels && (shape.rank() == 1 || (shape.rank() == 2 && shape[0] == 1));
    if (!is_row && count != 1) continue;
    if (beta == 1 && is_row && shape.rank() == 1) continue;
    OCTAVO_ASSIGN(const ValueId folded, scaled(editor, node.inputs[2], beta, Shape{channels}));
    editor.set_input(id, 2, folded);
    graph.nodes[n].unset("beta");
    ++changes;
  }
  return changes;
}

}  // namespace octavo::passes
