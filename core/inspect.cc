#include "core/inspect.h"

#include <algorithm>

#include "core/quantization/annotate.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

std::string precision(const Value& value) {
  return concat(dtype_name(value.dtype), !value.constant.present()   ? ""
                                         : value.quant->per_tensor() ? " per_tensor"
                                         : value.quant->block_size > 0
                                             ? concat(" groups of ", value.quant->block_size)
                                             : " per_channel");
}

}  // namespace

Precisions precisions(const Graph& graph, const Node& node) {
  Precisions found;
  for (const ValueId id : node.inputs) {
    if (id == kNoValue || graph.value(id).quant == nullptr) continue;
    const Value& value = graph.value(id);
    std::string& text = value.constant.present() ? found.weights : found.activations;
    if (text.empty()) text = precision(value);
  }
  return found;
}

Inspection inspect(const Model& model) {
  const Graph& graph = model.graph();
  Inspection found{.constant_bytes = constant_bytes(graph)};
  for (const Value& value : graph.values) {
    found.parameters += value.constant.elements();
    found.quantized = found.quantized || value.quant != nullptr;
  }
  const StaticQuantConfig defaults;
  const Result<Annotation> would = found.quantized ? Annotation() : annotate(graph, defaults);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (is_conversion(node)) continue;
    NodeReport& report = found.nodes.emplace_back();
    report.name = node.name;
    report.op = op_name(node.kind);
    if (found.quantized) {
      Precisions now = precisions(graph, node);
      report.quantized = !now.weights.empty() || !now.activations.empty();
      report.weights = std::move(now.weights);
      report.activations = std::move(now.activations);
    } else if (would) {
      report.quantized = would->nodes[n].quantized;
      report.reason = would->nodes[n].reason;
    } else {
      report.reason = would.error().message;
    }
  }
  return found;
}

}  // namespace octavo
