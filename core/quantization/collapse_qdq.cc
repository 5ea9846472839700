// The second of two steps: operators that read DequantizeLinear outputs take the integers
// themselves ("absorbing"), as their rows' QuantRule allows. The first is in lift_qdq.cc.
#include <algorithm>
#include <cmath>
#include <optional>

#include "core/graph_edit.h"
#include "core/quantization/annotate.h"
#include "core/quantization/lift_qdq.h"
#include "core/quantization/qdq.h"
#include "runtime/quantize_view.h"
#include "runtime/requantize.h"

namespace octavo {
namespace {

// Integers of 4, 8 or 16 bits.
bool is_quantized(DType dtype) { return dtype != DType::kI32 && quantized_range(dtype).hi > 0; }

class Collapser {
 public:
  explicit Collapser(Graph& graph) : editor_(graph), graph_(graph) {}

  Result<int> run() {
    OCTAVO_TRY(collapse_bodies());
    OCTAVO_ASSIGN(const int lifted, lift_parameters(editor_, graph_));
    changes_ += lifted;
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes.size()); ++id) {
      if (editor_.is_erased(id)) continue;
      auto status = absorb(id);
      if (status) continue;
      Error error = std::move(status).error();
      if (error.node.empty()) error.node = node(id).name;
      return std::unexpected(std::move(error));
    }
    erase_unread();
    editor_.finish();
    return changes_;
  }

