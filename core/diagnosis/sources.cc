#include <algorithm>

#include "core/diagnosis/compare.h"
#include "core/diagnosis/diagnose.h"
#include "core/graph_edit.h"
#include "runtime/op.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

bool computes_range(OpKind kind) {
  const OpDef* op = find_op(kind);
  return op != nullptr && (op->quant.policy == QuantPolicy::kCompute ||
                           op->quant.policy == QuantPolicy::kRequantize);
}

// The model with its quantized weights but float activations. Ranges stay: saturation may stand for
// a Relu.
Result<Graph> with_float_activations(const Graph& quantized) {
  Graph graph = quantized;
  for (Value& value : graph.values) {
    if (value.quant == nullptr) continue;
    if (value.constant.present()) {
      OCTAVO_ASSIGN(value.constant, real_tensor(value.constant.view(value.quant.get())));
    }
    value.dtype = DType::kF32;
    value.quant = nullptr;
  }
  graph.nodes.clear();
  const auto scalar = [&](const char* name, double x) -> Result<ValueId> {
    OCTAVO_ASSIGN(Tensor number, Tensor::create(DType::kF32, Shape{}));
    std::ranges::fill(number.data<float>(), static_cast<float>(x));
    return graph.add_value({.name = concat(name, graph.values.size()),
                            .dtype = DType::kF32,
                            .shape = Shape{},
                            .constant = std::move(number)});
  };
  for (Node node : quantized.nodes) {
    const bool converts = is_conversion(node) && node.inputs.size() == 1;
    if (converts) {
      node.kind = OpKind::kIdentity;
      node.attributes.clear();
    }
    graph.nodes.push_back(node);
    if (!converts && !computes_range(node.kind)) continue;
    const ValueId output = node.outputs[0];
    const auto range = reachable_range(quantized.value(output));
    if (!range) continue;
    const ValueId raw = graph.add_value({.name = concat(graph.value(output).name, "_unclipped"),
                                         .dtype = DType::kF32,
                                         .shape = graph.value(output).shape});
    graph.nodes.back().outputs[0] = raw;
    OCTAVO_ASSIGN(const ValueId low, scalar("low_", range->low));
    OCTAVO_ASSIGN(const ValueId high, scalar("high_", range->high));
    Node& clip = graph.nodes.emplace_back();
    clip.kind = OpKind::kClip;
    clip.inputs = {raw, low, high};
    clip.outputs.push_back(output);
  }
  OCTAVO_TRY(validate(graph));
  return graph;
}

}  // namespace

Result<ErrorSourceFinder> ErrorSourceFinder::create(const Model& float_model,
                                                    const Model& quantized,
                                                    const std::shared_ptr<ThreadPool>& pool) {
  OCTAVO_ASSIGN(Graph graph, with_float_activations(quantized.graph()));
  const Model weights_only(std::make_shared<const Graph>(std::move(graph)));
  std::vector<Comparer> pairs;
  for (const auto& [a, b] :
       {std::pair(&float_model, &weights_only), std::pair(&weights_only, &quantized),
        std::pair(&float_model, &quantized)}) {
    OCTAVO_ASSIGN(Comparer pair, Comparer::create(*a, *b, {.pool = pool}));
    pairs.push_back(std::move(pair));
  }
  return ErrorSourceFinder(std::move(pairs));
}

Status ErrorSourceFinder::observe(const NamedTensors& feeds) {
  for (Comparer& pair : pairs_) OCTAVO_TRY(pair.observe(feeds));
  return {};
}

Result<ErrorSources> ErrorSourceFinder::finish() const {
  ErrorSources sources;
  double* const found[] = {&sources.weights_sqnr_db, &sources.activations_sqnr_db,
                           &sources.both_sqnr_db};
  for (size_t i = 0; i < pairs_.size(); ++i) {
    OCTAVO_ASSIGN(const Comparison compared, pairs_[i].finish());
    if (!compared.outputs.empty()) *found[i] = compared.outputs[0].sqnr_db;
  }
  return sources;
}

Result<ErrorSources> error_sources(const Model& float_model, const Model& quantized,
                                   DataLoader& data, const QuantizeOptions& options) {
  OCTAVO_ASSIGN(ErrorSourceFinder finder,
                ErrorSourceFinder::create(float_model, quantized, options.pool));
  OCTAVO_TRY(for_each_sample(data, options.progress,
                             [&](const NamedTensors& feeds) { return finder.observe(feeds); }));
  return finder.finish();
}

}  // namespace octavo
