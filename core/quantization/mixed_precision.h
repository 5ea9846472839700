// Mixed precision as a graph rewriting: operators that their rows allow (MixedRule) get
// half-precision values, and Casts stand where precision changes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/octavo.h"
#include "runtime/op.h"

namespace octavo {

/// What is asked for one node, and what became of it.
struct MixedNode {
  DType dtype = DType::kF32;  // kBF16 or kF16; kF32 leaves the node float
  MixedPolicy policy = MixedPolicy::kDeny;
  bool converted = false;
  std::string reason;  // why not; of kF32 nodes the caller's
};

/// `graph` with the nodes in half precision (`nodes`, by NodeId, says which and is completed):
/// allowed ones, and those of policy kInfer whose inputs are half precision and no results of
/// denied ones. Constants become half precision; the graph's inputs and outputs stay what they are;
/// quantized nodes are left alone. Parameters that do not fit float16 keep their node in f32.
Result<Graph> convert_mixed(const Graph& graph, std::span<MixedNode> nodes);

/// Enters what became of `graph`'s nodes into the report: overwrites entries of the same name where
/// the node was converted or has a reason, adds missing ones.
void report_mixed(const Graph& graph, std::span<const MixedNode> nodes, QuantizeReport& report);

}  // namespace octavo
