#include "core/quantization/mixed_precision.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "core/graph_edit.h"
#include "runtime/ops/common.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

constexpr float kLargestF16 = 65504;

size_t index(ValueId value) { return static_cast<size_t>(value); }

// Which nodes are converted.
class Painter {
 public:
  Painter(const Graph& graph, std::span<MixedNode> nodes)
      : graph_(graph),
        nodes_(nodes),
        dtypes_(graph.values.size(), DType::kF32),
        denied_(graph.values.size(), false) {}

  void run() {
    for (size_t n = 0; n < nodes_.size(); ++n) {
      MixedNode& mixed = nodes_[n];
      if (mixed.reason.empty()) mixed.reason = why_not(graph_.nodes[n], mixed);
      mixed.converted = mixed.reason.empty();
      mark(graph_.nodes[n], mixed);
    }
    // What stands between constants (embeddings) or quantized values and half-precision readers
    // follows these.
    find_free_values();
    for (size_t n = nodes_.size(); n-- > 0;) {
      if (!follows_readers(n)) continue;
      nodes_[n].converted = true;
      nodes_[n].reason.clear();
      mark(graph_.nodes[n], nodes_[n]);
    }
  }

 private:
  bool is_constant(ValueId id) const { return graph_.value(id).constant.present(); }
  bool is_real(ValueId id) const {
    return id != kNoValue && graph_.value(id).dtype == DType::kF32 &&
           graph_.value(id).quant == nullptr;
  }

  void mark(const Node& node, const MixedNode& mixed) {
    const bool denies = !mixed.converted && spreads_denial(node, mixed);
    for (const ValueId id : node.outputs) {
      if (!is_real(id)) continue;
      dtypes_[index(id)] = mixed.converted ? mixed.dtype : DType::kF32;
      denied_[index(id)] = denies;
    }
  }

  // Precision that an operator of the deny list needs is needed by what follows it, too.
  bool spreads_denial(const Node& node, const MixedNode& mixed) const {
    if (mixed.policy == MixedPolicy::kAllow || node.kind == OpKind::kDequantizeLinear ||
        node.kind == OpKind::kCast) {
      return false;
    }
    if (mixed.policy == MixedPolicy::kDeny) return true;
    return std::ranges::any_of(node.inputs,
                               [&](ValueId id) { return is_real(id) && denied_[index(id)]; });
  }

