#include "core/quantization/annotate.h"

#include <algorithm>

#include "core/quantization/params.h"

namespace octavo {
namespace {

class Annotator {
 public:
  Annotator(const Graph& graph, const StaticQuantConfig& config, std::span<const KeptFloat> kept)
      : graph_(graph), config_(config), kept_(kept.begin(), kept.end()) {
    keep_ends();
  }

  Annotation run() {
    const size_t values = graph_.values.size();
    result_.nodes.resize(graph_.nodes.size());
    result_.producers.assign(values, -1);
    result_.quantized_use.assign(values, false);
    produced_.assign(values, false);
    if (config_.io_dtype != "fp32") {
      result_.io_dtype = integer_type(config_.io_dtype);
      for (const ValueId id : graph_.inputs) produced_[static_cast<size_t>(id)] = is_float(id);
    }
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      for (const ValueId id : graph_.nodes[n].outputs) {
        if (id != kNoValue) result_.producers[static_cast<size_t>(id)] = static_cast<NodeId>(n);
      }
    }
    for (size_t n = 0; n < graph_.nodes.size(); ++n) forward(graph_.nodes[n], result_.nodes[n]);
    for (size_t n = graph_.nodes.size(); n-- > 0;) backward(graph_.nodes[n], result_.nodes[n]);
    return std::move(result_);
  }

 private:
  bool is_constant(ValueId id) const { return graph_.value(id).constant.present(); }
  bool is_float(ValueId id) const { return graph_.value(id).dtype == DType::kF32; }

  // The first and the last product, if they are not to be quantized.
  void keep_ends() {
    NodeId first = -1, last = -1;
    for (NodeId n = 0; n < static_cast<NodeId>(graph_.nodes.size()); ++n) {
      const Node& node = graph_.node(n);
      const QuantRule& rule = find_op(node.kind)->quant;
      if (rule.policy != QuantPolicy::kCompute || rule.weight_input < 0) continue;
      const ValueId weight = node.input(static_cast<size_t>(rule.weight_input));
      if (weight == kNoValue || !is_constant(weight)) continue;
      if (first < 0) first = n;
      last = n;
    }
    if (first >= 0 && !config_.first_conv_or_matmul_quantization) {
      kept_.push_back({first, "first_conv_or_matmul_quantization is false"});
    }
    if (last >= 0 && !config_.last_conv_or_matmul_quantization) {
      kept_.push_back({last, "last_conv_or_matmul_quantization is false"});
    }
  }

  // From producers to consumers: what can be quantized.
  void forward(const Node& node, NodeAnnotation& a) {
    const OpDef& op = *find_op(node.kind);
    a.config = &config_.resolve(node.name, op.name);
    a.reason = why_not(node, op, a);
    a.quantized = a.reason.empty();
    if (!a.quantized) return;
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) produced_[static_cast<size_t>(id)] = true;
    }
  }

  std::string why_not(const Node& node, const OpDef& op, NodeAnnotation& a) const {
    if ((op.flags & kHasBody) != 0) return "the graphs inside control flow stay float";
    if (op.quant.policy == QuantPolicy::kFloatOnly) return "the operator has no integer form";
    if (!config_.allows(node.name, op.name)) return "not in white_list";
    const auto kept = std::ranges::find(kept_, &node - graph_.nodes.data(), &KeptFloat::node);
    if (kept != kept_.end()) return kept->reason;
    for (const char* dtype : {"fp32", "bf16"}) {
      if (a.config->act_dtype == dtype) return concat("act_dtype is ", dtype);
      if (op.quant.policy == QuantPolicy::kCompute && a.config->weight_dtype == dtype) {
        return concat("weight_dtype is ", dtype);
      }
    }
    const ValueId first = node.input(0);
    if (first == kNoValue || !is_float(first)) {
      return first == kNoValue ? "its first input is absent"
                               : concat("its input is ", dtype_name(graph_.value(first).dtype));
    }
    for (const ValueId id : node.outputs) {
      if (id != kNoValue && !is_float(id)) return "one of its outputs is not float";
    }
    switch (op.quant.policy) {
      case QuantPolicy::kCompute: return why_not_compute(node, op, a);
      case QuantPolicy::kRequantize: return why_not_requantize(node, op, a);
      default: a.data_inputs = {0}; return is_produced(first) ? "" : kNoNeighbour;
    }
  }

  std::string why_not_compute(const Node& node, const OpDef& op, NodeAnnotation& a) const {
    const ValueId weight = op.quant.weight_input < 0
                               ? kNoValue
                               : node.input(static_cast<size_t>(op.quant.weight_input));
    if (weight == kNoValue || !is_constant(weight)) return "its weights are not constant";
    if (!is_float(weight)) return "its weights are not f32";
    if (is_constant(node.input(0))) return "its activations are constant";
    if (graph_.value(weight).constant.elements() == 0) return "its weights are empty";
    const ValueId bias =
        op.quant.bias_input < 0 ? kNoValue : node.input(static_cast<size_t>(op.quant.bias_input));
    if (bias != kNoValue && (!is_constant(bias) || !is_float(bias))) {
      return "its bias is not a constant";
    }
    a.data_inputs = {0};
    return "";
  }

  std::string why_not_requantize(const Node& node, const OpDef& op, NodeAnnotation& a) const {
    bool any_produced = false;
    const int data_inputs = op.quant.data_inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      if (id == kNoValue || (data_inputs > 0 && static_cast<int>(i) >= data_inputs)) continue;
      if (!is_float(id)) {
        if (i == 0) return "its inputs are not float";
        continue;
      }
      if (is_constant(id) && graph_.value(id).constant.elements() == 0) return "an input is empty";
      any_produced |= is_produced(id);
      a.data_inputs.push_back(i);
    }
    return any_produced ? "" : kNoNeighbour;
  }

  bool is_produced(ValueId id) const { return produced_[static_cast<size_t>(id)]; }

  // From consumers to producers: what is worth it. Only integer consumers are.
  void backward(const Node& node, NodeAnnotation& a) {
    if (!a.quantized) return;
    bool any_use = false;
    for (const ValueId id : node.outputs) {
      if (id != kNoValue && result_.io_dtype != DType::kF32 &&
          std::ranges::find(graph_.outputs, id) != graph_.outputs.end()) {
        result_.quantized_use[static_cast<size_t>(id)] = true;
      }
      any_use |= id != kNoValue && result_.quantized_use[static_cast<size_t>(id)];
    }
    const OpDef& op = *find_op(node.kind);
    if (!any_use && op.quant.policy != QuantPolicy::kCompute) {
      a.quantized = false;
      a.reason = "its results are used as floats only";
      return;
    }
    // Matrix products end in float where nobody wants integers; convolutions always give integers,
    // which is what other runtimes ask for to run them as integers.
    const bool is_matrix_product =
        op.quant.policy == QuantPolicy::kCompute &&
        graph_.value(node.input(static_cast<size_t>(op.quant.weight_input))).shape.rank() <= 2;
    a.float_output = !any_use && is_matrix_product;
    for (const size_t i : a.data_inputs) {
      result_.quantized_use[static_cast<size_t>(node.inputs[i])] = true;
    }
  }

  static constexpr const char* kNoNeighbour = "no quantized neighbour";

  const Graph& graph_;
  const StaticQuantConfig& config_;
  std::vector<KeptFloat> kept_;
  Annotation result_;
  std::vector<bool> produced_;  // by ValueId: could leave its producer as integers
};

