#include "core/diagnosis/sensitivity.h"

#include <algorithm>

#include "core/diagnosis/compare.h"
#include "core/graph_edit.h"
#include "runtime/op.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

enum class Part : uint8_t { kWeights, kAll };

// Puts one node of the quantized graph into the float graph, between conversions.
class Transplant {
 public:
  Transplant(const Graph& reference, const Graph& quantized)
      : reference_(reference),
        quantized_(quantized),
        scaled_(scaled_tensors(reference, quantized)),
        names_(float_names(reference, quantized, scaled_)) {}

  /// Nothing if the node's tensors are not known in the float graph.
  Result<std::optional<Graph>> make(const Node& source, Part part) const {
    Graph graph = reference_;
    GraphEditor editor(graph);
    const ValueId replaced = source.outputs.size() == 1 ? find(graph, source.outputs[0]) : kNoValue;
    if (replaced == kNoValue) return std::nullopt;
    Node node = source;
    for (ValueId& input : node.inputs) {
      if (input == kNoValue) continue;
      OCTAVO_ASSIGN(input, this->input(editor, input, part));
      if (input == kNoValue) return std::nullopt;
    }
    const Value& output = quantized_.value(source.outputs[0]);
    const bool integers = part == Part::kAll && output.quant != nullptr;
    ValueId made = add(editor, output, integers);
    node.outputs = {made};
    editor.insert_before(-1, std::move(node));
    if (integers) {
      made = convert(editor, OpKind::kDequantizeLinear, made, output, false);
    } else if (const auto range = reachable_range(output)) {  // saturation may stand for a Relu
      OCTAVO_ASSIGN(made, clip(editor, made, output, *range));
    }
    OCTAVO_ASSIGN(made, scale(editor, made, names_[index(source.outputs[0])], /*inverse=*/true));
    editor.replace_uses(replaced, made);
    editor.prune();
    OCTAVO_TRY(validate(graph));
    return std::optional<Graph>(std::move(graph));
  }

 private:
  static size_t index(ValueId id) { return static_cast<size_t>(id); }

  // The float tensor that a value of the quantized graph stands for.
  ValueId find(const Graph& graph, ValueId value) const {
    const std::string& name = names_[index(value)];
    if (name.empty()) return kNoValue;
    const auto scaled = scaled_.find(name);
    return graph.find_value(scaled == scaled_.end() ? name : scaled->second.source);
  }

  static ValueId add(GraphEditor& editor, const Value& like, bool integers) {
    const ValueId id = editor.add_value(concat(like.name, "_alone"),
                                        integers ? like.dtype : DType::kF32, like.shape);
    if (integers) editor.graph().value(id).quant = like.quant;
    return id;
  }
  static ValueId convert(GraphEditor& editor, OpKind kind, ValueId from, const Value& like,
                         bool integers) {
    const ValueId to = add(editor, like, integers);
    editor.insert_before(-1, {.kind = kind, .inputs = {from}, .outputs = {to}});
    return to;
  }

  // The node's input, made from the float graph's.
  Result<ValueId> input(GraphEditor& editor, ValueId id, Part part) const {
    const Value& value = quantized_.value(id);
    if (value.constant.present()) {
      if (part == Part::kAll || value.quant == nullptr || value.dtype == DType::kI32) {
        const ValueId made = editor.add_constant(concat(value.name, "_alone"), value.constant);
        editor.graph().value(made).quant = value.quant;
        return made;
      }
      OCTAVO_ASSIGN(Tensor real, real_tensor(value.constant.view(value.quant.get())));
      return editor.add_constant(concat(value.name, "_alone"), std::move(real));
    }
    ValueId made = find(editor.graph(), id);
    if (made == kNoValue) return made;
    OCTAVO_ASSIGN(made, scale(editor, made, names_[index(id)], /*inverse=*/false));
    if (part == Part::kWeights || value.quant == nullptr) return made;
    return convert(editor, OpKind::kQuantizeLinear, made, value, true);
  }

  // Channels (axis 1) times their factors, or divided by them.
  Result<ValueId> scale(GraphEditor& editor, ValueId value, const std::string& name,
                        bool inverse) const {
    const auto scaled = scaled_.find(name);
    if (scaled == scaled_.end()) return value;
    const Shape of_value = editor.graph().value(value).shape;
    Shape shape = Shape::filled(of_value.rank(), 1);
    shape[1] = static_cast<int64_t>(scaled->second.factors.size());
    OCTAVO_ASSIGN(Tensor factors, Tensor::create(DType::kF32, shape));
    std::ranges::transform(scaled->second.factors, factors.data<float>().begin(),
                           [&](float f) { return inverse && f != 0 ? 1 / f : f; });
    const ValueId by = editor.add_constant(concat(name, "_factors"), std::move(factors));
    const ValueId to = editor.add_value(concat(name, "_scaled"), DType::kF32, of_value);
    editor.insert_before(-1, {.kind = OpKind::kMul, .inputs = {value, by}, .outputs = {to}});
    return to;
  }

