#include <map>

#include "core/graph_edit.h"
#include "core/quantization/qdq.h"
#include "runtime/op.h"

namespace octavo {
namespace {

class Expander {
 public:
  explicit Expander(Graph& graph) : editor_(graph), graph_(graph) {}

  Status run() {
    const auto count = static_cast<NodeId>(graph_.nodes.size());
    for (NodeId id = 0; id < count; ++id) {
      auto status = expand(id, id + 1 < count ? id + 1 : -1);
      if (status) continue;
      Error error = std::move(status).error();
      if (error.node.empty()) error.node = graph_.node(id).name;
      return std::unexpected(std::move(error));
    }
    for (Value& value : graph_.values) value.quant = nullptr;
    return {};
  }

 private:
  struct Parameters {
    ValueId scale = kNoValue, zero_point = kNoValue;
  };

  bool has_quant(ValueId id) const { return id != kNoValue && graph_.value(id).quant != nullptr; }

  Status expand(NodeId id, NodeId next) {
    const OpKind kind = graph_.node(id).kind;
    const bool is_one_input = graph_.node(id).inputs.size() == 1;
    if (is_one_input && kind == OpKind::kDequantizeLinear) {
      return add_parameters(id, graph_.node(id).inputs[0]);
    }
    if (is_one_input && kind == OpKind::kQuantizeLinear) {
      return add_parameters(id, graph_.node(id).outputs[0]);
    }
    for (size_t i = 0; i < graph_.node(id).inputs.size(); ++i) {
      const ValueId input = graph_.node(id).inputs[i];
      if (!has_quant(input)) continue;
      OCTAVO_ASSIGN(const ValueId real, dequantized(input, id));
      editor_.set_input(id, i, real);
    }
    for (size_t i = 0; i < graph_.node(id).outputs.size(); ++i) {
      const ValueId output = graph_.node(id).outputs[i];
      if (!has_quant(output)) continue;
      const Value& value = graph_.value(output);
      const std::string name = value.name;
      const ValueId real = editor_.add_value(concat(name, "_real"), DType::kF32, value.shape);
      editor_.set_output(id, i, real);
      const NodeId quantize = editor_.insert_before(
          next, {.kind = OpKind::kQuantizeLinear, .inputs = {real}, .outputs = {output}});
      OCTAVO_TRY(add_parameters(quantize, output));
    }
    return expand_bodies(id);
  }

  Status expand_bodies(NodeId id) {
    for (Attribute& attribute : graph_.nodes[static_cast<size_t>(id)].attributes) {
      auto* body = std::get_if<std::shared_ptr<const Graph>>(&attribute.value);
      if (body == nullptr || *body == nullptr) continue;
      OCTAVO_ASSIGN(Graph expanded, expand_qdq(**body));
      attribute.value = std::make_shared<const Graph>(std::move(expanded));
    }
    return {};
  }

  // The value's real numbers; one DequantizeLinear, in front of the first node that wants them.
  Result<ValueId> dequantized(ValueId value, NodeId reader) {
    const auto known = dequantized_.find(value);
    if (known != dequantized_.end()) return known->second;
    const std::string name = graph_.value(value).name;
    const ValueId real =
        editor_.add_value(concat(name, "_dequantized"), DType::kF32, graph_.value(value).shape);
    const NodeId node = editor_.insert_before(
        reader, {.kind = OpKind::kDequantizeLinear, .inputs = {value}, .outputs = {real}});
    OCTAVO_TRY(add_parameters(node, value));
    dequantized_.emplace(value, real);
    return real;
  }

  // Gives a QuantizeLinear or DequantizeLinear the parameters of `value` as inputs.
  Status add_parameters(NodeId node, ValueId value) {
    if (!has_quant(value)) {
      return fail(ErrorCode::kInvalidModel, "'", graph_.value(value).name,
                  "' has no quantization parameters");
    }
    OCTAVO_ASSIGN(const Parameters parameters, constants_of(value));
    editor_.add_input(node, parameters.scale);
    if (parameters.zero_point != kNoValue) editor_.add_input(node, parameters.zero_point);
    const QuantParams& quant = *graph_.value(value).quant;
    Node& made = graph_.nodes[static_cast<size_t>(node)];
    std::erase_if(made.attributes, [](const Attribute& a) { return a.name != "form"; });
    if (!quant.per_tensor()) made.set("axis", static_cast<int64_t>(quant.axis));
    if (quant.block_size > 0) made.set("block_size", quant.block_size);
    return {};
  }

