// Nodes that do nothing, nodes that do the same as another, nodes that nobody wants.
#include <algorithm>
#include <cstring>
#include <map>

#include "core/passes/edit_util.h"
#include "core/passes/pass_list.h"

namespace octavo::passes {
namespace {

// Constants up to this size are compared and shared.
constexpr int64_t kSharedConstantBytes = 1024;

// A node and what is known around it.
struct Context {
  const GraphEditor& editor;
  const Graph& graph;
  const Node& node;
  bool same_shape;  // input 0's and output 0's
};

int always(const Context&) { return 0; }
int if_same_shape(const Context& c) { return c.same_shape ? 0 : -1; }
int if_single_input(const Context& c) { return c.node.inputs.size() == 1 ? 0 : -1; }

int if_unbounded(const Context& c) {
  return c.node.input(1) == kNoValue && c.node.input(2) == kNoValue ? 0 : -1;
}

int if_not_training(const Context& c) {
  const ValueId mask = c.node.output(1);
  if (mask != kNoValue && (!c.editor.consumers(mask).empty() || c.editor.is_output(mask)))
    return -1;
  if (c.node.input(2) == kNoValue) return 0;
  const Tensor* mode = constant_of(c.graph, c.node.input(2));
  const bool inference = mode != nullptr && mode->dtype() == DType::kBool &&
                         mode->elements() == 1 && !mode->data<bool>()[0];
  return inference ? 0 : -1;
}

int if_identity_permutation(const Context& c) {
  const auto perm = c.node.get_ints("perm");
  for (size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != static_cast<int64_t>(i)) return -1;
  }
  return perm.empty() ? -1 : 0;
}

int if_pads_are_zero(const Context& c) {
  const auto pads = int_constant(c.graph, c.node.input(1));
  return pads && std::ranges::all_of(*pads, [](int64_t p) { return p == 0; }) ? 0 : -1;
}

int if_whole_slice(const Context& c) {
  if (!c.same_shape) return -1;
  if (c.node.input(4) == kNoValue) return 0;
  const auto steps = int_constant(c.graph, c.node.input(4));
  return steps && std::ranges::all_of(*steps, [](int64_t s) { return s > 0; }) ? 0 : -1;
}

// Input `constant` is a single element equal to `number` that does not raise the other's rank.
bool is_neutral(const Context& c, size_t constant, size_t other, float number) {
  const ValueId id = c.node.inputs[constant];
  const auto element = float_scalar(c.graph, id);
  if (!element || *element != number || c.graph.value(id).quant != nullptr) return false;
  const Shape& shape = c.graph.value(id).shape;
  const Shape& other_shape = c.graph.value(c.node.inputs[other]).shape;
  return shape.rank() == 0 || (other_shape.has_rank() && shape.rank() <= other_shape.rank());
}
int if_adds_zero(const Context& c) {
  return is_neutral(c, 1, 0, 0) ? 0 : is_neutral(c, 0, 1, 0) ? 1 : -1;
}
int if_times_one(const Context& c) {
  return is_neutral(c, 1, 0, 1) ? 0 : is_neutral(c, 0, 1, 1) ? 1 : -1;
}
int if_minus_zero(const Context& c) { return is_neutral(c, 1, 0, 0) ? 0 : -1; }
int if_over_one(const Context& c) { return is_neutral(c, 1, 0, 1) ? 0 : -1; }

// Which input a node of this kind gives back unchanged; -1: none.
struct NoopRule {
  OpKind kind;
  int (*unchanged_input)(const Context&);
};
constexpr NoopRule kNoopRules[] = {
    {OpKind::kIdentity, always},
    {OpKind::kCast, always},  // of equal dtypes, which all rules demand
    {OpKind::kDropout, if_not_training},
    {OpKind::kReshape, if_same_shape},
    {OpKind::kFlatten, if_same_shape},
    {OpKind::kSqueeze, if_same_shape},
    {OpKind::kUnsqueeze, if_same_shape},
    {OpKind::kExpand, if_same_shape},
    {OpKind::kTranspose, if_identity_permutation},
    {OpKind::kPad, if_pads_are_zero},
    {OpKind::kSlice, if_whole_slice},
    {OpKind::kConcat, if_single_input},
    {OpKind::kSum, if_single_input},
    {OpKind::kMax, if_single_input},
    {OpKind::kMin, if_single_input},
    {OpKind::kMean, if_single_input},
    {OpKind::kClip, if_unbounded},
    {OpKind::kAdd, if_adds_zero},
    {OpKind::kMul, if_times_one},
    {OpKind::kSub, if_minus_zero},
    {OpKind::kDiv, if_over_one},
};

bool same_type(const Value& a, const Value& b) {
  if (a.dtype != b.dtype || (a.quant == nullptr) != (b.quant == nullptr)) return false;
  return a.quant == nullptr || *a.quant == *b.quant;
}

void append_bytes(std::string& key, const void* data, size_t bytes) {
  key.append(static_cast<const char*>(data), bytes);
}

// Equal keys: equal results. Empty: not comparable.
std::string node_key(const Graph& graph, const Node& node) {
  const OpDef* op = find_op(node.kind);
  if (op == nullptr || (op->flags & (kNondeterministic | kHasBody)) != 0) return "";
  std::string key = concat(static_cast<int>(node.kind), '(');
  for (const ValueId id : node.inputs) key += concat(id, ',');
  std::vector<const Attribute*> sorted;
  for (const Attribute& attribute : node.attributes) sorted.push_back(&attribute);
  std::ranges::sort(sorted, {}, [](const Attribute* a) { return a->name; });
  for (const Attribute* attribute : sorted) {
    key += concat(attribute->name, '=');
    struct Visitor {
      std::string& key;
      bool operator()(int64_t v) const { return key += concat(v), true; }
      bool operator()(float v) const { return append_bytes(key, &v, sizeof v), true; }
      bool operator()(const std::string& v) const { return key += concat(v.size(), ':', v), true; }
      bool operator()(const std::vector<int64_t>& v) const {
        key += concat(v.size(), ':');
        return append_bytes(key, v.data(), v.size() * sizeof v[0]), true;
      }
      bool operator()(const std::vector<float>& v) const {
        key += concat(v.size(), ':');
        return append_bytes(key, v.data(), v.size() * sizeof v[0]), true;
      }
      bool operator()(const std::vector<std::string>&) const { return false; }
      bool operator()(const Tensor&) const { return false; }
      bool operator()(const std::shared_ptr<const Graph>&) const { return false; }
    };
    if (!std::visit(Visitor{key}, attribute->value)) return "";
    key += ';';
  }
  // Outputs that are quantized differently differ.
  for (const ValueId id : node.outputs) {
    if (id == kNoValue) {
      key += "|_";
      continue;
    }
    const Value& value = graph.value(id);
    key += concat("|", static_cast<int>(value.dtype));
    if (value.quant == nullptr) continue;
    const QuantParams& quant = *value.quant;
    key += concat("q", quant.axis, ',', quant.block_size, ',', quant.scale.size(), ':');
    append_bytes(key, quant.scale.data(), quant.scale.size() * sizeof(float));
    append_bytes(key, quant.zero_point.data(), quant.zero_point.size() * sizeof(int32_t));
  }
  return key;
}

int share_constants(GraphEditor& editor) {
  Graph& graph = editor.graph();
  std::map<std::string, ValueId> known;
  int changes = 0;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const auto id = static_cast<ValueId>(v);
    const Value& value = graph.value(id);
    if (!value.constant.present() || value.quant != nullptr || value.dtype == DType::kString ||
        value.constant.bytes() > kSharedConstantBytes || editor.is_output(id)) {
      continue;
    }
    std::string key = concat(static_cast<int>(value.dtype), value.shape.to_string(), ':');
    append_bytes(key, value.constant.raw(), static_cast<size_t>(value.constant.bytes()));
    const auto [found, added] = known.emplace(std::move(key), id);
    if (added || editor.consumers(id).empty()) continue;
    editor.replace_uses(id, found->second);
    ++changes;
  }
  return changes;
}

}  // namespace

