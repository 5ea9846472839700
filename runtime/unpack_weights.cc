#include "runtime/unpack_weights.h"

#include <algorithm>

#include "runtime/quantize_view.h"

namespace octavo {
namespace {

bool is_packed_weight(const Graph& graph, const Node& node) {
  if (node.kind != OpKind::kDequantizeLinear || node.inputs.size() != 1) return false;
  const Value& input = graph.value(node.inputs[0]);
  return input.constant.present() && input.quant != nullptr &&
         graph.value(node.outputs[0]).dtype == DType::kF32 &&
         std::ranges::find(graph.outputs, node.outputs[0]) == graph.outputs.end();
}

}  // namespace

Result<std::shared_ptr<const Graph>> unpack_weights(std::shared_ptr<const Graph> graph) {
  const auto packed = [&](const Node& node) { return is_packed_weight(*graph, node); };
  if (std::ranges::none_of(graph->nodes, packed)) return graph;
  auto unpacked = std::make_shared<Graph>(*graph);
  for (const Node& node : graph->nodes) {
    if (!packed(node)) continue;
    const Value& input = graph->value(node.inputs[0]);
    OCTAVO_ASSIGN(Tensor real, Tensor::create(DType::kF32, input.constant.shape()));
    OCTAVO_TRY(dequantize_view(input.constant.view(input.quant.get()), real.data<float>().data()));
    Value& output = unpacked->value(node.outputs[0]);
    output.shape = real.shape();
    output.constant = std::move(real);
  }
  std::erase_if(unpacked->nodes, packed);
  return unpacked;
}

}  // namespace octavo
