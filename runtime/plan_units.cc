// Which nodes of a plan run, in which backend's claims, and in what order.
#include <algorithm>

#include "runtime/plan_impl.h"

namespace octavo {

// Nodes that something wants, and that are not folded; also counts uses.
std::vector<bool> PlanImpl::find_live_nodes(PlanGraph& plan_graph) const {
  std::vector<bool> live(graph_.nodes.size(), false);
  auto& uses = plan_graph.use_counts;
  for (const ValueId id : graph_.outputs) ++uses[static_cast<size_t>(id)];
  for (size_t n = graph_.nodes.size(); n-- > 0;) {
    const Node& node = graph_.nodes[n];
    for (const ValueId id : node.outputs) {
      if (id == kNoValue || plan_graph.is_constant(id)) continue;
      live[n] = live[n] || uses[static_cast<size_t>(id)] > 0 ||
                plan_graph.is_watched[static_cast<size_t>(id)];
    }
    if (!live[n]) continue;
    for (const ValueId id : node.inputs) {
      if (id != kNoValue) ++uses[static_cast<size_t>(id)];
    }
  }
  return live;
}

// Claims of all backends, the rest as units of one node, in topological order.
std::vector<PlanImpl::Unit> PlanImpl::make_units(PlanGraph& plan_graph,
                                                 const std::vector<bool>& live) const {
  const size_t count = graph_.nodes.size();
  std::vector<bool> available(count, false);
  for (size_t n = 0; n < count; ++n) {
    const Node& node = graph_.nodes[n];
    const auto is_static = [&](ValueId id) { return id == kNoValue || plan_graph.is_static(id); };
    available[n] = live[n] && std::ranges::all_of(node.inputs, is_static) &&
                   std::ranges::all_of(node.outputs, is_static) &&
                   (find_op(node.kind)->flags & (kHasBody | kAlias)) == 0;
  }
  std::vector<Unit> units;
  std::vector<int> unit_of(count, -1);
  for (Backend* backend : options_.backends) {
    for (Claim& claim : backend->claim(plan_graph, available)) {
      for (const NodeId node : claim.nodes) {
        available[static_cast<size_t>(node)] = false;
        unit_of[static_cast<size_t>(node)] = static_cast<int>(units.size());
      }
      units.push_back({std::move(claim), backend});
    }
  }
  for (size_t n = 0; n < count; ++n) {
    if (!live[n] || unit_of[n] >= 0) continue;
    unit_of[n] = static_cast<int>(units.size());
    units.push_back({Claim{{static_cast<NodeId>(n)}}, nullptr});
  }
  // A unit is ready once everything its nodes read is computed; claims are convex, so taking units
  // by their last node's position and waiting for the missing ones is a topological order.
  std::vector<int> producer(graph_.values.size(), -1);
  for (size_t n = 0; n < count; ++n) {
    for (const ValueId id : graph_.nodes[n].outputs) {
      if (id != kNoValue && unit_of[n] >= 0) producer[static_cast<size_t>(id)] = unit_of[n];
    }
  }
  std::vector<int> waiting(units.size(), 0);
  std::vector<std::vector<int>> followers(units.size());
  for (size_t u = 0; u < units.size(); ++u) {
    for (const NodeId n : units[u].claim.nodes) {
      for (const ValueId id : graph_.node(n).inputs) {
        const int from = id == kNoValue ? -1 : producer[static_cast<size_t>(id)];
        if (from < 0 || from == static_cast<int>(u)) continue;
        followers[static_cast<size_t>(from)].push_back(static_cast<int>(u));
        ++waiting[u];
      }
    }
  }
  const auto later = [&](int a, int b) {
    return units[static_cast<size_t>(a)].claim.nodes.front() >
           units[static_cast<size_t>(b)].claim.nodes.front();
  };
  std::vector<int> ready;
  for (size_t u = 0; u < units.size(); ++u) {
    if (waiting[u] == 0) ready.push_back(static_cast<int>(u));
  }
  std::ranges::make_heap(ready, later);
  std::vector<Unit> ordered;
  while (!ready.empty()) {
    std::ranges::pop_heap(ready, later);
    const auto u = static_cast<size_t>(ready.back());
    ready.pop_back();
    ordered.push_back(std::move(units[u]));
    for (const int f : followers[u]) {
      if (--waiting[static_cast<size_t>(f)] > 0) continue;
      ready.push_back(f);
      std::ranges::push_heap(ready, later);
    }
  }
  return ordered;
}

}  // namespace octavo