  // Constants of the value's scale and zero point; values with the same ones share them.
  Result<Parameters> constants_of(ValueId id) {
    const std::shared_ptr<const QuantParams> quant = graph_.value(id).quant;
    const DType dtype = graph_.value(id).dtype;
    // A QuantizeLinear takes its type from the zero point; weights have theirs, and zero is the
    // default.
    const bool implied = graph_.value(id).constant.present() &&
                         std::ranges::all_of(quant->zero_point, [](int32_t z) { return z == 0; });
    const auto key = std::tuple(quant.get(), dtype, implied);
    if (const auto known = parameters_.find(key); known != parameters_.end()) return known->second;
    const std::string name = graph_.value(id).name;
    OCTAVO_ASSIGN(const Shape shape, parameter_shape(graph_.value(id)));
    Parameters made;
    const auto [scale, is_new] =
        scales_.try_emplace(std::pair(shape.to_string(), quant->scale), kNoValue);
    if (is_new) {
      scale->second =
          editor_.add_constant(concat(name, "_scale"), Tensor::of<float>(shape, quant->scale));
    }
    made.scale = scale->second;
    if (dtype == DType::kI32) {
      for (const int32_t zero_point : quant->zero_point) {
        if (zero_point != 0) {
          return std::unexpected(Error{
              ErrorCode::kInvalidModel, "an i32 value cannot have a zero point in ONNX", {}, name});
        }
      }
    } else if (!implied) {
      OCTAVO_ASSIGN(made.zero_point, zero_point_constant(dtype, shape, quant->zero_point));
    }
    parameters_.emplace(key, made);
    return made;
  }

  // Values with the same zero points share a constant: most are zero.
  Result<ValueId> zero_point_constant(DType dtype, const Shape& shape,
                                      const std::vector<int32_t>& values) {
    const auto key = std::tuple(dtype, shape.to_string(), values);
    if (const auto known = zero_points_.find(key); known != zero_points_.end()) {
      return known->second;
    }
    OCTAVO_ASSIGN(Tensor tensor, Tensor::create(dtype, shape));
    visit_dtype(
        dtype,
        [&]<class T>() {
          for (size_t i = 0; i < values.size(); ++i) tensor.data<T>()[i] = T(values[i]);
        },
        [] {});
    const ValueId id =
        editor_.add_constant(concat("zero_point_", zero_points_.size()), std::move(tensor));
    zero_points_.emplace(key, id);
    return id;
  }

  Result<Shape> parameter_shape(const Value& value) const {
    const QuantParams& quant = *value.quant;
    const auto count = static_cast<int64_t>(quant.scale.size());
    if (quant.per_tensor()) return Shape{};
    if (quant.block_size == 0) return Shape{count};
    Shape shape = value.shape;
    if (!shape.is_static() || quant.axis >= shape.rank()) {
      return std::unexpected(Error{
          ErrorCode::kInvalidModel, "blocks of parameters need a known shape", {}, value.name});
    }
    shape[quant.axis] = (shape[quant.axis] + quant.block_size - 1) / quant.block_size;
    if (shape.elements() != count) {
      return std::unexpected(Error{ErrorCode::kInvalidModel,
                                   concat(count, " scales for ", shape.elements(), " blocks"),
                                   {},
                                   value.name});
    }
    return shape;
  }

  GraphEditor editor_;
  Graph& graph_;
  std::map<ValueId, ValueId> dequantized_;
  std::map<std::tuple<const QuantParams*, DType, bool>, Parameters> parameters_;
  std::map<std::pair<std::string, std::vector<float>>, ValueId> scales_;
  std::map<std::tuple<DType, std::string, std::vector<int32_t>>, ValueId> zero_points_;
};

}  // namespace

Result<Graph> expand_qdq(const Graph& graph) {
  Graph out = graph;
  OCTAVO_TRY(Expander(out).run());
  return out;
}

}  // namespace octavo
