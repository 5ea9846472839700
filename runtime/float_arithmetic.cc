#include "runtime/float_arithmetic.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "runtime/op.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

bool is_nibble(DType dtype) { return dtype == DType::kI4 || dtype == DType::kU4; }

bool has_quant(const Graph& graph, ValueId id) {
  return id != kNoValue && graph.value(id).quant != nullptr;
}

/// Quantized to 4 or 16 bits.
bool is_odd(const Graph& graph, ValueId id) {
  if (!has_quant(graph, id)) return false;
  const DType dtype = graph.value(id).dtype;
  return is_nibble(dtype) || dtype == DType::kI16 || dtype == DType::kU16;
}

bool is_packed_constant(const Value& value) {
  return value.constant.present() && value.quant != nullptr && is_nibble(value.dtype) &&
         value.quant->block_size == 0;
}

bool has_odd_operand(const Graph& graph, const Node& node) {
  const auto odd = [&](ValueId id) { return is_odd(graph, id); };
  // A bias without a scale of its own has that of the products.
  const auto bare = [&](ValueId id) {
    return id != kNoValue && graph.value(id).dtype == DType::kI32 && !has_quant(graph, id);
  };
  if (find_op(node.kind)->quant.policy == QuantPolicy::kCompute &&
      std::ranges::any_of(node.inputs, bare)) {
    return false;
  }
  return !is_conversion(node) &&
         (std::ranges::any_of(node.inputs, odd) || std::ranges::any_of(node.outputs, odd));
}

class Rewriter {
 public:
  explicit Rewriter(const Graph& graph) : source_(graph), graph_(graph) { graph_.nodes.clear(); }

  Result<Graph> run() {
    OCTAVO_TRY(widen_constants());
    for (const Node& node : source_.nodes) rewrite(node);
    return std::move(graph_);
  }

 private:
  // In memory one of 4 bits has a byte anyway.
  Status widen_constants() {
    for (Value& value : graph_.values) {
      if (!is_packed_constant(value)) continue;
      value.dtype = value.dtype == DType::kI4 ? DType::kI8 : DType::kU8;
      OCTAVO_ASSIGN(Tensor bytes, Tensor::create(value.dtype, value.constant.shape()));
      std::memcpy(bytes.raw(), value.constant.raw(), static_cast<size_t>(bytes.elements()));
      value.constant = std::move(bytes);
    }
    return {};
  }

  ValueId add_real(ValueId like) {
    return graph_.add_value({.name = concat(graph_.value(like).name, "_float32"),
                             .dtype = DType::kF32,
                             .shape = graph_.value(like).shape});
  }

  ValueId real(ValueId id) {
    if (const auto found = reals_.find(id); found != reals_.end()) return found->second;
    const ValueId made = add_real(id);
    graph_.nodes.push_back({.kind = OpKind::kDequantizeLinear,
                            .inputs = {id},
                            .outputs = {made},
                            .name = graph_.value(made).name});
    return reals_[id] = made;
  }

  void rewrite(Node node) {
    if (!has_odd_operand(graph_, node)) {
      graph_.nodes.push_back(std::move(node));
      return;
    }
    for (ValueId& id : node.inputs) {
      if (has_quant(graph_, id)) id = real(id);
    }
    const bool moves = find_op(node.kind)->quant.policy == QuantPolicy::kSameScale;
    std::vector<Node> after;
    for (ValueId& id : node.outputs) {
      if (!has_quant(graph_, id)) continue;
      const ValueId made = add_real(id);
      after.push_back({.kind = OpKind::kQuantizeLinear,
                       .inputs = {made},
                       .outputs = {id},
                       .name = concat(graph_.value(id).name, "_integers")});
      if (moves) reals_[id] = made;  // on the grid already
      id = made;
    }
    graph_.nodes.push_back(std::move(node));
    for (Node& quantize : after) graph_.nodes.push_back(std::move(quantize));
  }

  const Graph& source_;
  Graph graph_;
  std::map<ValueId, ValueId> reals_;
};

}  // namespace

Result<std::shared_ptr<const Graph>> compute_in_float(std::shared_ptr<const Graph> graph) {
  const auto odd = [&](const Node& node) { return has_odd_operand(*graph, node); };
  if (std::ranges::none_of(graph->nodes, odd)) return graph;
  OCTAVO_ASSIGN(Graph made, Rewriter(*graph).run());
  return std::make_shared<const Graph>(std::move(made));
}

}  // namespace octavo
