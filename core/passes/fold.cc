// Constant folding and shape resolution.
#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"
#include "runtime/infer.h"
#include "runtime/limits.h"
#include "runtime/quantize_view.h"

namespace octavo::passes {
namespace {

// A constant that grows the model (Expand, Tile, ConstantOfShape, ...) is folded only up to this.
constexpr int64_t kGrownBytes = 1 << 20;

bool may_fold(const GraphEditor& editor, const Node& node) {
  const OpDef* op = find_op(node.kind);
  if (op == nullptr || op->reference == nullptr ||
      (op->flags & (kNondeterministic | kHasBody)) != 0) {
    return false;
  }
  // Folding these would turn integer weights into floats.
  if (is_conversion(node)) return false;
  for (const ValueId id : node.outputs) {
    if (id != kNoValue && editor.is_output(id)) return false;
  }
  return true;
}

// Computes a node whose inputs are all constant. Empty if it cannot, or its result is too large.
std::vector<Tensor> compute(const Graph& graph, const Node& node) {
  std::vector<TensorInfo> inputs(node.inputs.size()), outputs(node.outputs.size());
  std::vector<const TensorInfo*> pointers;
  std::vector<TensorView> views;
  int64_t input_bytes = 0, output_bytes = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNoValue) {
      pointers.push_back(nullptr);
      views.emplace_back();
      continue;
    }
    const Value& value = graph.value(node.inputs[i]);
    inputs[i] = {value.dtype, value.shape, value.constant, value.quant};
    pointers.push_back(&inputs[i]);
    views.push_back(value.constant.view(value.quant.get()));
    input_bytes += value.constant.bytes();
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    const Value& value = graph.value(node.outputs[i]);
    outputs[i] = {value.dtype, Shape::unknown(), {}, value.quant};
  }
  if (!infer_node(node, pointers, outputs)) return {};
  for (const TensorInfo& output : outputs) {
    if (output.dtype == DType::kUndefined) continue;
    if (!output.shape.is_static()) return {};
    const int64_t elements = output.shape.elements();
    if (elements > limits::kFoldBytes) return {};
    output_bytes += elements * dtype_bytes(output.dtype);
  }
  if (output_bytes > limits::kFoldBytes) return {};
  if (output_bytes > kGrownBytes && output_bytes > 2 * input_bytes) return {};
  auto result = evaluate(node, views, outputs);
  // A node that fails is left for the run, which reports it.
  return result ? *std::move(result) : std::vector<Tensor>();
}

void make_constant(Graph& graph, ValueId id, Tensor tensor) {
  Value& value = graph.value(id);
  value.dtype = tensor.dtype();
  value.shape = tensor.shape();
  value.constant = std::move(tensor);
}

}  // namespace

/// Writes inferred dtypes and shapes into the graph's values.
Result<int> infer_shapes(Graph& graph) {
  OCTAVO_TRY(infer_in_place(graph));
  return 0;
}

/// Nodes whose results are known become constants: those with constant inputs, and computations on
/// shapes that inference resolves.
Result<int> fold_constants(Graph& graph) {
  OCTAVO_ASSIGN(const std::vector<TensorInfo> infos,
                infer_graph(graph, {}, limits::kPlanFoldElements));
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (node.outputs.empty() || !may_fold(editor, node)) continue;
    std::vector<Tensor> results;
    bool all_constant = true;
    for (const ValueId id : node.inputs) all_constant &= id == kNoValue || editor.is_constant(id);
    if (all_constant) {
      results = compute(graph, node);
    } else {
      for (const ValueId id : node.outputs) {
        results.push_back(id == kNoValue ? Tensor() : infos[static_cast<size_t>(id)].constant);
      }
    }
    bool known = results.size() == node.outputs.size();
    for (size_t i = 0; known && i < results.size(); ++i) {
      known = node.outputs[i] == kNoValue || results[i].present();
    }
    if (!known) continue;
    const std::vector<ValueId> outputs = node.outputs;
    editor.erase(static_cast<NodeId>(n));
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] != kNoValue) make_constant(graph, outputs[i], std::move(results[i]));
    }
    ++changes;
  }
  return changes;
}

}  // namespace octavo::passes
