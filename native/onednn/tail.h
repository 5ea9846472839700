// Functions behind a float convolution or matrix product that oneDNN computes while it writes the
// results (post-ops): x * sigmoid(x), tanh and the like. Of 8-bit integers they are tables, which
// the portable backend looks up faster than anything is computed.
#pragma once

#include <optional>
#include <vector>

#include "runtime/readers.h"
#include <dnnl.hpp>

namespace octavo::onednn {

struct Eltwise {
  dnnl::algorithm algorithm;
  float alpha = 0, beta = 0;
};

/// The node's function of one number, if oneDNN has it.
std::optional<Eltwise> eltwise_of(const Node& node);

/// The available nodes that follow `id` and can be computed with it; none if there is no such tail.
std::vector<NodeId> find_tail(const PlanGraph& graph, const Readers& readers, NodeId id,
                              const std::vector<bool>& available);

/// The function that the claim's nodes after the first one amount to.
std::optional<Eltwise> tail_function(const PlanGraph& graph, const Claim& claim);

}  // namespace octavo::onednn
