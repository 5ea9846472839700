// ONNX import: topological order. The format demands it, but not every exporter keeps it.
#include <queue>

#include "core/onnx/importer.h"

namespace octavo::onnx_io {
namespace {

using NodeList = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

/// Calls fn(name) for everything a node reads from the graph that it stands in. `defined` holds,
/// for every body around the node (innermost last), the names that the body defines itself.
template <class Fn>
void for_each_read(const onnx::NodeProto& node,
                   std::vector<std::unordered_set<std::string_view>>& defined, const Fn& fn) {
  const auto read = [&](std::string_view name) {
    for (const auto& names : defined) {
      if (names.contains(name)) return;
    }
    fn(name);
  };
  for (const std::string& input : node.input()) read(input);
  for (const auto& attribute : node.attribute()) {
    if (!attribute.has_g()) continue;
    const onnx::GraphProto& body = attribute.g();
    auto& names = defined.emplace_back();
    for (const auto& input : body.input()) names.insert(input.name());
    for (const auto& initializer : body.initializer()) names.insert(initializer.name());
    for (const auto& inner : body.node())
      names.insert(inner.output().begin(), inner.output().end());
    for (const auto& inner : body.node()) for_each_read(inner, defined, fn);
    for (const auto& output : body.output()) read(output.name());
    defined.pop_back();
  }
}

}  // namespace

Result<std::vector<const onnx::NodeProto*>> sorted_nodes(const NodeList& nodes) {
  std::unordered_map<std::string_view, int> producers;
  for (int i = 0; i < nodes.size(); ++i) {
    for (const std::string& output : nodes[i].output()) {
      if (!output.empty()) producers.emplace(output, i);
    }
  }
  const auto count = static_cast<size_t>(nodes.size());
  std::vector<std::vector<int>> readers(count);
  std::vector<int> waiting(count, 0);
  for (int i = 0; i < nodes.size(); ++i) {
    std::vector<std::unordered_set<std::string_view>> defined;
    for_each_read(nodes[i], defined, [&](std::string_view name) {
      const auto found = producers.find(name);
      if (found == producers.end()) return;
      readers[static_cast<size_t>(found->second)].push_back(i);
      ++waiting[static_cast<size_t>(i)];
    });
  }
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (int i = 0; i < nodes.size(); ++i) {
    if (waiting[static_cast<size_t>(i)] == 0) ready.push(i);
  }
  std::vector<const onnx::NodeProto*> order;
  order.reserve(count);
  while (!ready.empty()) {
    const int node = ready.top();
    ready.pop();
    order.push_back(&nodes[node]);
    for (const int reader : readers[static_cast<size_t>(node)]) {
      if (--waiting[static_cast<size_t>(reader)] == 0) ready.push(reader);
    }
  }
  if (order.size() == count) return order;
  for (int i = 0; i < nodes.size(); ++i) {
    if (waiting[static_cast<size_t>(i)] > 0) {
      return std::unexpected(Error{ErrorCode::kInvalidModel,
                                   "the graph has a cycle: this node depends on its own output",
                                   node_name(nodes[i])});
    }
  }
  return order;
}

}  // namespace octavo::onnx_io
