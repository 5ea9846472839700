// Who reads each value of a plan's graph: what a backend asks before it claims several nodes.
#pragma once

#include <algorithm>

#include "runtime/backend.h"

namespace octavo {

class Readers {
 public:
  explicit Readers(const PlanGraph& graph) : graph_(graph), readers_(graph.graph.values.size()) {
    for (size_t n = 0; n < graph.graph.nodes.size(); ++n) {
      for (const ValueId id : graph.graph.nodes[n].inputs) {
        if (id != kNoValue) readers_[static_cast<size_t>(id)].push_back(static_cast<NodeId>(n));
      }
    }
  }

  /// The nodes that read the value, once for each of their inputs, in order.
  std::span<const NodeId> of(ValueId value) const { return readers_[static_cast<size_t>(value)]; }

  /// Whether nobody but these nodes needs the value: it may stay inside a claim.
  bool only(ValueId value, std::span<const NodeId> nodes) const {
    const auto& readers = readers_[static_cast<size_t>(value)];
    return !graph_.is_watched[static_cast<size_t>(value)] &&
           graph_.use_counts[static_cast<size_t>(value)] == static_cast<int>(readers.size()) &&
           std::ranges::all_of(readers,
                               [&](NodeId id) { return std::ranges::contains(nodes, id); });
  }

 private:
  const PlanGraph& graph_;
  std::vector<std::vector<NodeId>> readers_;
};

}  // namespace octavo
