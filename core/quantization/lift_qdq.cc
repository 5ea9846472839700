#include "core/quantization/lift_qdq.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "runtime/infer.h"
#include "runtime/op.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

class Lifter {
 public:
  Lifter(GraphEditor& editor, Graph& graph) : editor_(editor), graph_(graph) {}

  Result<int> run() {
    std::vector<std::optional<Grid>> grids(graph_.values.size());
    const auto grid = [&](ValueId id) -> std::optional<Grid>& {
      return grids[static_cast<size_t>(id)];
    };
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes.size()); ++id) {
      if (is_scaled(id, OpKind::kQuantizeLinear)) {
        OCTAVO_ASSIGN(grid(node(id).outputs[0]), named(quantize_grid(id), id));
      } else if (is_scaled(id, OpKind::kDequantizeLinear)) {
        const ValueId input = node(id).inputs[0];
        OCTAVO_ASSIGN(const std::optional<Grid> found, named(dequantize_grid(id), id));
        if (!grid(input) && editor_.producer(input) < 0) grid(input) = found;
      } else if (moves_integers(id) && node(id).input(0) != kNoValue) {
        const std::optional<Grid>& from = grid(node(id).inputs[0]);
        const ValueId output = node(id).outputs[0];
        if (from && from->params->per_tensor() && output != kNoValue &&
            value(output).dtype == from->dtype) {
          grid(output) = from;
        }
      }
    }
    OCTAVO_TRY(drop_disputed(grids));
    for (size_t v = 0; v < grids.size(); ++v) {
      if (grids[v]) graph_.values[v].quant = grids[v]->params;
    }
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes.size()); ++id) {
      const bool quantizes = is_scaled(id, OpKind::kQuantizeLinear);
      if (!quantizes && !is_scaled(id, OpKind::kDequantizeLinear)) continue;
      const ValueId integers = quantizes ? node(id).outputs[0] : node(id).inputs[0];
      if (!grid(integers)) continue;
      while (node(id).inputs.size() > 1) {
        editor_.set_input(id, node(id).inputs.size() - 1, kNoValue);
        node(id).inputs.pop_back();
      }
      std::erase_if(node(id).attributes, [](const Attribute& a) { return a.name != "form"; });
      ++changes_;
      if (quantizes && editor_.is_constant(node(id).inputs[0])) OCTAVO_TRY(fold(id));
    }
    return changes_;
  }

 private:
  Node& node(NodeId id) { return graph_.nodes[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return graph_.value(id); }
  bool is(NodeId id, OpKind kind) { return id >= 0 && node(id).kind == kind; }

  /// The constant parameters of a QuantizeLinear or DequantizeLinear node, for integers of `dtype`;
  /// nullopt if they are computed or have no form as QuantParams.
  Result<std::optional<Grid>> grid_of(NodeId id, DType dtype, const Shape& shape) {
    const Node& n = node(id);
    if (n.inputs.size() < 2 || !editor_.is_constant(n.input(1))) return std::nullopt;
    const ValueId zero_id = n.input(2);
    if (zero_id != kNoValue && !editor_.is_constant(zero_id)) return std::nullopt;
    const Tensor& scale = value(n.input(1)).constant;
    if (scale.dtype() != DType::kF32 || scale.elements() == 0) return std::nullopt;
    QuantParams params;
    params.scale.assign(scale.data<const float>().begin(), scale.data<const float>().end());
    params.zero_point.assign(params.scale.size(), 0);
    for (const float s : params.scale) {
      if (!(s > 0) || !std::isfinite(s)) {
        return fail(ErrorCode::kInvalidModel, "the scale is ", s,
                    "; a scale must be positive and finite");
      }
    }
    if (zero_id != kNoValue) {
      const Tensor& zero = value(zero_id).constant;
      if (zero.dtype() != dtype || zero.elements() != scale.elements()) return std::nullopt;
      visit_dtype(
          dtype,
          [&]<class T>() {
            if constexpr (!std::is_same_v<T, Float16> && !std::is_same_v<T, BFloat16>) {
              for (size_t i = 0; i < params.zero_point.size(); ++i) {
                params.zero_point[i] = static_cast<int32_t>(zero.data<const T>()[i]);
              }
            }
          },
          [] {});
    }
    if (params.scale.size() > 1) {
      if (!shape.has_rank()) return std::nullopt;
      const auto axis = normalize_axis(n.get_int("axis"), shape.rank());
      if (!axis) return std::nullopt;
      params.axis = *axis;
      params.block_size = n.get_int("block_size");
      if (params.block_size <= 0) params.block_size = 0;
      if (params.block_size == 0 &&
          (scale.shape().rank() != 1 || shape[params.axis] != scale.elements())) {
        return std::nullopt;
      }
    }
    return Grid{dtype, std::make_shared<const QuantParams>(std::move(params))};
  }

  Result<std::optional<Grid>> quantize_grid(NodeId id) {
    const Value& out = value(node(id).outputs[0]);
    return grid_of(id, out.dtype, out.shape);
  }
  Result<std::optional<Grid>> dequantize_grid(NodeId id) {
    const Value& in = value(node(id).inputs[0]);
    // What DequantizeLinear makes of it is f32 because its scale is.
    return grid_of(id, in.dtype, in.shape);
  }

  /// The node moves input 0's elements as they are (also without parameters: MaxPool on u8).
  bool moves_integers(NodeId id) {
    const OpDef* op = find_op(node(id).kind);
    return op != nullptr && op->quant.policy == QuantPolicy::kSameScale &&
           !node(id).outputs.empty();
  }

  bool is_scaled(NodeId id, OpKind kind) { return is(id, kind) && node(id).inputs.size() > 1; }

  template <class T>
  Result<T> named(Result<T> result, NodeId id) {
    if (!result && result.error().node.empty()) result.error().node = node(id).name;
    return result;
  }

  // Parameters stay on a value only if everything that reads it agrees with them.
  Status drop_disputed(std::vector<std::optional<Grid>>& grids) {
    const auto grid = [&](ValueId id) -> std::optional<Grid>& {
      return grids[static_cast<size_t>(id)];
    };
    // Grids of DequantizeLinear nodes, once.
    std::map<NodeId, std::optional<Grid>> wanted;
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes.size()); ++id) {
      if (!is_scaled(id, OpKind::kDequantizeLinear)) continue;
      OCTAVO_ASSIGN(wanted[id], dequantize_grid(id));
    }
    const auto agrees = [&](NodeId reader, ValueId id) {
      if (const auto known = wanted.find(reader); known != wanted.end()) {
        return node(reader).inputs[0] == id && known->second && *known->second == *grid(id);
      }
      return moves_integers(reader) && node(reader).inputs[0] == id &&
             std::ranges::count(node(reader).inputs, id) == 1 &&
             node(reader).outputs[0] != kNoValue && grid(node(reader).outputs[0]) &&
             *grid(node(reader).outputs[0]) == *grid(id);
    };
    std::vector<ValueId> pending;
    for (size_t v = 0; v < grids.size(); ++v) {
      if (grids[v]) pending.push_back(static_cast<ValueId>(v));
    }
    while (!pending.empty()) {
      const ValueId id = pending.back();
      pending.pop_back();
      if (!grid(id)) continue;
      const NodeId producer = editor_.producer(id);
      const bool made = producer < 0 || is(producer, OpKind::kQuantizeLinear) ||
                        (moves_integers(producer) && grid(node(producer).inputs[0]));
      if (made && std::ranges::all_of(editor_.consumers(id),
                                      [&](NodeId reader) { return agrees(reader, id); })) {
        continue;
      }
      grid(id).reset();
      // Its neighbours may have relied on it.
      if (producer >= 0 && moves_integers(producer)) pending.push_back(node(producer).inputs[0]);
      for (const NodeId reader : editor_.consumers(id)) {
        if (moves_integers(reader) && node(reader).outputs[0] != kNoValue) {
          pending.push_back(node(reader).outputs[0]);
        }
      }
    }
    return {};
  }

  // QuantizeLinear of a constant.
  Status fold(NodeId id) {
    const Tensor& real = value(node(id).inputs[0]).constant;
    const ValueId output = node(id).outputs[0];
    if (real.dtype() != DType::kF32) return {};
    OCTAVO_ASSIGN(Tensor integers, Tensor::create(value(output).dtype, real.shape()));
    OCTAVO_TRY(
        quantize_view(real.data<const float>().data(), integers.view(value(output).quant.get())));
    editor_.erase(id);
    Value& made = graph_.value(output);
    made.shape = integers.shape();
    made.constant = std::move(integers);
    return {};
  }

  GraphEditor& editor_;
  Graph& graph_;
  int changes_ = 0;
};

}  // namespace

Result<int> lift_parameters(GraphEditor& editor, Graph& graph) {
  return Lifter(editor, graph).run();
}

}  // namespace octavo
