// Graph as text: one node a line,
//   %y i8 1x8x4x4 (s=0.05 z=3) = Conv(%x, %w, %b) {group=1} "name"
#include "runtime/op.h"

namespace octavo {
namespace {

std::string quant_text(const QuantParams& quant) {
  if (quant.per_tensor()) return concat("s=", quant.scale[0], " z=", quant.zero_point[0]);
  std::string text = concat("s=[", quant.scale.size(), "] axis=", quant.axis);
  if (quant.block_size > 0) text += concat(" block=", quant.block_size);
  return text;
}

std::string value_text(const Graph& graph, ValueId id) {
  if (id == kNoValue) return "_";
  const Value& value = graph.value(id);
  std::string text =
      concat("%", value.name, " ", dtype_name(value.dtype), " ", graph.shape_string(value.shape));
  if (value.quant != nullptr) text += concat(" (", quant_text(*value.quant), ")");
  return text;
}

template <class List>
std::string list_text(const List& list) {
  std::string text = "[";
  for (const auto& item : list) text += concat(text.size() > 1 ? ", " : "", item);
  return text + "]";
}

std::string attribute_text(const AttributeValue& value) {
  struct Visitor {
    std::string operator()(int64_t v) const { return concat(v); }
    std::string operator()(float v) const { return concat(v); }
    std::string operator()(const std::string& v) const { return concat('"', v, '"'); }
    std::string operator()(const std::vector<int64_t>& v) const { return list_text(v); }
    std::string operator()(const std::vector<float>& v) const { return list_text(v); }
    std::string operator()(const std::vector<std::string>& v) const { return list_text(v); }
    std::string operator()(const Tensor& v) const {
      return concat("<", dtype_name(v.dtype()), " ", v.shape().to_string(), ">");
    }
    std::string operator()(const std::shared_ptr<const Graph>& v) const {
      std::string body = dump(*v), indented;
      for (size_t at = 0; at < body.size();) {
        const size_t end = body.find('\n', at);
        indented += concat("\n    ", body.substr(at, end - at));
        at = end == std::string::npos ? body.size() : end + 1;
      }
      return concat("graph {", indented, "\n  }");
    }
  };
  return std::visit(Visitor{}, value);
}

std::string node_text(const Graph& graph, const Node& node) {
  std::string text = "  ";
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    text += concat(i > 0 ? ", " : "", value_text(graph, node.outputs[i]));
  }
  text += concat(" = ", op_name(node.kind), "(");
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    text += concat(i > 0 ? ", " : "", id == kNoValue ? "_" : concat("%", graph.value(id).name));
  }
  text += ")";
  if (!node.attributes.empty()) {
    text += " {";
    for (size_t i = 0; i < node.attributes.size(); ++i) {
      const Attribute& attribute = node.attributes[i];
      text += concat(i > 0 ? ", " : "", attribute.name, "=", attribute_text(attribute.value));
    }
    text += "}";
  }
  if (!node.name.empty()) text += concat(" \"", node.name, "\"");
  return text + "\n";
}

}  // namespace

std::string dump(const Graph& graph) {
  std::string text = concat("graph ", graph.name, "\n");
  for (const ValueId id : graph.inputs) text += concat("  input ", value_text(graph, id), "\n");
  for (size_t i = 0; i < graph.values.size(); ++i) {
    if (!graph.values[i].constant.present()) continue;
    text += concat("  constant ", value_text(graph, static_cast<ValueId>(i)), "\n");
  }
  for (const Node& node : graph.nodes) text += node_text(graph, node);
  for (const ValueId id : graph.outputs) text += concat("  output %", graph.value(id).name, "\n");
  return text;
}

}  // namespace octavo
