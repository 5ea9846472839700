#include "core/quantization/subgraphs.h"

#include <algorithm>

namespace octavo {
namespace {

NodeId find_node(const Graph& graph, std::string_view name) {
  const auto found = std::ranges::find(graph.nodes, name, &Node::name);
  return found == graph.nodes.end() ? -1 : static_cast<NodeId>(found - graph.nodes.begin());
}

void mark(std::vector<bool>& values, const std::vector<ValueId>& ids) {
  for (const ValueId id : ids) {
    if (id != kNoValue) values[static_cast<size_t>(id)] = true;
  }
}

bool any_marked(const std::vector<bool>& values, const std::vector<ValueId>& ids) {
  return std::ranges::any_of(
      ids, [&](ValueId id) { return id != kNoValue && values[static_cast<size_t>(id)]; });
}

}  // namespace

Result<std::vector<std::string>> nodes_between(const Graph& graph, const std::string& pattern) {
  const size_t dots = pattern.find("..");
  if (dots == std::string::npos || find_node(graph, pattern) >= 0) {
    return std::vector<std::string>{pattern};
  }
  const NodeId from = find_node(graph, pattern.substr(0, dots));
  const NodeId to = find_node(graph, pattern.substr(dots + 2));
  if (from < 0 || to < 0) return std::vector<std::string>{pattern};  // an error in check_patterns
  // Nodes are in topological order.
  std::vector<bool> after(graph.values.size(), false), before(graph.values.size(), false);
  std::vector<bool> reached(graph.nodes.size(), false);
  for (size_t n = static_cast<size_t>(from); n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    reached[n] = static_cast<NodeId>(n) == from || any_marked(after, node.inputs);
    if (reached[n]) mark(after, node.outputs);
  }
  std::vector<std::string> names;
  for (size_t n = static_cast<size_t>(to) + 1; n-- > 0;) {
    const Node& node = graph.nodes[n];
    if (static_cast<NodeId>(n) != to && !any_marked(before, node.outputs)) continue;
    mark(before, node.inputs);
    if (reached[n] && !node.name.empty()) names.push_back(node.name);
  }
  if (!reached[static_cast<size_t>(to)]) {
    return fail(ErrorCode::kNotFound, "'", pattern,
                "': no path leads from the first node to the "
                "second");
  }
  std::ranges::reverse(names);
  return names;
}

}  // namespace octavo
