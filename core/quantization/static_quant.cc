#include "core/quantization/static_quant.h"

#include <algorithm>
#include <map>
#include <unordered_set>

#include "core/graph_edit.h"
#include "core/quantization/choose_params.h"
#include "core/quantization/saturation.h"
#include "runtime/quantize_view.h"
#include "runtime/requantize.h"

namespace octavo {
namespace {

// A scale that prevents a saturating sum is this much larger than the sum was too large.
constexpr double kPastRounding = 1.001;

using ParamsPtr = std::shared_ptr<const QuantParams>;

class Rewriter {
 public:
  Rewriter(const Graph& graph, const Annotation& annotation, std::vector<TensorQuant> quants,
           const ChannelStats* stats, const ChannelStats& channels, WeightRounder& rounder,
           QuantizeReport& report)
      : source_(graph),
        annotation_(annotation),
        quants_(std::move(quants)),
        stats_(stats),
        channels_(channels),
        rounder_(rounder),
        report_(report) {}

  Result<Graph> run() {
    graph_ = source_;
    graph_.nodes.clear();
    for (const Value& value : graph_.values) names_.insert(value.name);
    params_.resize(source_.values.size());
    for (size_t v = 0; v < params_.size(); ++v) {
      if (quants_[v].dtype == DType::kUndefined) continue;
      params_[v] = std::make_shared<QuantParams>(quants_[v].params);
    }
    if (annotation_.io_dtype != DType::kF32) OCTAVO_TRY(make_inputs_integers());
    for (size_t n = 0; n < source_.nodes.size(); ++n) {
      auto status = rewrite(static_cast<NodeId>(n), annotation_.nodes[n]);
      if (!status) {
        Error error = std::move(status).error();
        if (error.node.empty()) error.node = source_.nodes[n].name;
        return std::unexpected(std::move(error));
      }
    }
    GraphEditor(graph_).prune();  // float constants that only quantized nodes read
    return std::move(graph_);
  }

 private:
  static size_t index(ValueId value) { return static_cast<size_t>(value); }

  ValueId add_value(std::string name, DType dtype, const Shape& shape, ParamsPtr quant) {
    std::string unique = name;
    for (int i = 1; !names_.insert(unique).second; ++i) unique = concat(name, "_", i);
    return graph_.add_value(
        {.name = std::move(unique), .dtype = dtype, .shape = shape, .quant = std::move(quant)});
  }

  ValueId add_constant(const std::string& name, Tensor tensor, ParamsPtr quant) {
    const ValueId id =
        add_value(concat(name, "_quantized"), tensor.dtype(), tensor.shape(), std::move(quant));
    graph_.value(id).constant = std::move(tensor);
    return id;
  }

  ValueId convert(OpKind kind, ValueId from, const char* suffix, DType dtype, ParamsPtr quant) {
    const std::string name = graph_.value(from).name;
    const ValueId to =
        add_value(concat(name, suffix), dtype, graph_.value(from).shape, std::move(quant));
    graph_.nodes.push_back(
        {.kind = kind, .inputs = {from}, .outputs = {to}, .name = concat(name, suffix)});
    return to;
  }

  Status check_io(ValueId value) const {
    if (quants_[index(value)].dtype == annotation_.io_dtype) return {};
    return std::unexpected(
        Error{ErrorCode::kInvalidArgument,
              concat("io_dtype is ", integer_name(annotation_.io_dtype), ", but activations are ",
                     integer_name(quants_[index(value)].dtype),
                     "; with act_sym false they have the type of act_dtype; symmetric ones are "
                     "unsigned, but for int16"),
              {},
              source_.value(value).name});
  }

  Status make_inputs_integers() {
    for (const ValueId value : source_.inputs) {
      if (quants_[index(value)].dtype == DType::kUndefined) continue;
      OCTAVO_TRY(check_io(value));
      graph_.value(value).dtype = quants_[index(value)].dtype;
      graph_.value(value).quant = params_[index(value)];
      quantized_[value] = value;
    }
    return {};
  }

  // The value as integers, made where it is first needed.
  Result<ValueId> quantized(ValueId value) {
    if (const auto found = quantized_.find(value); found != quantized_.end()) return found->second;
    ValueId id = kNoValue;
    const TensorQuant& quant = quants_[index(value)];
    const Value& source = source_.value(value);
    if (source.constant.present()) {
      if (!finite_range(source.constant.data<const float>())) {
        return std::unexpected(Error{ErrorCode::kInvalidModel,
                                     "the constant holds NaN or infinite values",
                                     {},
                                     source.name});
      }
      OCTAVO_ASSIGN(Tensor tensor, quantize_tensor(source.constant, quant));
      id =
          add_constant(source.name, std::move(tensor), std::make_shared<QuantParams>(quant.params));
    } else {
      id =
          convert(OpKind::kQuantizeLinear, value, "_quantized", quant.dtype, params_[index(value)]);
    }
    quantized_[value] = id;
    return id;
  }