  static Result<ValueId> clip(GraphEditor& editor, ValueId from, const Value& like,
                              const ReachableRange& range) {
    const ValueId to = add(editor, like, false);
    const auto bound = [&](double x) {
      return editor.add_constant(concat(like.name, "_bound"),
                                 Tensor::scalar(static_cast<float>(x)));
    };
    editor.insert_before(-1, {.kind = OpKind::kClip,
                              .inputs = {from, bound(range.low), bound(range.high)},
                              .outputs = {to}});
    return to;
  }

  const Graph &reference_, &quantized_;
  const std::map<std::string, ScaledTensor> scaled_;
  const std::vector<std::string> names_;  // by ValueId of the quantized graph
};

// Output 0 on all samples.
Result<std::vector<float>> outputs_of(Session& session, const std::vector<NamedTensors>& samples) {
  std::vector<float> all;
  for (const NamedTensors& feeds : samples) {
    OCTAVO_ASSIGN(const NamedTensors outputs, session.run(feeds));
    if (outputs.empty() || outputs[0].second.dtype() != DType::kF32) continue;
    const auto values = outputs[0].second.data<const float>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

bool adds_error(const Graph& graph, const Node& node) {
  const OpDef* op = find_op(node.kind);
  const ValueId output = node.output(0);
  return op != nullptr && !is_conversion(node) && output != kNoValue &&
         graph.value(output).quant != nullptr && op->quant.policy != QuantPolicy::kFloatOnly &&
         op->quant.policy != QuantPolicy::kSameScale;
}

double sqnr_db(const std::vector<float>& a, const std::vector<float>& b) {
  ErrorSums sums;
  if (a.size() == b.size()) sums.add(a, b);
  return sums.sqnr_db();
}

}  // namespace

Status SensitivityRanker::observe(const NamedTensors& feeds) {
  if (std::ssize(samples_) >= kSensitivitySamples) return {};
  NamedTensors& kept = samples_.emplace_back();
  for (const auto& [name, tensor] : feeds) {
    OCTAVO_ASSIGN(Tensor own, tensor.clone());
    kept.emplace_back(name, std::move(own));
  }
  return {};
}

Result<std::vector<OpSensitivity>> SensitivityRanker::finish(std::span<const std::string> names,
                                                             const ProgressFn& progress) const {
  OCTAVO_ASSIGN(Session reference, float_.create_session({.pool = pool_}));
  OCTAVO_ASSIGN(const Session quantized, quantized_.create_session({.pool = pool_}));
  OCTAVO_ASSIGN(const std::vector<float> wanted, outputs_of(reference, samples_));
  const Graph& graph = quantized.graph();
  const Transplant transplant(reference.graph(), graph);
  std::vector<const Node*> nodes;
  for (const Node& node : graph.nodes) {
    if (adds_error(graph, node) && std::ranges::contains(names, node.name)) nodes.push_back(&node);
  }
  std::vector<OpSensitivity> found;
  int64_t done = 0;
  for (const Node* node : nodes) {
    std::vector<std::vector<float>> outputs;
    for (const Part part : {Part::kWeights, Part::kAll}) {
      OCTAVO_ASSIGN(std::optional<Graph> made, transplant.make(*node, part));
      if (!made) break;
      OCTAVO_ASSIGN(
          Session session,
          Session::create(std::make_shared<const Graph>(*std::move(made)), {.pool = pool_}));
      OCTAVO_ASSIGN(std::vector<float> got, outputs_of(session, samples_));
      outputs.push_back(std::move(got));
    }
    if (outputs.size() == 2) {
      found.push_back({.node = node->name,
                       .op = std::string(op_name(node->kind)),
                       .sqnr_db = sqnr_db(wanted, outputs[1]),
                       .weights_sqnr_db = sqnr_db(wanted, outputs[0]),
                       .activations_sqnr_db = sqnr_db(outputs[0], outputs[1])});
    }
    if (progress && !progress(++done, std::ssize(nodes))) {
      return fail(ErrorCode::kCancelled, "the ranking of operators was cancelled");
    }
  }
  std::ranges::stable_sort(found, {}, &OpSensitivity::sqnr_db);
  return found;
}

}  // namespace octavo
