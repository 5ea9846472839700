#include "core/quantization/choose_params.h"

#include <algorithm>
#include <numeric>

#include "core/calibration/range.h"
#include "core/quantization/useful_range.h"

namespace octavo {
namespace {

// Concat copies inputs whose range is at least this share of the output's without requantizing.
constexpr float kSharedRange = 0.5f;

const StaticQuantConfig* config_of_value(const Graph& graph, const Annotation& annotation,
                                         ValueId value) {
  const NodeId producer = annotation.producers[static_cast<size_t>(value)];
  if (producer >= 0 && annotation.nodes[static_cast<size_t>(producer)].quantized) {
    return annotation.nodes[static_cast<size_t>(producer)].config;
  }
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const NodeAnnotation& a = annotation.nodes[n];
    if (!a.quantized) continue;
    for (const size_t i : a.data_inputs) {
      if (graph.nodes[n].inputs[i] == value) return a.config;
    }
  }
  return nullptr;
}

// Chooses each value's parameters. Values that must share them form groups.
class ParamsChooser {
 public:
  ParamsChooser(const Graph& graph, const Annotation& annotation, const Calibration& calibration)
      : graph_(graph), annotation_(annotation), calibration_(calibration) {
    groups_.resize(graph.values.size());
    std::iota(groups_.begin(), groups_.end(), 0);
  }

  /// Parameters of every value that is quantized (by ValueId), else of dtype kUndefined.
  Result<std::vector<TensorQuant>> run() {
    group_same_scale();
    OCTAVO_TRY(collect_ranges());
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (annotation_.nodes[n].quantized) share_with_copies(n);
    }
    for (size_t n = 0; n < graph_.nodes.size(); ++n) saturate_before_clip(n);
    std::vector<TensorQuant> quants(graph_.values.size());
    for (size_t v = 0; v < quants.size(); ++v) {
      const auto value = static_cast<ValueId>(v);
      if (!is_quantized(value)) continue;
      const ValueId root = find(value);
      if (const OpDef* fixed = fixed_producer(root)) {
        quants[v] = fixed_params(fixed->quant.fixed_scale, fixed->quant.fixed_signed, config(root));
      } else {
        quants[v] =
            activation_params(ranges_[static_cast<size_t>(root)], is_input(root), config(root));
      }
    }
    return quants;
  }

