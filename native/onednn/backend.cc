#include "native/onednn/onednn.h"
#include "native/onednn/ops.h"

namespace octavo {
namespace onednn {
namespace {

class PrimitivesBackend final : public Backend {
 public:
  std::string_view name() const override { return "onednn"; }

  std::vector<Claim> claim(const PlanGraph& graph, const std::vector<bool>& available) override {
    std::vector<Claim> claims;
    for (size_t n = 0; n < available.size(); ++n) {
      const auto id = static_cast<NodeId>(n);
      if (available[n] && find(graph, graph.graph.node(id)) != nullptr) claims.push_back({{id}});
    }
    return claims;
  }

  ClaimLayout layout(const PlanGraph& graph, const Claim& claim) override {
    return find(graph, graph.graph.node(claim.nodes.front()))->layout;
  }

  Result<std::unique_ptr<Step>> compile(const PlanGraph& graph, const Claim& claim,
                                        Layout layout) override {
    const Node& node = graph.graph.node(claim.nodes.front());
    return find(graph, node)->create(graph, node, layout);
  }

 private:
  static const PrimitiveDef* find(const PlanGraph& graph, const Node& node) {
    for (const auto& family : {conv_primitives(), matmul_primitives(), half_primitives()}) {
      for (const PrimitiveDef& row : family) {
        if (row.op == node.kind && row.supports(graph, node)) return &row;
      }
    }
    return nullptr;
  }
};

}  // namespace
}  // namespace onednn

std::shared_ptr<Backend> make_onednn_backend() {
  return std::make_shared<onednn::PrimitivesBackend>();
}

}  // namespace octavo