/// Identity, Dropout, and every operator that its attributes and shapes make one.
Result<int> remove_noops(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const auto rule = std::ranges::find(kNoopRules, node.kind, &NoopRule::kind);
    if (rule == std::end(kNoopRules) || node.output(0) == kNoValue) continue;
    if (node.input(0) == kNoValue) continue;
    const Value& output = graph.value(node.outputs[0]);
    const int kept = rule->unchanged_input(
        {editor, graph, node, same_shape(graph.value(node.inputs[0]).shape, output.shape)});
    if (kept < 0) continue;
    const ValueId input = node.inputs[static_cast<size_t>(kept)];
    if (!same_type(graph.value(input), output)) continue;
    changes += bypass(editor, static_cast<NodeId>(n), input) ? 1 : 0;
  }
  return changes;
}

/// Equal small constants, then nodes of equal operator, inputs and attributes, become one.
Result<int> merge_duplicates(Graph& graph) {
  GraphEditor editor(graph);
  int changes = share_constants(editor);
  std::map<std::string, NodeId> known;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto id = static_cast<NodeId>(n);
    std::string key = node_key(graph, graph.nodes[n]);
    if (key.empty()) continue;
    const auto [found, added] = known.emplace(std::move(key), id);
    if (added) continue;
    const std::vector<ValueId> outputs = graph.nodes[n].outputs;
    const std::vector<ValueId> kept = graph.node(found->second).outputs;
    const bool is_output = std::ranges::any_of(
        outputs, [&](ValueId v) { return v != kNoValue && editor.is_output(v); });
    if (is_output) continue;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] != kNoValue) editor.replace_uses(outputs[i], kept[i]);
    }
    editor.erase(id);
    ++changes;
  }
  return changes;
}

/// Nodes without a wanted output, optional outputs that nobody reads, values left behind.
Result<int> remove_dead_code(Graph& graph) {
  int changes = 0;
  GraphEditor editor(graph);
  const auto is_wanted = [&](ValueId id) {
    return id != kNoValue && (!editor.consumers(id).empty() || editor.is_output(id));
  };
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    const auto id = static_cast<NodeId>(n);
    Node& node = graph.nodes[n];
    if (std::ranges::none_of(node.outputs, is_wanted)) {
      editor.erase(id);
      ++changes;
      continue;
    }
    const OpDef* op = find_op(node.kind);
    if (op == nullptr || op->min_outputs == op->max_outputs || op->max_outputs < 0) continue;
    for (size_t i = node.outputs.size(); i-- > static_cast<size_t>(op->min_outputs);) {
      if (node.outputs[i] == kNoValue || is_wanted(node.outputs[i])) continue;
      editor.set_output(id, i, kNoValue);
      ++changes;
    }
    while (node.outputs.size() > static_cast<size_t>(op->min_outputs) &&
           node.outputs.back() == kNoValue) {
      node.outputs.pop_back();
    }
  }
  editor.prune();
  return changes;
}

}  // namespace octavo::passes
