// Functions of one number: 8-bit integers through a table of 256 entries, floats block by block. A
// claim of several nodes that amount to one such function, as x * sigmoid(x), is one step, and with
// a kernel in front that looks its results up while they are in the cache, one step with that.
#pragma once

#include "runtime/kernel_table.h"

namespace octavo::kernels {

/// Runs of two or more available nodes that compute a function of one tensor's elements, with no
/// result between them used or watched elsewhere; and those of them, or single nodes, that follow a
/// node whose kernel ends with a table, together with that node.
std::vector<Claim> pointwise_claims(const PlanGraph& graph, const std::vector<bool>& available,
                                    FindKernel find);

/// The step of such a claim. `kernel`: of the first node if it ends with a table, else nullptr.
Result<std::unique_ptr<Step>> create_pointwise(const PlanGraph& graph, const Claim& claim,
                                               const KernelDef* kernel);

}  // namespace octavo::kernels