// Of operators that compute with floats: shapes and indices are integers anyway.
Status check_integer_only(const Graph& graph, const Annotation& annotation) {
  const auto is_float = [&](ValueId id) {
    return id != kNoValue && !graph.value(id).constant.present() &&
           graph.value(id).dtype == DType::kF32;
  };
  std::string list;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (annotation.nodes[n].quantized) continue;
    if (!std::ranges::any_of(node.inputs, is_float) &&
        !std::ranges::any_of(node.outputs, is_float)) {
      continue;
    }
    list += concat(list.empty() ? "" : ", ", op_name(node.kind), " '", node.name, "' (",
                   annotation.nodes[n].reason, ")");
  }
  if (list.empty()) return {};
  return fail(ErrorCode::kUnsupportedOp, "integer_only: these operators stay float: ", list);
}

}  // namespace

bool Annotation::is_produced_quantized(const Graph& graph, ValueId value) const {
  const NodeId producer = producers[static_cast<size_t>(value)];
  if (producer < 0 || graph.value(value).dtype != DType::kF32) return false;
  const NodeAnnotation& a = nodes[static_cast<size_t>(producer)];
  return a.quantized && !a.float_output;
}

Result<Annotation> annotate(const Graph& graph, const StaticQuantConfig& config,
                            std::span<const KeptFloat> kept) {
  for (const Value& value : graph.values) {
    if (value.quant != nullptr) {
      return fail(ErrorCode::kInvalidArgument,
                  "the model is quantized already; quantize the float model it was made from");
    }
  }
  OCTAVO_TRY(check_patterns(graph, config));
  Annotation annotation = Annotator(graph, config, kept).run();
  if (config.integer_only) OCTAVO_TRY(check_integer_only(graph, annotation));
  return annotation;
}

Status check_patterns(const Graph& graph, std::span<const std::string> local,
                      std::span<const std::string> white_list) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) {
    if (!node.name.empty()) names.push_back(node.name);
    const std::string type(op_name(node.kind));
    if (std::ranges::find(names, type) == names.end()) names.push_back(type);
  }
  const auto check = [&](std::string_view where, const std::string& pattern) -> Status {
    if (std::ranges::any_of(names, [&](const std::string& n) { return glob_match(pattern, n); })) {
      return {};
    }
    return fail(ErrorCode::kNotFound, where, " '", pattern,
                "' matches no node or operator type of the model", did_you_mean(pattern, names));
  };
  for (const std::string& pattern : local) {
    OCTAVO_TRY(check("the local configuration", pattern));
  }
  for (const std::string& pattern : white_list) {
    // A list of operator types serves many models.
    if (find_op("", pattern) == nullptr) OCTAVO_TRY(check("the white_list entry", pattern));
  }
  return {};
}

int weight_axis(const OpDef& op, const Node& node, int rank) {
  int axis = op.quant.weight_axis;
  // Gemm's rule is for transB = 1.
  if (find_field(op, "transB") != nullptr && node.get_int("transB") == 0) axis = -1 - axis;
  if (axis < 0) axis += rank;
  return std::clamp(axis, 0, std::max(rank - 1, 0));
}

}  // namespace octavo
