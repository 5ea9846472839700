#include "native/onednn/device.h"
#include "native/onednn/onednn.h"
#include "native/onednn/ops.h"
#include "native/onednn/thread_scope.h"

namespace octavo {
namespace onednn {
namespace {

class PrimitivesBackend final : public Backend {
 public:
  PrimitivesBackend(bool claim_all, std::shared_ptr<Device> device)
      : device_(std::move(device)), claim_all_(claim_all) {}

  std::string_view name() const override { return "onednn"; }

  std::vector<Claim> claim(const PlanGraph& graph, const std::vector<bool>& available) override {
    const DeviceScope scope(device_);
    const Readers readers(graph);
    std::vector<bool> left = available;
    std::vector<Claim> claims;
    for (size_t n = 0; n < left.size(); ++n) {
      if (!left[n]) continue;
      const auto id = static_cast<NodeId>(n);
      const Node& node = graph.graph.node(id);
      const PrimitiveDef* row = find(graph, node);
      if (row == nullptr || !(claim_all_ || pays(graph, node))) continue;
      Claim claim{{id}, row->layout};
      if (row->create_with_tail != nullptr) {
        for (const NodeId next : find_tail(graph, readers, id, left)) claim.nodes.push_back(next);
      }
      for (const NodeId claimed : claim.nodes) left[static_cast<size_t>(claimed)] = false;
      claims.push_back(std::move(claim));
    }
    return claims;
  }

  Result<std::unique_ptr<Step>> compile(const PlanGraph& graph, const Claim& claim,
                                        Layout layout) override {
    const DeviceScope scope(device_);
    const ThreadScope threads(graph.threads);
    const Node& node = graph.graph.node(claim.nodes.front());
    const PrimitiveDef* row = find(graph, node);
    const auto tail = tail_function(graph, claim);
    if (!tail) return row->create(graph, node, layout);
    return row->create_with_tail(graph, node, layout, *tail,
                                 graph.graph.node(claim.nodes.back()).output(0));
  }

 private:
  static const PrimitiveDef* find(const PlanGraph& graph, const Node& node) {
    for (const auto& family : {conv_primitives(), matmul_primitives(), simple_primitives()}) {
      for (const PrimitiveDef& row : family) {
        if (row.op == node.kind && row.supports(graph, node)) return &row;
      }
    }
    return nullptr;
  }

  std::shared_ptr<Device> device_;
  bool claim_all_;
};

}  // namespace
}  // namespace onednn

std::shared_ptr<Backend> make_onednn_backend(bool claim_all,
                                             std::shared_ptr<onednn::Device> device) {
  return std::make_shared<onednn::PrimitivesBackend>(claim_all, std::move(device));
}

}  // namespace octavo
