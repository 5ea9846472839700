// The portable backend: one node a claim, or several that a fusion takes together. A node runs the
// first row of the kernel table that supports it, with half-precision values widened to float32 if
// need be; without one, the plan runs the operator's reference function.

#include <algorithm>

#include "runtime/kernels/half.h"

namespace octavo {
namespace {

bool shapes_are_static(const PlanGraph& graph, const Node& node) {
  const auto known = [&](ValueId id) {
    return id == kNoValue || (graph.is_static(id) && graph.info(id).dtype != DType::kUndefined);
  };
  return std::ranges::all_of(node.inputs, known) && std::ranges::all_of(node.outputs, known);
}

template <bool kDeterministic>
const KernelDef* find_kernel(const PlanGraph& graph, const Node& node) {
  if (!shapes_are_static(graph, node)) return nullptr;
  if constexpr (kDeterministic) {
    for (const KernelDef& row : kernels::fixed_order_kernels()) {
      if (row.op == node.kind && row.supports(graph, node)) return &row;
    }
  }
  const std::span<const KernelDef> families[] = {
      kernels::conv_kernels(),      kernels::conv_transpose_kernels(), kernels::matmul_kernels(),
      kernels::pool_kernels(),      kernels::elementwise_kernels(),    kernels::pointwise_kernels(),
      kernels::move_kernels(),      kernels::half_kernels(),           kernels::row_kernels(),
      kernels::recurrent_kernels(), kernels::resize_kernels(),
  };
  for (const auto& family : families) {
    for (const KernelDef& row : family) {
      if (kDeterministic && !row.exact) continue;
      if (row.op == node.kind && row.supports(graph, node)) return &row;
    }
  }
  return nullptr;
}

// A reference function follows its input's layout only if every activation has the same rank (an
// NHWC image and a [C, 1, 1] vector that is computed could not be told apart).
ClaimLayout reference_layout(const PlanGraph& graph, const Node& node) {
  const OpDef* op = find_op(node.kind);
  if (op == nullptr || op->layout != LayoutRule::kAgnostic) return ClaimLayout::kPlain;
  int rank = -1;
  for (const auto* ids : {&node.inputs, &node.outputs}) {
    for (const ValueId id : *ids) {
      if (id == kNoValue || graph.is_constant(id)) continue;
      const Shape& shape = graph.info(id).shape;
      if (!shape.has_rank() || (rank >= 0 && shape.rank() != rank)) return ClaimLayout::kPlain;
      rank = shape.rank();
    }
  }
  return ClaimLayout::kFollow;
}

const FusionDef kFusions[] = {kernels::pointwise_fusion(), kernels::dequantized_pool_fusion()};

class PortableBackend : public Backend {
 public:
  /// nullptr: reference functions only.
  explicit PortableBackend(FindKernel find) : find_(find) {}

  std::string_view name() const override { return "portable"; }

  std::vector<Claim> claim(const PlanGraph& graph, const std::vector<bool>& available) override {
    std::vector<Claim> claims;
    std::vector<bool> left = available;
    for (int rule = 0; find_ == find_kernel<false> && rule < std::ssize(kFusions); ++rule) {
      for (Claim& claim : kFusions[rule].claim(graph, left, find_)) {
        for (const NodeId node : claim.nodes) left[static_cast<size_t>(node)] = false;
        claim.rule = rule;
        claims.push_back(std::move(claim));
      }
    }
    for (size_t i = 0; i < graph.graph.nodes.size(); ++i) {
      if (left[i])
        claims.push_back({{static_cast<NodeId>(i)}, layout(graph, graph.graph.nodes[i])});
    }
    return claims;
  }

  Result<std::unique_ptr<Step>> compile(const PlanGraph& graph, const Claim& claim,
                                        Layout layout) override {
    if (claim.rule >= 0) return kFusions[claim.rule].create(graph, claim, layout, find_);
    const Node& node = graph.graph.node(claim.nodes.front());
    if (find_ == nullptr) return nullptr;
    const KernelDef* kernel = find_(graph, node);
    if (kernel == nullptr) return kernels::create_widened(graph, node, layout, find_);
    OCTAVO_ASSIGN(std::unique_ptr<Step> step, kernel->create(graph, node, layout));
    step->kernel = kernel->name;
    return step;
  }

 private:
  ClaimLayout layout(const PlanGraph& graph, const Node& node) const {
    if (find_ == nullptr) return reference_layout(graph, node);
    const KernelDef* kernel = find_(graph, node);
    if (kernel == nullptr) kernel = kernels::find_widened(graph, node, find_);
    return kernel != nullptr ? kernel->layout : reference_layout(graph, node);
  }

  FindKernel find_;
};

}  // namespace

std::unique_ptr<Backend> make_portable_backend(bool reference_only) {
  return std::make_unique<PortableBackend>(reference_only ? nullptr : find_kernel<false>);
}
std::unique_ptr<Backend> make_deterministic_backend() {
  return std::make_unique<PortableBackend>(find_kernel<true>);
}

}  // namespace octavo