 private:
  Node& node(NodeId id) { return graph_.nodes[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return graph_.value(id); }
  bool is(NodeId id, OpKind kind) { return id >= 0 && node(id).kind == kind; }

  Status collapse_bodies() {
    for (Node& n : graph_.nodes) {
      for (Attribute& attribute : n.attributes) {
        auto* body = std::get_if<std::shared_ptr<const Graph>>(&attribute.value);
        if (body == nullptr || *body == nullptr) continue;
        Graph copy = **body;
        OCTAVO_ASSIGN(const int changes, collapse_qdq(copy));
        if (changes == 0) continue;
        attribute.value = std::make_shared<const Graph>(std::move(copy));
        changes_ += changes;
      }
    }
    return {};
  }

  // --- Absorbing -------------------------------------------------------------------------------

  /// The integers behind a float that a DequantizeLinear makes; kNoValue if none does.
  ValueId integers_of(ValueId id) {
    if (id == kNoValue) return kNoValue;
    const NodeId producer = editor_.producer(id);
    const bool is_lifted = is(producer, OpKind::kDequantizeLinear) &&
                           node(producer).inputs.size() == 1 && value(id).dtype == DType::kF32;
    return is_lifted ? node(producer).inputs[0] : kNoValue;
  }
  bool is_activation(ValueId id) const {
    return id != kNoValue && is_quantized(value(id).dtype) && value(id).quant->per_tensor();
  }

  Status absorb(NodeId id) {
    const OpDef* op = find_op(node(id).kind);
    if (op == nullptr) return {};
    switch (op->quant.policy) {
      case QuantPolicy::kCompute: return absorb_compute(id, *op);
      case QuantPolicy::kRequantize: return absorb_requantize(id, *op);
      case QuantPolicy::kSameScale: return absorb_same_scale(id, *op);
      case QuantPolicy::kTable: return absorb_table(id);
      default: return {};
    }
  }

  void use_integers(NodeId id, size_t input, ValueId integers) {
    editor_.set_input(id, input, integers);
    ++changes_;
  }

  /// The QuantizeLinear that alone reads `real`; several with the same grid become one.
  NodeId sole_quantize(ValueId real) {
    if (real == kNoValue || editor_.is_output(real) || editor_.consumers(real).empty()) return -1;
    const std::vector<NodeId> readers = editor_.consumers(real);
    for (const NodeId reader : readers) {
      if (!is(reader, OpKind::kQuantizeLinear) || node(reader).inputs.size() != 1) return -1;
    }
    const ValueId first = node(readers[0]).outputs[0];
    for (const NodeId reader : readers) {
      const Value& other = value(node(reader).outputs[0]);
      if (other.dtype != value(first).dtype || !(*other.quant == *value(first).quant)) return -1;
      if (editor_.is_output(node(reader).outputs[0]) && reader != readers[0]) return -1;
    }
    for (size_t i = 1; i < readers.size(); ++i) {
      editor_.replace_uses(node(readers[i]).outputs[0], first);
      editor_.erase(readers[i]);
    }
    return readers[0];
  }

  /// Output 0 of `id` becomes the integers that `quantize` makes of it.
  void take_output(NodeId id, NodeId quantize) {
    const ValueId integers = node(quantize).outputs[0];
    editor_.erase(quantize);
    editor_.set_output(id, 0, integers);
    ++changes_;
  }

  /// Real bounds of a Relu or a Clip with constant scalar bounds.
  std::optional<ActivationBounds> bounds_of(NodeId id) {
    if (is(id, OpKind::kRelu)) return ActivationBounds{.lo = 0};
    if (!is(id, OpKind::kClip)) return std::nullopt;
    ActivationBounds bounds;
    for (const size_t i : {1, 2}) {
      const ValueId bound = node(id).input(i);
      if (bound == kNoValue) continue;
      if (!editor_.is_constant(bound) || value(bound).dtype != DType::kF32 ||
          value(bound).constant.elements() != 1) {
        return std::nullopt;
      }
      (i == 1 ? bounds.lo : bounds.hi) = value(bound).constant.data<const float>()[0];
    }
    return bounds;
  }

  /// The QuantizeLinear (per tensor) behind `real`, perhaps through a Relu or Clip,
  /// which is then removed: `bounds` says what it did, unless the integers' own range does it.
  struct Behind {
    NodeId quantize = -1;
    std::optional<ActivationBounds> bounds;
  };
  Behind find_behind(ValueId real, bool may_fuse) {
    if (real == kNoValue || editor_.is_output(real)) return {};
    NodeId activation = -1;
    std::optional<ActivationBounds> bounds;
    if (editor_.consumers(real).size() == 1) {
      const NodeId reader = editor_.consumers(real)[0];
      bounds = bounds_of(reader);
      if (bounds && node(reader).inputs[0] == real) activation = reader;
    }
    const NodeId quantize = sole_quantize(activation < 0 ? real : node(activation).outputs[0]);
    if (quantize < 0 || !is_activation(node(quantize).outputs[0])) return {};
    if (activation < 0) return {.quantize = quantize};
    const Value& integers = value(node(quantize).outputs[0]);
    const bool drop = is_redundant(*bounds, integers.dtype, *integers.quant);
    if (!drop && !may_fuse) return {};
    editor_.set_input(quantize, 0, real);
    editor_.erase(activation);
    ++changes_;
    if (drop) bounds.reset();
    return {.quantize = quantize, .bounds = bounds};
  }

  Status absorb_compute(NodeId id, const OpDef& op) {
    if (op.quant.weight_input < 0) return {};
    const auto slot = static_cast<size_t>(op.quant.weight_input);
    const ValueId x = integers_of(node(id).input(0));
    const ValueId w = integers_of(node(id).input(slot));
    if (!is_activation(x) || w == kNoValue || !is_quantized(value(w).dtype)) return {};
    const QuantParams& weight = *value(w).quant;
    if (!weight.per_tensor() && (weight.block_size > 0 || !value(w).shape.has_rank() ||
                                 weight.axis != weight_axis(op, node(id), value(w).shape.rank()))) {
      return {};
    }
    use_integers(id, 0, x);
    use_integers(id, slot, w);
    if (op.quant.bias_input >= 0) {
      const auto bias_slot = static_cast<size_t>(op.quant.bias_input);
      if (op.kind == OpKind::kMatMul) fuse_matmul_bias(id);
      const ValueId bias = integers_of(node(id).input(bias_slot));
      if (bias != kNoValue && editor_.is_constant(bias) && value(bias).dtype == DType::kI32) {
        use_integers(id, bias_slot, bias);
      }
    }
    const bool may_fuse = find_field(op, "activation") != nullptr && !node(id).has("activation");
    const Behind behind = find_behind(node(id).output(0), may_fuse);
    if (behind.quantize < 0) return {};
    if (behind.bounds) {
      const bool is_relu = behind.bounds->lo == 0 && std::isinf(behind.bounds->hi);
      node(id).set("activation", std::string(is_relu ? "Relu" : "Clip"));
      if (!is_relu) {
        node(id).set("activation_params", std::vector<float>{behind.bounds->lo, behind.bounds->hi});
      }
    }
    take_output(id, behind.quantize);
    return {};
  }

  // MatMul -> Add of a bias, i32 or float: ONNX's MatMul has no bias of its own.
  void fuse_matmul_bias(NodeId id) {
    const ValueId product = node(id).output(0);
    if (node(id).inputs.size() != 2 || product == kNoValue || !editor_.has_one_use(product)) return;
    const NodeId add = editor_.consumers(product)[0];
    if (!is(add, OpKind::kAdd) || node(add).inputs.size() != 2) return;
    const ValueId bias = node(add).inputs[node(add).inputs[0] == product ? 1 : 0];
    const ValueId integers = integers_of(bias);
    const Value& constant = value(integers == kNoValue ? bias : integers);
    const Shape& weight = value(node(id).inputs[1]).shape;
    if (!constant.constant.present() || weight.rank() < 2 ||
        constant.dtype != (integers == kNoValue ? DType::kF32 : DType::kI32) ||
        !(constant.shape == Shape{weight.back()}) ||
        !(value(node(add).outputs[0]).shape == value(product).shape)) {
      return;
    }
    editor_.add_input(id, bias);
    const ValueId sum = node(add).outputs[0];
    editor_.erase(add);
    editor_.set_output(id, 0, sum);
    ++changes_;
  }

  Status absorb_requantize(NodeId id, const OpDef& op) {
    std::vector<std::pair<size_t, ValueId>> found;
    for (size_t i = 0; i < node(id).inputs.size(); ++i) {
      const ValueId input = node(id).inputs[i];
      if (input == kNoValue ||
          (op.quant.data_inputs > 0 && static_cast<int>(i) >= op.quant.data_inputs)) {
        continue;
      }
      if (value(input).dtype != DType::kF32) {
        if (i == 0) return {};
        continue;
      }
      const ValueId integers = integers_of(input);
      if (!is_activation(integers)) return {};
      found.emplace_back(i, integers);
    }
    if (found.empty()) return {};
    const Behind behind = find_behind(node(id).output(0), false);
    if (behind.quantize < 0) return {};
    for (const auto& [input, integers] : found) use_integers(id, input, integers);
    take_output(id, behind.quantize);
    return {};
  }

  Status absorb_table(NodeId id) {
    const ValueId x = integers_of(node(id).input(0));
    if (!is_activation(x)) return {};
    const Behind behind = find_behind(node(id).output(0), false);
    if (behind.quantize < 0) return {};
    use_integers(id, 0, x);
    take_output(id, behind.quantize);
    return {};
  }

  // Every output must be quantized on input 0's grid.
  Status absorb_same_scale(NodeId id, const OpDef& op) {
    const ValueId x = integers_of(node(id).input(0));
    if (!is_activation(x)) return {};
    const Grid grid{value(x).dtype, value(x).quant};
    std::vector<std::pair<size_t, NodeId>> quantizes;
    for (size_t i = 0; i < node(id).outputs.size(); ++i) {
      const ValueId output = node(id).outputs[i];
      if (output == kNoValue || value(output).dtype != DType::kF32) continue;  // MaxPool's indices
      const NodeId quantize = sole_quantize(output);
      if (quantize < 0) return {};
      const Value& integers = value(node(quantize).outputs[0]);
      if (!(Grid{integers.dtype, integers.quant} == grid)) return {};
      quantizes.emplace_back(i, quantize);
    }
    if (quantizes.empty()) return {};
    if (op.kind == OpKind::kPad) {
      OCTAVO_ASSIGN(const ValueId fill, quantized_fill(id, grid));
      if (fill == kNoValue) return {};
      while (node(id).inputs.size() < 3) editor_.add_input(id, kNoValue);
      editor_.set_input(id, 2, fill);
    }
    use_integers(id, 0, x);
    for (const auto& [i, quantize] : quantizes) {
      const ValueId integers = node(quantize).outputs[0];
      editor_.erase(quantize);
      editor_.set_output(id, i, integers);
    }
    return {};
  }

  /// What a Pad fills with, as an integer of `grid`; kNoValue if it is not a constant.
  Result<ValueId> quantized_fill(NodeId id, const Grid& grid) {
    const ValueId given = node(id).input(2);
    Tensor fill = Tensor::scalar(0.0f);
    if (given != kNoValue) {
      const ValueId integers = integers_of(given);
      if (integers != kNoValue && editor_.is_constant(integers) &&
          Grid{value(integers).dtype, value(integers).quant} == grid) {
        return integers;
      }
      if (!editor_.is_constant(given)) return kNoValue;
      fill = value(given).constant;
      if (fill.dtype() != DType::kF32 || fill.elements() != 1) return kNoValue;
    }
    OCTAVO_ASSIGN(Tensor integer, Tensor::create(grid.dtype, Shape{}));
    OCTAVO_TRY(quantize_view(fill.data<const float>().data(), integer.view(grid.params.get())));
    const ValueId made = editor_.add_constant(concat(node(id).name, "_fill"), std::move(integer));
    graph_.value(made).quant = grid.params;
    return made;
  }

  // Nodes that nothing reads any more; readers come after what they read.
  void erase_unread() {
    for (NodeId id = static_cast<NodeId>(graph_.nodes.size()); id-- > 0;) {
      if (editor_.is_erased(id) || !is(id, OpKind::kDequantizeLinear)) continue;
      const ValueId output = node(id).outputs[0];
      if (editor_.consumers(output).empty() && !editor_.is_output(output)) editor_.erase(id);
    }
  }

  GraphEditor editor_;
  Graph& graph_;
  int changes_ = 0;
};

}  // namespace

Result<int> collapse_qdq(Graph& graph) { return Collapser(graph).run(); }

}  // namespace octavo
