#include "core/diagnosis/diagnose.h"

#include <algorithm>

#include "core/diagnosis/compare.h"
#include "core/diagnosis/names.h"
#include "core/graph_edit.h"
#include "core/inspect.h"
#include "runtime/op.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

// One quantized node between conversions, fed with the float model's tensors.
class OwnError {
 public:
  /// `float_names`: by ValueId of `graph`, the float model's tensor that the value stands for.
  static Result<std::optional<OwnError>> create(const Graph& graph, const Node& node,
                                                const std::vector<std::string>& float_names,
                                                const std::shared_ptr<ThreadPool>& pool) {
    OwnError made;
    Graph alone{.values = graph.values, .symbols = graph.symbols};
    Node copy = node;
    const auto convert = [&](OpKind kind, ValueId from, ValueId to) {
      alone.nodes.push_back(
          {.kind = kind, .inputs = {from}, .outputs = {to}, .name = alone.value(to).name});
    };
    std::vector<ValueId> done;
    for (const ValueId id : node.inputs) {
      if (id == kNoValue || graph.value(id).constant.present()) continue;
      if (std::ranges::contains(done, id)) continue;
      done.push_back(id);
      const std::string& name = float_names[static_cast<size_t>(id)];
      if (name.empty()) return std::nullopt;
      made.inputs_.push_back(name);
      ValueId source = id;
      if (graph.value(id).quant != nullptr) {
        source = alone.add_value(
            {.name = concat(name, "_real"), .dtype = DType::kF32, .shape = graph.value(id).shape});
        convert(OpKind::kQuantizeLinear, source, id);
      }
      alone.inputs.push_back(source);
    }
    alone.nodes.push_back(std::move(copy));
    const ValueId output = node.output(0);
    made.output_ = float_names[static_cast<size_t>(output)];
    if (made.output_.empty() || made.inputs_.empty()) return std::nullopt;
    ValueId real = output;
    if (graph.value(output).quant != nullptr) {
      real = alone.add_value({.name = concat(made.output_, "_real"),
                              .dtype = DType::kF32,
                              .shape = graph.value(output).shape});
      convert(OpKind::kDequantizeLinear, output, real);
    }
    alone.outputs = {real};
    // Values that this node does not use, among them the others' weights.
    GraphEditor(alone).prune();
    OCTAVO_ASSIGN(made.session_,
                  Session::create(std::make_shared<const Graph>(std::move(alone)), {.pool = pool}));
    return std::optional<OwnError>(std::move(made));
  }

  Status add(const TensorMap& tensors) {
    std::vector<TensorView> views, outputs(1);
    for (const std::string& name : inputs_) {
      const auto found = tensors.find(name);
      if (found == tensors.end() || found->second.dtype() != DType::kF32) return {};
      views.push_back(found->second.view());
    }
    const auto wanted = tensors.find(output_);
    if (wanted == tensors.end()) return {};
    OCTAVO_TRY(session_->run(views, outputs));
    OCTAVO_ASSIGN(const Tensor got, to_tensor(outputs[0]));
    if (got.dtype() != DType::kF32 || got.shape() != wanted->second.shape()) return {};
    sums_.add(wanted->second.data<const float>(), got.data<const float>());
    return {};
  }
  std::optional<double> sqnr_db() const {
    return sums_.count == 0 ? std::nullopt : std::optional(sums_.sqnr_db());
  }

 private:
  std::vector<std::string> inputs_;
  std::string output_;
  std::optional<Session> session_;
  ErrorSums sums_;
};

// Multiplies slices of axis 0.
Status scale_rows(Tensor& weights, const std::vector<float>& factors) {
  OCTAVO_ASSIGN(Tensor out, Tensor::create(DType::kF32, weights.shape()));
  const auto in = weights.data<const float>();
  const auto to = out.data<float>();
  const size_t length = in.size() / factors.size();
  for (size_t i = 0; i < in.size(); ++i)
    to[i] = in[i] * factors[std::min(i / length, factors.size() - 1)];
  weights = std::move(out);
  return {};
}

// The real numbers that the integers of a tensor reach, and how many of the float model's lie
// outside: half a step beyond the last integer still rounds to it.
struct Thresholds : ReachableRange {
  int64_t outside = 0, all = 0;

  void count(std::span<const float> values) {
    all += static_cast<int64_t>(values.size());
    const auto lowest = static_cast<float>(low - scale / 2);
    const auto highest = static_cast<float>(high + scale / 2);
    outside += std::ranges::count_if(values, [&](float x) { return x < lowest || x > highest; });
  }
};

}  // namespace

struct Diagnoser::State {
  Diagnosis result;                              // all that needs no sample
  const Graph* graph = nullptr;                  // of the quantized model as it runs; comparer's
  std::vector<std::optional<OwnError>> own;      // of result.ops
  std::map<std::string, Thresholds> thresholds;  // by the float model's names
  std::optional<Comparer> comparer;

  Status observe(const TensorMap& tensors);
};

Status Diagnoser::State::observe(const TensorMap& tensors) {
  for (auto& [name, threshold] : thresholds) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second.dtype() != DType::kF32) continue;
    threshold.count(found->second.data<const float>());
  }
  for (std::optional<OwnError>& op : own) {
    if (op) OCTAVO_TRY(op->add(tensors));
  }
  return {};
}

