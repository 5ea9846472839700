// What the passes share: reading constants, and taking nodes out without renaming graph outputs.
#pragma once

#include <optional>

#include "core/graph_edit.h"
#include "runtime/op.h"

namespace octavo::passes {

/// The constant, or nullptr.
const Tensor* constant_of(const Graph& graph, ValueId value);
/// The elements of an f32 constant; nullopt if it is none.
std::optional<std::span<const float>> float_constant(const Graph& graph, ValueId value);
/// The single element of an f32, f16 or bf16 constant.
std::optional<float> float_scalar(const Graph& graph, ValueId value);
/// The integers of an i32 or i64 constant.
std::optional<std::vector<int64_t>> int_constant(const Graph& graph, ValueId value);

/// The transpose of an f32 matrix.
Result<Tensor> transposed(const Tensor& matrix);

/// Erases `node`, whose readers get `replacement` in place of its output 0. Graph outputs keep
/// their names: then the producer of `replacement` takes over. False (nothing changed) if it
/// cannot.
bool bypass(GraphEditor& editor, NodeId node, ValueId replacement);

/// Erases `node`, the only reader of `producer`'s output 0; `producer` computes its output instead.
void absorb(GraphEditor& editor, NodeId producer, NodeId node);

/// Whether both shapes are known to be the same. Symbols count as known.
bool same_shape(const Shape& a, const Shape& b);

/// The node that computes input `index` of `node`, if it is of `kind` and nothing else reads that
/// value; else -1.
NodeId sole_producer(const GraphEditor& editor, const Node& node, size_t index);

}  // namespace octavo::passes