  Result<std::vector<KeptFloat>> mixed_range_concats() {
    group_same_scale();
    OCTAVO_TRY(collect_ranges());
    std::vector<KeptFloat> kept;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      if (!annotation_.nodes[n].quantized || node.kind != OpKind::kConcat) continue;
      float largest = 0, smallest = std::numeric_limits<float>::max();
      for (const ValueId input : node.inputs) {
        const float m = magnitude(input);
        if (m == 0) continue;
        largest = std::max(largest, m);
        smallest = std::min(smallest, m);
      }
      const double limit = annotation_.nodes[n].config->max_concat_ratio;
      if (limit == 0 || largest <= limit * smallest) continue;
      const std::string ratio =
          concat(static_cast<int64_t>(largest / smallest), "-fold (max_concat_ratio)");
      kept.push_back({static_cast<NodeId>(n), concat("its inputs' ranges differ ", ratio)});
      keep_readers(n, concat("it reads a Concat whose inputs' ranges differ ", ratio), kept);
    }
    return kept;
  }

 private:
  float magnitude(ValueId value) const {
    const Range& range = ranges_[static_cast<size_t>(find(value))];
    return std::max(std::abs(range.min), std::abs(range.max));
  }

  // Through operators that leave the scale as it is, up to those that have one of their own.
  void keep_readers(size_t n, const std::string& reason, std::vector<KeptFloat>& kept) const {
    for (size_t r = n + 1; r < graph_.nodes.size(); ++r) {
      const Node& reader = graph_.nodes[r];
      if (!annotation_.nodes[r].quantized ||
          std::ranges::find(reader.inputs, graph_.nodes[n].outputs[0]) == reader.inputs.end()) {
        continue;
      }
      kept.push_back({static_cast<NodeId>(r), reason});
      if (find_op(reader.kind)->quant.policy == QuantPolicy::kSameScale) {
        keep_readers(r, reason, kept);
      }
    }
  }

  bool is_quantized(ValueId value) const {
    return annotation_.quantized_use[static_cast<size_t>(value)] ||
           annotation_.is_produced_quantized(graph_, value);
  }
  bool is_input(ValueId value) const {
    return std::ranges::find(graph_.inputs, value) != graph_.inputs.end();
  }
  const StaticQuantConfig& config(ValueId value) const {
    const StaticQuantConfig* found = config_of_value(graph_, annotation_, value);
    static const StaticQuantConfig kDefault;
    return found == nullptr ? kDefault : *found;
  }

  ValueId find(ValueId value) const {
    while (groups_[static_cast<size_t>(value)] != value)
      value = groups_[static_cast<size_t>(value)];
    return value;
  }
  // `value` and its group take the parameters of `root`'s group.
  void join(ValueId value, ValueId root) {
    value = find(value);
    root = find(root);
    if (value == root) return;
    groups_[static_cast<size_t>(value)] = root;
    if (!ranges_.empty()) {
      Range& range = ranges_[static_cast<size_t>(root)];
      range = range_union(range, ranges_[static_cast<size_t>(value)]);
    }
  }

  // The row of the quantized operator whose output range is fixed, if it computes the value.
  const OpDef* fixed_producer(ValueId value) const {
    if (!annotation_.is_produced_quantized(graph_, value)) return nullptr;
    const NodeId producer = annotation_.producers[static_cast<size_t>(value)];
    const OpDef* op = find_op(graph_.node(producer).kind);
    return op->quant.fixed_scale > 0 ? op : nullptr;
  }

  void group_same_scale() {
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      if (!annotation_.nodes[n].quantized ||
          find_op(node.kind)->quant.policy != QuantPolicy::kSameScale) {
        continue;
      }
      for (const ValueId output : node.outputs) {
        if (output != kNoValue) join(output, node.inputs[0]);
      }
    }
  }

  Status collect_ranges() {
    ranges_.assign(graph_.values.size(), {});
    std::vector<bool> seen(graph_.values.size(), false);
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      const Collector* collector = calibration_.collectors[v].get();
      Range range;
      if (graph_.values[v].constant.present() && is_quantized(static_cast<ValueId>(v))) {
        if (const auto found = finite_range(graph_.values[v].constant.data<const float>())) {
          range = *found;
        }
      } else if (collector != nullptr && collector->seen()) {
        const auto value = static_cast<ValueId>(v);
        OCTAVO_ASSIGN(range, activation_range(*collector, is_input(value), config(value)));
        range = useful_range(graph_, value, range);
      } else {
        continue;
      }
      const auto root = static_cast<size_t>(find(static_cast<ValueId>(v)));
      ranges_[root] = seen[root] ? range_union(ranges_[root], range) : range;
      seen[root] = true;
    }
    return {};
  }

  // Inputs of a Concat, Pad or Resize that can have the output's parameters are copied instead of
  // requantized. Nothing is lost by that where a Concat is the only reader.
  void share_with_copies(size_t n) {
    const Node& node = graph_.nodes[n];
    if (node.kind != OpKind::kConcat && node.kind != OpKind::kPad && node.kind != OpKind::kResize) {
      return;
    }
    const ValueId output = node.outputs[0];
    for (const size_t i : annotation_.nodes[n].data_inputs) {
      const ValueId input = node.inputs[i];
      if (graph_.value(input).constant.present() || fixed_producer(find(input)) != nullptr ||
          fixed_producer(find(output)) != nullptr || &config(input) != &config(output)) {
        continue;
      }
      const NodeId producer = annotation_.producers[static_cast<size_t>(input)];
      const bool alone = readers(input) == 1 && find(input) == input && producer >= 0;
      if (alone || magnitude(input) >= kSharedRange * magnitude(output)) join(input, output);
    }
  }

  // What only a Relu or Clip reads needs no integers outside the range that they leave: saturation
  // does their work.
  void saturate_before_clip(size_t n) {
    const Node& node = graph_.nodes[n];
    if (!annotation_.nodes[n].quantized ||
        (node.kind != OpKind::kRelu && node.kind != OpKind::kClip)) {
      return;
    }
    const ValueId input = node.inputs[0], output = node.outputs[0];
    const NodeId producer = annotation_.producers[static_cast<size_t>(input)];
    if (readers(input) != 1 || find(input) != input || producer < 0 ||
        !annotation_.is_produced_quantized(graph_, input) || fixed_producer(input) != nullptr ||
        find_op(graph_.node(producer).kind)->quant.policy == QuantPolicy::kSameScale ||
        &config(input) != &config(output)) {
      return;
    }
    groups_[static_cast<size_t>(input)] = find(output);
  }

  int readers(ValueId value) const {
    int count = static_cast<int>(std::ranges::count(graph_.outputs, value));
    for (const Node& node : graph_.nodes) count += std::ranges::count(node.inputs, value) > 0;
    return count;
  }

  const Graph& graph_;
  const Annotation& annotation_;
  const Calibration& calibration_;
  std::vector<ValueId> groups_;
  std::vector<Range> ranges_;  // of the group's root
};

}  // namespace

std::vector<WantedValue> wanted_values(const Graph& graph, const Annotation& annotation) {
  std::vector<WantedValue> wanted(graph.values.size());
  for (size_t v = 0; v < wanted.size(); ++v) {
    const auto value = static_cast<ValueId>(v);
    if (graph.value(value).constant.present()) continue;
    if (!annotation.quantized_use[v] && !annotation.is_produced_quantized(graph, value)) continue;
    const StaticQuantConfig* config = config_of_value(graph, annotation, value);
    if (config == nullptr) continue;
    wanted[v] = {true,
                 {.histogram = needs_histogram(config->act_algorithm),
                  .outlier_prob = config->quantile_outlier_prob}};
  }
  return wanted;
}

Result<std::vector<KeptFloat>> mixed_range_concats(const Graph& graph, const Annotation& annotation,
                                                   const Calibration& calibration) {
  return ParamsChooser(graph, annotation, calibration).mixed_range_concats();
}

Result<std::vector<TensorQuant>> choose_params(const Graph& graph, const Annotation& annotation,
                                               const Calibration& calibration) {
  return ParamsChooser(graph, annotation, calibration).run();
}

}  // namespace octavo