  // The value as floats.
  ValueId real(ValueId value) {
    if (value == kNoValue) return value;
    const bool is_integer_input = annotation_.io_dtype != DType::kF32 &&
                                  quantized_.contains(value) && quantized_[value] == value;
    if (!is_integer_input && !annotation_.is_produced_quantized(source_, value)) return value;
    const auto found = real_.find(value);
    if (found != real_.end()) return found->second;
    const ValueId id = convert(OpKind::kDequantizeLinear, value, "_dequantized", DType::kF32, {});
    real_[value] = id;
    return id;
  }

  Status rewrite(NodeId id, const NodeAnnotation& a) {
    const Node& source = source_.node(id);
    NodeReport& report = report_.nodes.emplace_back();
    report.name = source.name;
    report.op = std::string(op_name(source.kind));
    report.quantized = a.quantized;
    report.reason = a.reason;
    Node node = source;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool is_data = std::ranges::find(a.data_inputs, i) != a.data_inputs.end();
      if (a.quantized && is_data) {
        OCTAVO_ASSIGN(node.inputs[i], quantized(source.inputs[i]));
      } else {
        node.inputs[i] = real(source.inputs[i]);
      }
    }
    if (!a.quantized) {
      graph_.nodes.push_back(std::move(node));
      return {};
    }
    const OpDef& op = *find_op(source.kind);
    report.activations = activations_of(node, a);
    if (op.quant.policy == QuantPolicy::kCompute) {
      OCTAVO_TRY(quantize_weights(op, id, node, a, report));
    }
    if (!a.float_output) OCTAVO_TRY(drop_redundant_activation(node));
    graph_.nodes.push_back(std::move(node));
    if (!a.float_output) OCTAVO_TRY(finish_outputs(source));
    return {};
  }

  // The type of the integers; those of 4 and 16 bits have no integer kernels.
  std::string activations_of(const Node& node, const NodeAnnotation& a) const {
    const auto is_byte = [&](ValueId id) {
      return id == kNoValue || quants_[index(id)].dtype == DType::kU8 ||
             quants_[index(id)].dtype == DType::kI8;
    };
    const DType dtype = graph_.value(node.inputs[a.data_inputs[0]]).dtype;
    const bool exact = dtype == DType::kU8 || dtype == DType::kI8;
    const bool to_bytes = a.float_output || std::ranges::all_of(node.outputs, is_byte);
    return concat(integer_name(dtype), exact && to_bytes ? "" : ", computed in float32");
  }

  // A Relu in front of unsigned integers that begin at zero, say.
  Status drop_redundant_activation(Node& node) const {
    if (!node.has("activation")) return {};
    OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
    const size_t output = index(node.outputs[0]);
    if (is_redundant(bounds, quants_[output].dtype, *params_[output])) {
      node.unset("activation");
      node.unset("activation_params");
    }
    return {};
  }

  // Outputs become integers under their own names; graph outputs are given back as floats, unless
  // io_dtype says otherwise.
  Status finish_outputs(const Node& source) {
    for (size_t i = 0; i < source.outputs.size(); ++i) {
      const ValueId value = source.outputs[i];
      if (value == kNoValue) continue;
      const bool is_output = std::ranges::find(source_.outputs, value) != source_.outputs.end();
      const bool io_is_float = annotation_.io_dtype == DType::kF32;
      if (is_output && !io_is_float) OCTAVO_TRY(check_io(value));
      ValueId id = value;
      if (is_output && io_is_float) {
        id = add_value(concat(source_.value(value).name, "_quantized"), DType::kUndefined,
                       source_.value(value).shape, nullptr);
        graph_.nodes.back().outputs[i] = id;
        real_[value] = value;
      }
      graph_.value(id).dtype = quants_[index(value)].dtype;
      graph_.value(id).quant = params_[index(value)];
      quantized_[value] = id;
    }
    for (const ValueId value : source.outputs) {
      if (value == kNoValue || quantized_[value] == value) continue;
      graph_.nodes.push_back({.kind = OpKind::kDequantizeLinear,
                              .inputs = {quantized_[value]},
                              .outputs = {value},
                              .name = concat(source_.value(value).name, "_dequantized")});
    }
    return {};
  }

