#include "core/passes/edit_util.h"

#include <algorithm>

namespace octavo::passes {

const Tensor* constant_of(const Graph& graph, ValueId value) {
  if (value == kNoValue || !graph.value(value).constant.present()) return nullptr;
  return &graph.value(value).constant;
}

std::optional<std::span<const float>> float_constant(const Graph& graph, ValueId value) {
  const Tensor* tensor = constant_of(graph, value);
  if (tensor == nullptr || tensor->dtype() != DType::kF32) return std::nullopt;
  return tensor->data<float>();
}

std::optional<float> float_scalar(const Graph& graph, ValueId value) {
  const Tensor* tensor = constant_of(graph, value);
  if (tensor == nullptr || tensor->elements() != 1) return std::nullopt;
  switch (tensor->dtype()) {
    case DType::kF32: return tensor->data<float>()[0];
    case DType::kF16: return tensor->data<Float16>()[0];
    case DType::kBF16: return tensor->data<BFloat16>()[0];
    default: return std::nullopt;
  }
}

std::optional<std::vector<int64_t>> int_constant(const Graph& graph, ValueId value) {
  const Tensor* tensor = constant_of(graph, value);
  if (tensor == nullptr) return std::nullopt;
  auto list = to_int64s(*tensor);
  if (!list) return std::nullopt;
  return *std::move(list);
}

Result<Tensor> transposed(const Tensor& matrix) {
  const int64_t rows = matrix.shape()[0], columns = matrix.shape()[1];
  OCTAVO_ASSIGN(Tensor out, Tensor::create(DType::kF32, Shape{columns, rows}));
  const auto from = matrix.data<const float>();
  const auto to = out.data<float>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      to[static_cast<size_t>(c * rows + r)] = from[static_cast<size_t>(r * columns + c)];
    }
  }
  return out;
}

bool bypass(GraphEditor& editor, NodeId node, ValueId replacement) {
  const ValueId output = editor.graph().node(node).outputs[0];
  if (!editor.is_output(output)) {
    editor.replace_uses(output, replacement);
    editor.erase(node);
    return true;
  }
  const NodeId producer = editor.producer(replacement);
  if (producer < 0 || editor.is_output(replacement)) return false;
  const auto& outputs = editor.graph().node(producer).outputs;
  const auto index = static_cast<size_t>(std::ranges::find(outputs, replacement) - outputs.begin());
  // The value keeps what is known of it.
  Value& renamed = editor.graph().value(output);
  const Value& known = editor.graph().value(replacement);
  renamed.dtype = known.dtype;
  renamed.quant = known.quant;
  if (!renamed.shape.has_rank()) renamed.shape = known.shape;
  editor.erase(node);
  editor.replace_uses(replacement, output);
  editor.set_output(producer, index, output);
  return true;
}

void absorb(GraphEditor& editor, NodeId producer, NodeId node) {
  const ValueId output = editor.graph().node(node).outputs[0];
  editor.erase(node);
  editor.set_output(producer, 0, output);
}

bool same_shape(const Shape& a, const Shape& b) {
  if (!a.has_rank() || !(a == b)) return false;
  return std::ranges::none_of(a, [](int64_t dim) { return dim == kUnknownDim; });
}

NodeId sole_producer(const GraphEditor& editor, const Node& node, size_t index) {
  const ValueId value = node.input(index);
  return value != kNoValue && editor.has_one_use(value) ? editor.producer(value) : -1;
}

}  // namespace octavo::passes