  std::string why_not(const Node& node, const MixedNode& mixed) const {
    const OpDef& op = *find_op(node.kind);
    if ((op.flags & kHasBody) != 0) return "the graphs inside control flow stay float";
    for (const auto* ids : {&node.inputs, &node.outputs}) {
      for (const ValueId id : *ids) {
        if (id != kNoValue && graph_.value(id).quant != nullptr) return "quantized";
      }
    }
    if (!is_real(node.output(0))) return "its result is not float32";
    if (mixed.policy == MixedPolicy::kDeny) return "the operator needs float32";
    if (mixed.dtype == DType::kF16 && !fits_f16(op, node)) {
      return "a constant does not fit float16";
    }
    if (mixed.policy == MixedPolicy::kAllow) return "";
    bool any = false, any_denied = false;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!is_data(op, node, i)) continue;
      any |= dtypes_[index(node.inputs[i])] == mixed.dtype;
      any_denied |= denied_[index(node.inputs[i])];
    }
    if (any_denied) return "an operator that needs float32 comes before it";
    return any ? "" : kFloatInputs;
  }

  static bool is_data(const OpDef& op, size_t i) {
    return op.mixed.data_inputs == 0 || i < static_cast<size_t>(op.mixed.data_inputs);
  }
  bool is_data(const OpDef& op, const Node& node, size_t i) const {
    return is_data(op, i) && is_real(node.inputs[i]);
  }

  bool fits_f16(const OpDef& op, const Node& node) const {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!is_data(op, node, i) || !is_constant(node.inputs[i])) continue;
      for (const float value : graph_.value(node.inputs[i]).constant.data<const float>()) {
        if (std::fabs(value) > kLargestF16 && std::isfinite(value)) return false;
      }
    }
    return true;
  }

  // Values that cost nothing to have in half precision: constants, dequantized values, and what
  // is computed from these alone.
  void find_free_values() {
    free_.assign(graph_.values.size(), false);
    for (size_t v = 0; v < free_.size(); ++v) free_[v] = graph_.values[v].constant.present();
    for (size_t n = 0; n < nodes_.size(); ++n) {
      const Node& node = graph_.nodes[n];
      bool is_free = node.kind == OpKind::kDequantizeLinear;
      if (nodes_[n].reason == kFloatInputs) {
        const OpDef& op = *find_op(node.kind);
        is_free = true;
        for (size_t i = 0; i < node.inputs.size(); ++i) {
          is_free &= !is_data(op, node, i) || free_[index(node.inputs[i])];
        }
      }
      if (is_free) free_[index(node.output(0))] = true;
    }
  }

  bool follows_readers(size_t n) const {
    const Node& node = graph_.nodes[n];
    const MixedNode& mixed = nodes_[n];
    if (mixed.reason != kFloatInputs || !free_[index(node.output(0))]) return false;
    const ValueId output = node.output(0);
    if (std::ranges::find(graph_.outputs, output) != graph_.outputs.end()) return false;
    bool any = false;
    for (size_t r = n + 1; r < nodes_.size(); ++r) {
      const Node& reader = graph_.nodes[r];
      for (size_t i = 0; i < reader.inputs.size(); ++i) {
        if (reader.inputs[i] != output) continue;
        if (!nodes_[r].converted || nodes_[r].dtype != mixed.dtype ||
            !is_data(*find_op(reader.kind), i)) {
          return false;
        }
        any = true;
      }
    }
    return any;
  }

  static constexpr const char* kFloatInputs = "its inputs are float32";

  const Graph& graph_;
  std::span<MixedNode> nodes_;
  std::vector<DType> dtypes_;  // by ValueId: what a float value becomes
  std::vector<bool> denied_;   // by ValueId: comes from an operator that needs float32
  std::vector<bool> free_;     // by ValueId
};

class Rewriter {
 public:
  Rewriter(const Graph& graph, std::span<const MixedNode> nodes) : source_(graph), nodes_(nodes) {}

  Result<Graph> run() {
    graph_ = source_;
    graph_.nodes.clear();
    for (const Value& value : graph_.values) names_.insert(value.name);
    current_.resize(source_.values.size());
    for (size_t v = 0; v < current_.size(); ++v) current_[v] = static_cast<ValueId>(v);
    for (size_t n = 0; n < nodes_.size(); ++n) OCTAVO_TRY(rewrite(source_.nodes[n], nodes_[n]));
    GraphEditor(graph_).prune();  // float constants that nobody reads any more
    return std::move(graph_);
  }

 private:
  ValueId add_value(const std::string& name, DType dtype, const Shape& shape) {
    std::string unique = name;
    for (int i = 1; !names_.insert(unique).second; ++i) unique = concat(name, "_", i);
    return graph_.add_value({.name = std::move(unique), .dtype = dtype, .shape = shape});
  }

  static std::string suffix(DType dtype) {
    return dtype == DType::kF32 ? "_fp32" : dtype == DType::kF16 ? "_fp16" : "_bf16";
  }

  void add_cast(ValueId from, ValueId to) {
    Node cast{.kind = OpKind::kCast,
              .inputs = {from},
              .outputs = {to},
              .name = concat(graph_.value(to).name, "_cast")};
    cast.set("to", ops::dtype_to_onnx(graph_.value(to).dtype));
    graph_.nodes.push_back(std::move(cast));
  }

