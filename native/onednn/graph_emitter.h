// Emits nodes of a plan as operators of oneDNN's Graph API: quantized ones as Dequantize -> op
// (-> Add) (-> activation) -> Quantize over logical tensors, which the library fuses as it knows.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "runtime/backend.h"
#include <oneapi/dnnl/dnnl_graph.hpp>

namespace octavo::onednn {

class GraphEmitter {
 public:
  using logical_tensor = dnnl::graph::logical_tensor;

  /// `layout` of activations of rank 3 and more.
  GraphEmitter(const PlanGraph& graph, Layout layout, dnnl::engine::kind kind)
      : graph_(graph), layout_(layout), built_(kind), next_id_(graph.infos.size()) {}

  /// Whether the node has a form in the Graph API.
  static bool supports(const PlanGraph& graph, const Node& node, Layout layout);
  /// Whether it is a convolution or matrix product: what makes a partition worth claiming.
  static bool is_compute(const Node& node);

  /// Emits the nodes, in topological order; values that something else needs stay visible. With
  /// `apart`, those between the nodes too, so that nothing is fused across nodes.
  Status emit(const std::vector<NodeId>& nodes, bool apart = false);

  std::vector<dnnl::graph::partition> partitions();

  /// The node to which an operator belongs; -1: none.
  NodeId node_of(size_t op_id) const { return op_nodes_[op_id]; }
  /// The value for which a logical tensor stands; kNoValue: a constant or between operators.
  ValueId value_of(size_t tensor_id) const;
  /// Elements of constant tensors, by logical tensor id; owned by the graph or by held().
  const std::map<size_t, const void*>& constants() const { return constants_; }
  std::vector<Tensor> take_held() { return std::move(held_); }
  /// Values that the emitted nodes read from, and give to, the rest.
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }

 private:
  using graph_op = dnnl::graph::op;
  using SetAttributes = std::function<void(graph_op&)>;

  logical_tensor value(ValueId id) const;
  logical_tensor alias(ValueId id);
  logical_tensor constant(const Shape& shape, DType dtype, const void* data);
  logical_tensor between(const logical_tensor& like);
  logical_tensor real(const Node& node, size_t input);
  logical_tensor dequantize(const logical_tensor& in, const QuantParams& quant, int64_t axis);
  void add(graph_op::kind kind, const std::vector<logical_tensor>& inputs,
           const std::vector<logical_tensor>& outputs, const SetAttributes& set = {});
  Status emit_node(const Node& node);
  Status emit_compute(const Node& node, std::vector<logical_tensor>& inputs,
                      SetAttributes& attributes);
  Status set_window(const Node& node, graph_op& op) const;
  void find_borders(const std::vector<NodeId>& nodes, bool apart);

  const PlanGraph& graph_;
  Layout layout_;
  dnnl::graph::graph built_;
  std::vector<graph_op> ops_;
  std::vector<NodeId> op_nodes_;  // by operator id
  NodeId current_ = -1;
  std::map<size_t, const void*> constants_;
  std::map<size_t, ValueId> aliases_;
  std::vector<Tensor> held_;
  std::vector<ValueId> inputs_, outputs_;
  size_t next_id_;
};

}  // namespace octavo::onednn
