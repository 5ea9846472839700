// The small vocabulary in which core edits graphs. Each call keeps the graph valid.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/graph.h"

namespace octavo {

class GraphEditor {
 public:
  explicit GraphEditor(Graph& graph) : graph_(graph) { refresh(); }
  ~GraphEditor() { finish(); }
  GraphEditor(const GraphEditor&) = delete;
  GraphEditor& operator=(const GraphEditor&) = delete;

  Graph& graph() { return graph_; }
  const Graph& graph() const { return graph_; }
  /// The node that computes a value; -1 for inputs and constants. Erased nodes are not counted.
  NodeId producer(ValueId value) const { return producers_[static_cast<size_t>(value)]; }
  /// The nodes that read a value (once per use). Graph outputs are not in it.
  const std::vector<NodeId>& consumers(ValueId value) const {
    return consumers_[static_cast<size_t>(value)];
  }
  bool is_output(ValueId value) const;
  /// True if exactly one node reads the value and it is not a graph output.
  bool has_one_use(ValueId value) const {
    return consumers(value).size() == 1 && !is_output(value);
  }
  bool is_constant(ValueId value) const {
    return value != kNoValue && graph_.value(value).constant.present();
  }
  bool is_erased(NodeId node) const { return erased_[static_cast<size_t>(node)]; }

  ValueId add_constant(std::string name, Tensor tensor);
  /// A new value with a unique name made from `name`.
  ValueId add_value(std::string name, DType dtype, const Shape& shape);
  /// Puts `node` in front of the node `before` (or at the end: -1). Invalidates no ids: nodes keep
  /// theirs until finish().
  NodeId insert_before(NodeId before, Node node);
  /// Redirects every reader of `from` (graph outputs included) to `to`.
  void replace_uses(ValueId from, ValueId to);
  void set_input(NodeId node, size_t index, ValueId value);
  void add_input(NodeId node, ValueId value);
  void set_output(NodeId node, size_t index, ValueId value);
  void erase(NodeId node);

  /// Removes erased nodes, values that nothing refers to, and restores topological order.
  /// Ids change. Called by the destructor if needed.
  void finish();
  /// finish() even if nothing was changed: drops values that nothing refers to.
  void prune() {
    changed_ = true;
    finish();
  }

 private:
  void refresh();
  std::string unique_name(std::string name);
  void sort_nodes();
  void drop_unused_values();

  Graph& graph_;
  bool changed_ = false;
  // Names of values -> the last number appended to them; filled when first needed.
  std::unordered_map<std::string, int> names_;
  std::vector<NodeId> producers_;
  std::vector<std::vector<NodeId>> consumers_;
  std::vector<bool> erased_;
  std::vector<std::pair<NodeId, NodeId>> inserted_;  // (before, node)
};

}  // namespace octavo
