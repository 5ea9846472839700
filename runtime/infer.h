// Shape and dtype inference over a graph, and evaluation of single nodes: shared by import,
// constant folding and planning.
#pragma once

#include <span>
#include <vector>

#include "runtime/op.h"

namespace octavo {

/// Infers one node. `inputs[i]` is nullptr for an absent input. Values that carry quantization
/// parameters keep the dtype they declare: `declared` holds the outputs' values.
Status infer_node(const Node& node, std::span<const TensorInfo* const> inputs,
                  std::span<TensorInfo> outputs);

/// Knowledge of every value of `graph`, from its inputs' (`inputs`, in order; a dtype or shape that
/// is unknown there is taken from the graph) onwards. Small integer computations on shapes are
/// carried out, so that Shape -> Gather -> Concat -> Reshape chains resolve; results of at most
/// `fold_elements` elements are kept as constants. 0 folds nothing but Shape and Size.
Result<std::vector<TensorInfo>> infer_graph(const Graph& graph, std::span<const TensorInfo> inputs,
                                            int64_t fold_elements);

/// Writes what infer_graph finds (dtypes and shapes) into the graph's values.
Status infer_in_place(Graph& graph);

/// Runs one node's reference function on plain-layout tensors. Quantized inputs of an operator that
/// has no integer reference are dequantized before and requantized after.
/// Absent inputs are tensors that are not present(). Errors name the node.
Result<std::vector<Tensor>> evaluate(const Node& node, std::span<const TensorView> inputs,
                                     std::span<const TensorInfo> outputs,
                                     GraphRunner* runner = nullptr);

/// Runs a reference function in place: `context.outputs` allocated where shapes are known.
/// If real numbers stand behind integers (views with quant) and the op's reference is float only,
/// converts around it.
Status run_reference(const OpDef& op, KernelContext& context);

/// Runs a reference function that knows only floats: dequantizes its inputs before, quantizes its
/// outputs after. For integer references (kIntegerReference) on parameters they do not cover.
Status run_dequantized(const OpDef& op, KernelContext& context);

}  // namespace octavo