  Status quantize_weights(const OpDef& op, NodeId id, Node& node, const NodeAnnotation& a,
                          NodeReport& report) {
    const Node& source = source_.node(id);
    const auto slot = static_cast<size_t>(op.quant.weight_input);
    const Value weight = source_.value(node.inputs[slot]);
    const int axis = weight_axis(op, node, weight.shape.rank());
    auto quant = weight_params(weight.constant, axis, *a.config);
    if (!quant) {
      return std::unexpected(
          Error{quant.error().code, quant.error().message, node.name, weight.name});
    }
    if (a.config->overflow_fix) {
      OCTAVO_TRY(avoid_saturation(source, weight.constant, axis, *a.config, *quant));
    }
    const float input_scale = graph_.value(node.inputs[0]).quant->scale[0];
    OCTAVO_ASSIGN(std::optional<Bias> bias, read_bias(op, source));
    const QuantParams before = quant->params;
    // Beside 16 bits int32 is too narrow for a bias; what is computed in floats needs no integer.
    const bool integer_bias =
        dtype_bytes(quant->dtype) == 1 && dtype_bytes(graph_.value(node.inputs[0]).dtype) == 1;
    const auto fit = [&] {
      if (bias && integer_bias) {
        fit_bias(bias->real.data<const float>(), input_scale, quant->params);
      }
    };
    fit();
    const bool corrects = stats_ != nullptr && op.quant.bias_input >= 0;
    OCTAVO_ASSIGN(Tensor integers, rounder_.round(id, weight.constant, axis, *quant, corrects));
    if (corrects) OCTAVO_TRY(correct_bias(source, weight.constant, *quant, integers, bias));
    const QuantParams corrected = quant->params;
    fit();
    if (quant->params != corrected) {
      OCTAVO_ASSIGN(integers, rounder_.round(id, weight.constant, axis, *quant, corrects));
    }
    warn_of_raised_scales(before, quant->params, node.name);
    const ValueId quantized_weight =
        weight_constant(node.inputs[slot], *quant, std::move(integers));
    node.inputs[slot] = quantized_weight;
    if (bias) {
      Tensor stored = bias->real;
      if (integer_bias) {
        OCTAVO_ASSIGN(stored, round_bias(bias->real, input_scale, quant->params));
      }
      const auto at = static_cast<size_t>(op.quant.bias_input);
      node.inputs.resize(std::max(node.inputs.size(), at + 1), kNoValue);
      node.inputs[at] = add_constant(bias->name, std::move(stored), nullptr);
    }
    report.weights = concat(integer_name(quant->dtype),
                            quant->params.per_tensor() ? " per_tensor" : " per_channel");
    return {};
  }

  // Larger scales for the output channels whose sums could saturate, so that they just cannot, but
  // no larger than those of 7 bits, whose never do.
  Status avoid_saturation(const Node& source, const Tensor& weights, int axis,
                          StaticQuantConfig config, TensorQuant& quant) const {
    const TensorQuant& input = quants_[index(source.inputs[0])];
    if (quant.dtype != DType::kI8 || (input.dtype != DType::kU8 && input.dtype != DType::kI8)) {
      return {};
    }
    std::vector<int> most;
    if (axis == 0) {
      for (const Range& range : channels_.ranges(source.inputs[0])) {
        most.push_back(largest_integer(range.max, input));
      }
    }
    if (most.empty()) most = {255};
    config.reduce_range = true;
    OCTAVO_ASSIGN(const TensorQuant reduced, weight_params(weights, axis, config));
    for (bool changed = true; changed;) {  // rounding may leave a little too much
      changed = false;
      OCTAVO_ASSIGN(const Tensor integers, quantize_tensor(weights, quant));
      std::vector<double> excess = saturation(integers, axis, most);
      if (quant.params.per_tensor()) excess = {std::ranges::max(excess)};
      for (size_t c = 0; c < quant.params.scale.size(); ++c) {
        const float most_needed = reduced.params.scale[c];
        if (excess[c] <= 1 || quant.params.scale[c] >= most_needed) continue;
        const auto needed = static_cast<float>(quant.params.scale[c] * excess[c] * kPastRounding);
        changed = true;
        // Of asymmetric weights the zero point would move too.
        const bool all = !config.weight_sym || needed >= most_needed;
        quant.params.scale[c] = all ? most_needed : needed;
        if (all) quant.params.zero_point[c] = reduced.params.zero_point[c];
      }
    }
    return {};
  }

