#include "core/quantization/input_scale.h"

#include <algorithm>

namespace octavo {
namespace {

std::vector<float> inverse_of(std::span<const float> scales) {
  std::vector<float> inverse;
  for (const float scale : scales) inverse.push_back(1 / scale);
  return inverse;
}

// Constant f32 input `slot` of a node, with as many slices along `axis` as wanted; negative axes
// count from the back.
bool fits(const GraphEditor& editor, const Node& node, size_t slot, int axis, size_t channels) {
  const ValueId id = node.input(slot);
  if (!editor.is_constant(id)) return false;
  const Value& value = editor.graph().value(id);
  const int rank = value.shape.rank();
  if (axis < 0) axis += rank;
  return value.dtype == DType::kF32 && axis >= 0 && axis < rank &&
         value.shape[axis] == static_cast<int64_t>(channels);
}

}  // namespace

std::optional<ScalableLayer> scalable_layer(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.inputs.size() < 2 || node.inputs[0] == kNoValue || node.inputs[1] == kNoValue) {
    return std::nullopt;
  }
  const Value& w = graph.value(node.inputs[1]);
  if (!w.constant.present() || w.dtype != DType::kF32 ||
      graph.value(node.inputs[0]).constant.present()) {
    return std::nullopt;
  }
  const int rank = w.shape.rank();
  ScalableLayer layer{.node = id};
  switch (node.kind) {
    case OpKind::kConv:
      if (rank < 3 || node.get_int("group") != 1) return std::nullopt;
      layer.data_axis = 1;
      layer.weight_axis = 1;
      break;
    case OpKind::kMatMul:
      if (rank != 2) return std::nullopt;
      break;
    case OpKind::kGemm:
      if (rank != 2 || node.get_int("transA") != 0) return std::nullopt;
      layer.weight_axis = node.get_int("transB") != 0 ? 1 : 0;
      break;
    default: return std::nullopt;
  }
  layer.channels = w.shape[layer.weight_axis];
  return layer;
}

Status divide_input(GraphEditor& editor, NodeId reader, int data_axis,
                    std::span<const float> scales) {
  Graph& graph = editor.graph();
  const ValueId value = graph.node(reader).inputs[0];
  Shape shape{static_cast<int64_t>(scales.size())};
  if (data_axis > 0) {
    for (int i = data_axis + 1; i < graph.value(value).shape.rank(); ++i) shape.push_back(1);
  }
  const std::string name = graph.value(value).name;
  const Shape data_shape = graph.value(value).shape;
  const ValueId factors =
      editor.add_constant(concat(name, "_scale"), Tensor::of<float>(shape, inverse_of(scales)));
  const ValueId scaled = editor.add_value(concat(name, "_scaled"), DType::kF32, data_shape);
  editor.insert_before(reader, {.kind = OpKind::kMul,
                                .inputs = {value, factors},
                                .outputs = {scaled},
                                .name = concat(name, "_scaled")});
  editor.set_input(reader, 0, scaled);
  return {};
}

Status scale_input_constant(GraphEditor& editor, NodeId node, size_t slot, int axis,
                            std::span<const float> factors) {
  Graph& graph = editor.graph();
  const Value source = graph.value(graph.node(node).inputs[slot]);
  OCTAVO_ASSIGN(Tensor scaled, source.constant.clone());
  if (axis < 0) axis += source.shape.rank();
  const auto data = scaled.data<float>();
  const auto inner = static_cast<size_t>(source.shape.elements(axis + 1, source.shape.rank()));
  for (size_t i = 0; i < data.size(); ++i) data[i] *= factors[i / inner % factors.size()];
  editor.set_input(node, slot, editor.add_constant(source.name, std::move(scaled)));
  return {};
}

Result<bool> divide_at_producer(GraphEditor& editor, ValueId value, int data_axis,
                                std::span<const float> scales) {
  const NodeId producer = editor.producer(value);
  if (producer < 0) return false;
  const Node node = editor.graph().node(producer);
  if (node.outputs[0] != value) return false;
  struct Slot {
    size_t index;
    int axis;
  };
  std::vector<Slot> slots;
  const std::string_view activation = node.get_string("activation");
  const bool scales_through = activation.empty() || activation == "Relu";
  switch (node.kind) {
    case OpKind::kConv:
      if (data_axis != 1 || !scales_through || node.inputs.size() > 3) return false;
      slots = {{1, 0}, {2, 0}};
      break;
    case OpKind::kMatMul:
      if (data_axis != -1 || !scales_through) return false;
      slots = {{1, -1}, {2, -1}};
      break;
    case OpKind::kGemm:
      if (data_axis != -1 || !scales_through) return false;
      slots = {{1, node.get_int("transB") != 0 ? 0 : -1}, {2, -1}};
      break;
    case OpKind::kLayerNormalization:
      if (data_axis != -1) return false;
      slots = {{1, -1}, {2, -1}};
      break;
    case OpKind::kMul:
      if (data_axis != -1) return false;
      slots = {{1, -1}};
      break;
    default: return false;
  }
  std::erase_if(slots,
                [&](const Slot& s) { return s.index > 1 && node.input(s.index) == kNoValue; });
  for (const Slot& slot : slots) {
    if (!fits(editor, node, slot.index, slot.axis, scales.size())) return false;
  }
  const std::vector<float> inverse = inverse_of(scales);
  for (const Slot& slot : slots) {
    OCTAVO_TRY(scale_input_constant(editor, producer, slot.index, slot.axis, inverse));
  }
  return true;
}

}  // namespace octavo