  // The source's value as elements of `dtype`, converted where it is first needed.
  Result<ValueId> as(ValueId source, DType dtype) {
    const ValueId from = current_[index(source)];
    if (graph_.value(from).dtype == dtype) return from;
    const auto [found, is_new] = converted_.try_emplace({source, dtype}, kNoValue);
    if (!is_new) return found->second;
    const Value& value = source_.value(source);
    const ValueId to = add_value(concat(value.name, suffix(dtype)), dtype, value.shape);
    found->second = to;
    if (value.constant.present()) {
      OCTAVO_ASSIGN(graph_.value(to).constant, Tensor::create(dtype, value.constant.shape()));
      OCTAVO_TRY(ops::cast_elements(value.constant.view(), graph_.value(to).constant.view()));
    } else {
      add_cast(from, to);
    }
    return to;
  }

  Status rewrite(const Node& source, const MixedNode& mixed) {
    const OpDef& op = *find_op(source.kind);
    Node node = source;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId id = source.inputs[i];
      if (id == kNoValue || source_.value(id).dtype != DType::kF32 ||
          source_.value(id).quant != nullptr) {
        continue;
      }
      const bool is_data =
          op.mixed.data_inputs == 0 || i < static_cast<size_t>(op.mixed.data_inputs);
      OCTAVO_ASSIGN(node.inputs[i], as(id, mixed.converted && is_data ? mixed.dtype : DType::kF32));
    }
    if (!mixed.converted) {
      graph_.nodes.push_back(std::move(node));
      return {};
    }
    std::vector<std::pair<ValueId, ValueId>> outputs;  // half precision, the graph's float output
    for (ValueId& id : node.outputs) {
      if (id == kNoValue || source_.value(id).dtype != DType::kF32) continue;
      const ValueId original = id;
      if (std::ranges::find(source_.outputs, id) != source_.outputs.end()) {
        id = add_value(concat(source_.value(id).name, suffix(mixed.dtype)), mixed.dtype,
                       source_.value(id).shape);
        outputs.emplace_back(id, original);
        converted_[{original, DType::kF32}] = original;
      }
      graph_.value(id).dtype = mixed.dtype;
      current_[index(original)] = id;
    }
    graph_.nodes.push_back(std::move(node));
    for (const auto& [half, original] : outputs) add_cast(half, original);
    return {};
  }

  const Graph& source_;
  std::span<const MixedNode> nodes_;
  Graph graph_;
  std::unordered_set<std::string> names_;
  std::vector<ValueId> current_;  // by the source's ValueId: the value that its producer computes
  std::map<std::pair<ValueId, DType>, ValueId> converted_;
};

}  // namespace

Result<Graph> convert_mixed(const Graph& graph, std::span<MixedNode> nodes) {
  Painter(graph, nodes).run();
  return Rewriter(graph, nodes).run();
}

void report_mixed(const Graph& graph, std::span<const MixedNode> nodes, QuantizeReport& report) {
  std::unordered_map<std::string, size_t> entries;  // of named nodes
  for (size_t i = 0; i < report.nodes.size(); ++i) entries.try_emplace(report.nodes[i].name, i);
  for (size_t n = 0; n < nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const MixedNode& mixed = nodes[n];
    if (is_conversion(node)) continue;
    const auto [found, is_new] = entries.try_emplace(node.name, report.nodes.size());
    if (is_new || node.name.empty()) {
      found->second = report.nodes.size();
      report.nodes.push_back({.name = node.name, .op = std::string(op_name(node.kind))});
    } else if (!mixed.converted && mixed.reason.empty()) {
      continue;
    }
    NodeReport& entry = report.nodes[found->second];
    entry.quantized = mixed.converted;
    entry.reason = mixed.reason;
    if (!mixed.converted) continue;
    entry.activations = mixed.dtype == DType::kBF16 ? "bf16" : "fp16";
    const bool has_weights = std::ranges::any_of(node.inputs, [&](ValueId id) {
      return id != kNoValue && graph.value(id).constant.present() &&
             graph.value(id).dtype == DType::kF32;
    });
    if (has_weights) entry.weights = entry.activations;
  }
}

}  // namespace octavo
