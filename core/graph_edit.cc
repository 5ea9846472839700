#include "core/graph_edit.h"

#include <algorithm>
#include <queue>

namespace octavo {
namespace {

void remove_one(std::vector<NodeId>& ids, NodeId id) {
  const auto found = std::find(ids.begin(), ids.end(), id);
  if (found != ids.end()) ids.erase(found);
}

}  // namespace

void GraphEditor::refresh() {
  producers_.assign(graph_.values.size(), -1);
  consumers_.assign(graph_.values.size(), {});
  erased_.assign(graph_.nodes.size(), false);
  inserted_.clear();
  names_.clear();
  changed_ = false;
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const auto id = static_cast<NodeId>(i);
    for (const ValueId value : graph_.nodes[i].outputs) {
      if (value != kNoValue) producers_[static_cast<size_t>(value)] = id;
    }
    for (const ValueId value : graph_.nodes[i].inputs) {
      if (value != kNoValue) consumers_[static_cast<size_t>(value)].push_back(id);
    }
  }
}

bool GraphEditor::is_output(ValueId value) const {
  return std::find(graph_.outputs.begin(), graph_.outputs.end(), value) != graph_.outputs.end();
}

std::string GraphEditor::unique_name(std::string name) {
  if (names_.empty()) {
    for (const Value& value : graph_.values) names_.emplace(value.name, 0);
  }
  const auto [known, is_new] = names_.emplace(name, 0);
  if (is_new) return name;
  int& number = known->second;  // stays valid while others are inserted
  std::string candidate;
  do {
    candidate = concat(name, "_", ++number);
  } while (!names_.emplace(candidate, 0).second);
  return candidate;
}

ValueId GraphEditor::add_value(std::string name, DType dtype, const Shape& shape) {
  changed_ = true;
  producers_.push_back(-1);
  consumers_.emplace_back();
  return graph_.add_value({.name = unique_name(std::move(name)), .dtype = dtype, .shape = shape});
}

ValueId GraphEditor::add_constant(std::string name, Tensor tensor) {
  const ValueId id = add_value(std::move(name), tensor.dtype(), tensor.shape());
  graph_.value(id).constant = std::move(tensor);
  return id;
}

NodeId GraphEditor::insert_before(NodeId before, Node node) {
  changed_ = true;
  const auto id = static_cast<NodeId>(graph_.nodes.size());
  for (const ValueId value : node.outputs) {
    if (value != kNoValue) producers_[static_cast<size_t>(value)] = id;
  }
  for (const ValueId value : node.inputs) {
    if (value != kNoValue) consumers_[static_cast<size_t>(value)].push_back(id);
  }
  graph_.nodes.push_back(std::move(node));
  erased_.push_back(false);
  inserted_.emplace_back(before, id);
  return id;
}

void GraphEditor::replace_uses(ValueId from, ValueId to) {
  if (from == to) return;
  changed_ = true;
  auto& readers = consumers_[static_cast<size_t>(from)];
  for (const NodeId reader : readers) {
    auto& inputs = graph_.nodes[static_cast<size_t>(reader)].inputs;
    const auto use = std::find(inputs.begin(), inputs.end(), from);
    if (use != inputs.end()) *use = to;
  }
  auto& target = consumers_[static_cast<size_t>(to)];
  target.insert(target.end(), readers.begin(), readers.end());
  readers.clear();
  std::replace(graph_.outputs.begin(), graph_.outputs.end(), from, to);
}

void GraphEditor::set_input(NodeId node, size_t index, ValueId value) {
  changed_ = true;
  ValueId& input = graph_.nodes[static_cast<size_t>(node)].inputs[index];
  if (input != kNoValue) remove_one(consumers_[static_cast<size_t>(input)], node);
  input = value;
  if (value != kNoValue) consumers_[static_cast<size_t>(value)].push_back(node);
}

void GraphEditor::add_input(NodeId node, ValueId value) {
  changed_ = true;
  graph_.nodes[static_cast<size_t>(node)].inputs.push_back(value);
  if (value != kNoValue) consumers_[static_cast<size_t>(value)].push_back(node);
}

void GraphEditor::set_output(NodeId node, size_t index, ValueId value) {
  changed_ = true;
  ValueId& output = graph_.nodes[static_cast<size_t>(node)].outputs[index];
  if (output != kNoValue && producer(output) == node) producers_[static_cast<size_t>(output)] = -1;
  output = value;
  if (value != kNoValue) producers_[static_cast<size_t>(value)] = node;
}