  struct Bias {
    std::string name;
    Tensor real;
  };

  Result<std::optional<Bias>> read_bias(const OpDef& op, const Node& source) const {
    const ValueId id =
        op.quant.bias_input < 0 ? kNoValue : source.input(static_cast<size_t>(op.quant.bias_input));
    if (id == kNoValue) return std::nullopt;
    const Value& value = source_.value(id);
    if (!finite_range(value.constant.data<const float>())) {
      return std::unexpected(Error{ErrorCode::kInvalidModel,
                                   "the bias holds NaN or infinite values", source.name,
                                   value.name});
    }
    return Bias{value.name, value.constant};
  }

  // Takes what rounding the weights does to the mean output from the bias, which is made if absent.
  Status correct_bias(const Node& source, const Tensor& weights, const TensorQuant& quant,
                      const Tensor& integers, std::optional<Bias>& bias) const {
    OCTAVO_ASSIGN(Tensor rounded, Tensor::create(DType::kF32, weights.shape()));
    OCTAVO_TRY(dequantize_view(integers.view(&quant.params), rounded.data<float>().data()));
    const std::vector<double> shift = output_shift(source_, source, weights, rounded, *stats_);
    if (shift.empty() || (bias && bias->real.elements() != static_cast<int64_t>(shift.size()))) {
      return {};
    }
    Bias corrected{bias ? bias->name : concat(source.name, "_bias"), {}};
    OCTAVO_ASSIGN(corrected.real,
                  Tensor::create(DType::kF32, Shape{static_cast<int64_t>(shift.size())}));
    const auto to = corrected.real.data<float>();
    for (size_t c = 0; c < shift.size(); ++c) {
      const float before = bias ? bias->real.data<const float>()[c] : 0;
      to[c] = static_cast<float>(before - shift[c]);
    }
    bias = std::move(corrected);
    return {};
  }

  // Of a dead channel, whose weights are next to nothing, nothing is lost.
  void warn_of_raised_scales(const QuantParams& before, const QuantParams& after,
                             const std::string& node) {
    constexpr float kDead = 1e-6f;  // of the largest channel
    const float largest = std::ranges::max(before.scale);
    for (size_t c = 0; c < before.scale.size(); ++c) {
      if (after.scale[c] == before.scale[c] || before.scale[c] < kDead * largest) continue;
      report_.warnings.push_back(
          concat("the weight scales of '", node, "' were raised so that its bias fits int32"));
      return;
    }
  }

  // Nodes that share weights share their integers where they agree.
  ValueId weight_constant(ValueId source, const TensorQuant& quant, Tensor integers) {
    for (const ValueId made : weights_[source]) {
      const Value& value = graph_.value(made);
      if (value.dtype == quant.dtype && *value.quant == quant.params &&
          std::ranges::equal(value.constant.raw_bytes(), integers.raw_bytes())) {
        return made;
      }
    }
    const ValueId id = add_constant(source_.value(source).name, std::move(integers),
                                    std::make_shared<QuantParams>(quant.params));
    weights_[source].push_back(id);
    return id;
  }

  const Graph& source_;
  const Annotation& annotation_;
  std::vector<TensorQuant> quants_;  // by ValueId
  const ChannelStats* stats_;        // nullptr: biases are not corrected
  const ChannelStats& channels_;
  WeightRounder& rounder_;
  QuantizeReport& report_;
  Graph graph_;
  std::unordered_set<std::string> names_;
  std::vector<ParamsPtr> params_;                    // by ValueId of the source
  std::map<ValueId, ValueId> quantized_, real_;      // source value -> value
  std::map<ValueId, std::vector<ValueId>> weights_;  // source weight -> its quantized copies
};

}  // namespace

Result<Graph> rewrite_static(const Graph& graph, const Annotation& annotation,
                             const Calibration& calibration, const ChannelStats* stats,
                             const ChannelStats& channels, WeightRounder& rounder,
                             QuantizeReport& report) {
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const Collector* collector = calibration.collectors[v].get();
    if (collector != nullptr && !collector->seen()) {
      report.warnings.push_back(concat("the calibration data never reached '", graph.values[v].name,
                                       "'; its range is unknown"));
    }
  }
  OCTAVO_ASSIGN(std::vector<TensorQuant> quants, choose_params(graph, annotation, calibration));
  return Rewriter(graph, annotation, std::move(quants), stats, channels, rounder, report).run();
}

}  // namespace octavo
