// Functions of one number: 8-bit integers through a table of 256 entries, floats block by block. A
// claim of several nodes that amount to one such function, as x * sigmoid(x), is one step.
#pragma once

#include "runtime/kernel_table.h"

namespace octavo::kernels {

/// Runs of two or more available nodes that compute a function of one tensor's elements, with no
/// result between them used or watched elsewhere.
std::vector<Claim> pointwise_claims(const PlanGraph& graph, const std::vector<bool>& available);

/// The step of such a claim.
Result<std::unique_ptr<Step>> create_pointwise(const PlanGraph& graph, const Claim& claim);

}  // namespace octavo::kernels