Diagnoser::Diagnoser(std::unique_ptr<State> state) : state_(std::move(state)) {}
Diagnoser::Diagnoser(Diagnoser&&) noexcept = default;
Diagnoser& Diagnoser::operator=(Diagnoser&&) noexcept = default;
Diagnoser::~Diagnoser() = default;

Result<Diagnoser> Diagnoser::create(const Model& float_model, const Model& quantized,
                                    std::shared_ptr<ThreadPool> pool) {
  auto state = std::make_unique<State>();
  Diagnosis& result = state->result;
  OCTAVO_ASSIGN(Session session_a, float_model.create_session({.pool = pool}));
  OCTAVO_ASSIGN(Session session_b,
                with_names_of(float_model, quantized).create_session({.pool = pool}));
  const Graph &reference = session_a.graph(), &graph = session_b.graph();
  auto scaled = scaled_tensors(reference, graph);
  const std::vector<std::string> names = float_names(reference, graph, scaled);

  for (const Node& node : graph.nodes) {
    if (is_conversion(node)) continue;
    OpDiagnosis& op = result.ops.emplace_back();
    op.node = node.name;
    op.op = std::string(op_name(node.kind));
    const ValueId output = node.output(0);
    if (output != kNoValue) {
      const std::string& name = names[static_cast<size_t>(output)];
      op.tensor = name.empty() ? graph.value(output).name : name;
    }
    Precisions found = precisions(graph, node);
    op.weights = std::move(found.weights);
    op.activations = std::move(found.activations);
    op.quantized = !op.activations.empty() || !op.weights.empty();
    if (auto weights = weight_pair(reference, graph, node, scaled)) {
      const auto made = scaled.find(op.tensor);
      if (made != scaled.end()) {  // output channels are the weights' axis 0
        OCTAVO_TRY(scale_rows(weights->reference, made->second.factors));
      }
      ErrorSums sums;
      sums.add(weights->reference.data<const float>(), weights->quantized.data<const float>());
      op.weight_sqnr_db = sums.sqnr_db();
    }
    state->own.emplace_back();
    if (op.quantized && output != kNoValue) {
      OCTAVO_ASSIGN(state->own.back(), OwnError::create(graph, node, names, pool));
    }
  }
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const Value& value = graph.values[v];
    if (names[v].empty() || value.constant.present()) continue;
    if (const auto found = reachable_range(value))
      state->thresholds.emplace(names[v], Thresholds{*found});
  }
  result.float_bytes = constant_bytes(float_model.graph());
  result.quantized_bytes = constant_bytes(quantized.graph());
  const SampleHook hook = [s = state.get()](const TensorMap& tensors) {
    return s->observe(tensors);
  };
  state->graph = &graph;
  state->comparer.emplace(std::move(session_a), std::move(session_b), std::move(scaled), hook);
  return Diagnoser(std::move(state));
}

Status Diagnoser::observe(const NamedTensors& feeds) { return state_->comparer->observe(feeds); }

Result<Diagnosis> Diagnoser::finish() {
  const State& s = *state_;
  const Graph& graph = *s.graph;
  OCTAVO_ASSIGN(Comparison comparison, s.comparer->finish());
  Diagnosis result = s.result;
  result.samples = comparison.samples;
  result.agreement = comparison.agreement;
  result.outputs = std::move(comparison.outputs);
  for (TensorComparison& tensor : comparison.tensors) {
    TensorDiagnosis& made = result.tensors.emplace_back(TensorDiagnosis{std::move(tensor)});
    const ValueId id = graph.find_value(made.tensor);
    if (id == kNoValue) continue;
    made.dtype = std::string(dtype_name(graph.value(id).dtype));
    made.quantized = graph.value(id).quant != nullptr;
    const auto found = s.thresholds.find(made.tensor);
    if (found == s.thresholds.end()) continue;
    const Thresholds& t = found->second;
    made.low = t.low;
    made.high = t.high;
    made.scale = t.scale;
    made.clipped = t.all == 0 ? 0 : static_cast<double>(t.outside) / static_cast<double>(t.all);
  }
  for (size_t i = 0; i < result.ops.size(); ++i) {
    OpDiagnosis& op = result.ops[i];
    if (s.own[i]) op.own_sqnr_db = s.own[i]->sqnr_db();
    const auto same = [&](const auto& tensor) { return tensor.tensor == op.tensor; };
    const auto inside = std::ranges::find_if(result.tensors, same);
    const auto outside = std::ranges::find_if(result.outputs, same);
    if (inside != result.tensors.end())
      op.sqnr_db = inside->sqnr_db;
    else if (outside != result.outputs.end())
      op.sqnr_db = outside->sqnr_db;
  }
  return result;
}

Result<Diagnosis> diagnose(const Model& float_model, const Model& quantized, DataLoader& data,
                           const QuantizeOptions& options) {
  OCTAVO_ASSIGN(Diagnoser diagnoser, Diagnoser::create(float_model, quantized, options.pool));
  OCTAVO_TRY(for_each_sample(data, options.progress,
                             [&](const NamedTensors& feeds) { return diagnoser.observe(feeds); }));
  return diagnoser.finish();
}

}  // namespace octavo
