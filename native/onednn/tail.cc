#include "native/onednn/tail.h"

#include <array>

namespace octavo::onednn {

std::optional<Eltwise> eltwise_of(const Node& node) {
  using dnnl::algorithm;
  switch (node.kind) {
    case OpKind::kSigmoid: return Eltwise{algorithm::eltwise_logistic};
    case OpKind::kTanh: return Eltwise{algorithm::eltwise_tanh};
    case OpKind::kHardSwish: return Eltwise{algorithm::eltwise_hardswish, 1.0f / 6, 0.5f};
    case OpKind::kHardSigmoid:
      return Eltwise{algorithm::eltwise_hardsigmoid, node.get_float("alpha"),
                     node.get_float("beta")};
    case OpKind::kLeakyRelu: return Eltwise{algorithm::eltwise_relu, node.get_float("alpha")};
    case OpKind::kElu: return Eltwise{algorithm::eltwise_elu, node.get_float("alpha")};
    case OpKind::kGelu:
      return Eltwise{node.get_string("approximate") == "tanh" ? algorithm::eltwise_gelu_tanh
                                                              : algorithm::eltwise_gelu_erf};
    default: return std::nullopt;
  }
}

std::vector<NodeId> find_tail(const PlanGraph& graph, const Readers& readers, NodeId id,
                              const std::vector<bool>& available) {
  const Node& node = graph.graph.node(id);
  const ValueId y = node.output(0);
  if (graph.info(y).quant != nullptr || !node.get_string("activation").empty()) return {};
  const auto readers_of_y = readers.of(y);
  for (const NodeId first : readers_of_y) {
    const Node& function = graph.graph.node(first);
    if (!available[static_cast<size_t>(first)] || !eltwise_of(function)) continue;
    const std::array<NodeId, 1> one{first};
    if (readers.only(y, one)) return {first};
    const ValueId gate = function.output(0);
    const auto readers_of_gate = readers.of(gate);
    if (function.kind != OpKind::kSigmoid || readers_of_gate.size() != 1) continue;
    const NodeId second = readers_of_gate[0];
    const Node& product = graph.graph.node(second);
    const std::array<NodeId, 2> two{first, second};
    if (available[static_cast<size_t>(second)] && product.kind == OpKind::kMul &&
        product.inputs.size() == 2 && readers.only(y, two) && readers.only(gate, two) &&
        std::ranges::contains(product.inputs, y) &&
        graph.info(product.output(0)).dtype == graph.info(y).dtype) {
      return {first, second};
    }
  }
  return {};
}

std::optional<Eltwise> tail_function(const PlanGraph& graph, const Claim& claim) {
  switch (claim.nodes.size()) {
    case 2: return eltwise_of(graph.graph.node(claim.nodes[1]));
    case 3: return Eltwise{dnnl::algorithm::eltwise_swish, 1};  // x * sigmoid(x)
    default: return std::nullopt;
  }
}

}  // namespace octavo::onednn