void GraphEditor::erase(NodeId node) {
  if (is_erased(node)) return;
  changed_ = true;
  erased_[static_cast<size_t>(node)] = true;
  const Node& gone = graph_.node(node);
  for (const ValueId value : gone.inputs) {
    if (value != kNoValue) remove_one(consumers_[static_cast<size_t>(value)], node);
  }
  for (const ValueId value : gone.outputs) {
    if (value != kNoValue && producer(value) == node) producers_[static_cast<size_t>(value)] = -1;
  }
}

// Nodes in the order in which they were placed, moved back only as far as their inputs demand.
void GraphEditor::sort_nodes() {
  const size_t count = graph_.nodes.size();
  std::vector<std::vector<NodeId>> placed_before(count + 1);  // the last: at the end
  std::vector<bool> is_inserted(count, false);
  for (const auto& [before, node] : inserted_) {
    placed_before[before < 0 ? count : static_cast<size_t>(before)].push_back(node);
    is_inserted[static_cast<size_t>(node)] = true;
  }
  std::vector<NodeId> placed;
  placed.reserve(count);
  // A node is visited twice: first what stands before it is pushed, then it is placed.
  std::vector<std::pair<NodeId, bool>> stack;
  const auto place = [&](NodeId root) {
    stack.emplace_back(root, false);
    while (!stack.empty()) {
      const auto [node, expanded] = stack.back();
      stack.pop_back();
      if (expanded) {
        if (!is_erased(node)) placed.push_back(node);
        continue;
      }
      stack.emplace_back(node, true);
      const auto& earlier = placed_before[static_cast<size_t>(node)];
      for (auto it = earlier.rbegin(); it != earlier.rend(); ++it) stack.emplace_back(*it, false);
    }
  };
  for (size_t i = 0; i < count; ++i) {
    if (!is_inserted[i]) place(static_cast<NodeId>(i));
  }
  for (const NodeId node : placed_before[count]) place(node);

  std::vector<size_t> position(count, 0);
  std::vector<int> waiting(count, 0);  // inputs that are not computed yet
  for (size_t i = 0; i < placed.size(); ++i) position[static_cast<size_t>(placed[i])] = i;
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
  for (size_t i = 0; i < placed.size(); ++i) {
    const auto id = static_cast<size_t>(placed[i]);
    for (const ValueId value : graph_.nodes[id].inputs) {
      if (value != kNoValue && producer(value) >= 0) ++waiting[id];
    }
    if (waiting[id] == 0) ready.push(i);
  }
  std::vector<NodeId> order;
  order.reserve(placed.size());
  std::vector<bool> done(count, false);
  while (!ready.empty()) {
    const NodeId node = placed[ready.top()];
    ready.pop();
    order.push_back(node);
    done[static_cast<size_t>(node)] = true;
    for (const ValueId value : graph_.node(node).outputs) {
      if (value == kNoValue || producer(value) != node) continue;
      for (const NodeId reader : consumers(value)) {
        if (--waiting[static_cast<size_t>(reader)] == 0) {
          ready.push(position[static_cast<size_t>(reader)]);
        }
      }
    }
  }
  // Nodes on a cycle keep their places at the end; validate() names them.
  for (const NodeId node : placed) {
    if (!done[static_cast<size_t>(node)]) order.push_back(node);
  }
  std::vector<Node> nodes;
  nodes.reserve(order.size());
  for (const NodeId node : order)
    nodes.push_back(std::move(graph_.nodes[static_cast<size_t>(node)]));
  graph_.nodes = std::move(nodes);
}

void GraphEditor::drop_unused_values() {
  std::vector<ValueId> new_id(graph_.values.size(), kNoValue);
  const auto each_reference = [&](const auto& fn) {
    for (ValueId& id : graph_.inputs) fn(id);
    for (ValueId& id : graph_.outputs) fn(id);
    for (Node& node : graph_.nodes) {
      for (ValueId& id : node.inputs) fn(id);
      for (ValueId& id : node.outputs) fn(id);
    }
  };
  each_reference([&](ValueId id) {
    if (id != kNoValue) new_id[static_cast<size_t>(id)] = 0;
  });
  std::vector<Value> values;
  for (size_t i = 0; i < new_id.size(); ++i) {
    if (new_id[i] == kNoValue) continue;
    new_id[i] = static_cast<ValueId>(values.size());
    values.push_back(std::move(graph_.values[i]));
  }
  graph_.values = std::move(values);
  each_reference([&](ValueId& id) {
    if (id != kNoValue) id = new_id[static_cast<size_t>(id)];
  });
}

void GraphEditor::finish() {
  if (!changed_) return;
  sort_nodes();
  drop_unused_values();
  refresh();
}

}  // namespace octavo
