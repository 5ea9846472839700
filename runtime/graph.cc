#include "runtime/graph.h"

#include <algorithm>

#include "runtime/limits.h"
#include "runtime/op.h"
#include "runtime/requantize.h"

namespace octavo {

const AttributeValue* Node::find(std::string_view attribute) const {
  for (const Attribute& a : attributes) {
    if (a.name == attribute) return &a.value;
  }
  return nullptr;
}

void Node::set(std::string_view attribute, AttributeValue value) {
  for (Attribute& a : attributes) {
    if (a.name == attribute) {
      a.value = std::move(value);
      return;
    }
  }
  attributes.push_back({std::string(attribute), std::move(value)});
}

void Node::unset(std::string_view attribute) {
  std::erase_if(attributes, [&](const Attribute& a) { return a.name == attribute; });
}

namespace {
// The row's field, for defaults. Asking for an attribute that the row does not list is a mistake in
// the program; it reads as zero.
const FieldDef& field_of(const Node& node, std::string_view attribute) {
  static constexpr FieldDef kNone{"", FieldType::kInt};
  const OpDef* op = find_op(node.kind);
  const FieldDef* field = op == nullptr ? nullptr : find_field(*op, attribute);
  return field == nullptr ? kNone : *field;
}

template <class T>
const T* get_if(const Node& node, std::string_view attribute) {
  const AttributeValue* value = node.find(attribute);
  return value == nullptr ? nullptr : std::get_if<T>(value);
}
}  // namespace

int64_t Node::get_int(std::string_view attribute) const {
  const auto* value = get_if<int64_t>(*this, attribute);
  return value != nullptr ? *value : field_of(*this, attribute).int_default;
}
float Node::get_float(std::string_view attribute) const {
  const auto* value = get_if<float>(*this, attribute);
  return value != nullptr ? *value : field_of(*this, attribute).float_default;
}
std::string_view Node::get_string(std::string_view attribute) const {
  const auto* value = get_if<std::string>(*this, attribute);
  return value != nullptr ? std::string_view(*value)
                          : std::string_view(field_of(*this, attribute).string_default);
}
std::span<const int64_t> Node::get_ints(std::string_view attribute) const {
  const auto* value = get_if<std::vector<int64_t>>(*this, attribute);
  return value != nullptr ? std::span<const int64_t>(*value) : std::span<const int64_t>();
}
std::span<const float> Node::get_floats(std::string_view attribute) const {
  const auto* value = get_if<std::vector<float>>(*this, attribute);
  return value != nullptr ? std::span<const float>(*value) : std::span<const float>();
}
std::span<const std::string> Node::get_strings(std::string_view attribute) const {
  const auto* value = get_if<std::vector<std::string>>(*this, attribute);
  return value != nullptr ? std::span<const std::string>(*value) : std::span<const std::string>();
}
const Tensor* Node::get_tensor(std::string_view attribute) const {
  return get_if<Tensor>(*this, attribute);
}
const Graph* Node::get_graph(std::string_view attribute) const {
  const auto* value = get_if<std::shared_ptr<const Graph>>(*this, attribute);
  return value != nullptr ? value->get() : nullptr;
}

int64_t Graph::symbol_dim(std::string_view symbol_name) {
  const auto found = std::find(symbols.begin(), symbols.end(), symbol_name);
  const auto index = found - symbols.begin();
  if (found == symbols.end()) symbols.emplace_back(symbol_name);
  return -2 - index;
}

ValueId Graph::find_value(std::string_view value_name) const {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].name == value_name) return static_cast<ValueId>(i);
  }
  return kNoValue;
}

std::string Graph::shape_string(const Shape& shape) const {
  if (!shape.has_rank()) return "?";
  if (shape.rank() == 0) return "scalar";
  std::string text;
  for (const int64_t dim : shape) {
    if (!text.empty()) text += 'x';
    const auto symbol = static_cast<size_t>(-2 - dim);
    if (dim >= 0) {
      text += std::to_string(dim);
    } else {
      text += dim <= -2 && symbol < symbols.size() ? symbols[symbol] : "?";
    }
  }
  return text;
}

namespace {

bool type_matches(FieldType type, const AttributeValue& value) {
  return value.index() == static_cast<size_t>(type);
}

Status validate_quant(const Value& value) {
  const QuantParams& quant = *value.quant;
  const auto bad = [&](const auto&... what) {
    return std::unexpected(Error{
        ErrorCode::kInvalidModel, concat("quantization parameters: ", what...), {}, value.name});
  };
  if (quant.scale.empty() || quant.scale.size() != quant.zero_point.size()) {
    return bad(quant.scale.size(), " scales but ", quant.zero_point.size(), " zero points");
  }
  for (const float scale : quant.scale) {
    if (!(scale > 0) || !std::isfinite(scale)) {
      return bad("scale ", scale, "; a scale must be positive and finite");
    }
  }
  // 32 bits: biases, whose differences from a zero point would not fit.
  const IntRange range = value.dtype == DType::kI32 ? IntRange{0, 0} : quantized_range(value.dtype);
  for (const int32_t zero_point : quant.zero_point) {
    if (dtype_info(value.dtype).is_int && (zero_point < range.lo || zero_point > range.hi)) {
      return bad("zero point ", zero_point, " is not of ", range.lo, " to ", range.hi, ", as ",
                 dtype_name(value.dtype), " has them");
    }
  }
  if (quant.per_tensor()) {
    return quant.scale.size() == 1 ? Status() : bad("several scales without an axis");
  }
  if (value.shape.has_rank() && quant.axis >= value.shape.rank()) {
    return bad("axis ", quant.axis, " is outside rank ", value.shape.rank());
  }
  if (value.shape.has_rank() && quant.block_size == 0) {
    const int64_t channels = value.shape[quant.axis];
    if (channels >= 0 && static_cast<size_t>(channels) != quant.scale.size()) {
      return bad(quant.scale.size(), " scales for ", channels, " channels");
    }
  }
  return {};
}

Status validate_at(const Graph& graph, int depth);

Status validate_node(const Graph& graph, const Node& node, std::vector<bool>& defined, int depth) {
  const auto bad = [&](ErrorCode code, const auto&... what) {
    return std::unexpected(Error{code, concat(what...), node.name});
  };
  const OpDef* op = find_op(node.kind);
  if (op == nullptr) {
    return bad(ErrorCode::kUnsupportedOp, "operator ", static_cast<int>(node.kind),
               " has no implementation");
  }
  const auto count = [](const std::vector<ValueId>& ids) { return static_cast<int>(ids.size()); };
  if (count(node.inputs) < op->min_inputs ||
      (op->max_inputs >= 0 && count(node.inputs) > op->max_inputs)) {
    return bad(ErrorCode::kInvalidModel, op->name, " has ", node.inputs.size(), " inputs");
  }
  if (count(node.outputs) < op->min_outputs ||
      (op->max_outputs >= 0 && count(node.outputs) > op->max_outputs)) {
    return bad(ErrorCode::kInvalidModel, op->name, " has ", node.outputs.size(), " outputs");
  }
  const auto values = static_cast<ValueId>(graph.values.size());
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id == kNoValue) {
      if (static_cast<int>(i) < op->min_inputs) {
        return bad(ErrorCode::kInvalidModel, op->name, ": required input ", i, " is absent");
      }
      continue;
    }
    if (id < 0 || id >= values) return bad(ErrorCode::kInvalidModel, "input id out of range");
    if (!defined[static_cast<size_t>(id)]) {
      return bad(ErrorCode::kInvalidModel, "input '", graph.value(id).name,
                 "' is used before it is computed (a cycle, or nothing computes it)");
    }
  }
  for (const ValueId id : node.outputs) {
    if (id == kNoValue) continue;
    if (id < 0 || id >= values) return bad(ErrorCode::kInvalidModel, "output id out of range");
    if (defined[static_cast<size_t>(id)]) {
      return bad(ErrorCode::kInvalidModel, "'", graph.value(id).name, "' is computed twice");
    }
    defined[static_cast<size_t>(id)] = true;
  }
  for (const FieldDef& field : op->fields) {
    const AttributeValue* value = node.find(field.name);
    if (value == nullptr && field.required) {
      return bad(ErrorCode::kInvalidModel, op->name, ": attribute '", field.name, "' is missing");
    }
    if (value != nullptr && !type_matches(field.type, *value)) {
      return bad(ErrorCode::kInvalidModel, op->name, ": attribute '", field.name,
                 "' has the wrong type");
    }
  }
  for (const Attribute& attribute : node.attributes) {
    if (find_field(*op, attribute.name) == nullptr) {
      return bad(ErrorCode::kInvalidModel, op->name, " has no attribute '", attribute.name, "'");
    }
    if (const auto* body = std::get_if<std::shared_ptr<const Graph>>(&attribute.value)) {
      if (*body == nullptr) return bad(ErrorCode::kInvalidModel, "an empty body");
      if (auto status = validate_at(**body, depth + 1); !status) {
        Error error = std::move(status).error();
        error.node = error.node.empty() ? node.name : concat(node.name, "/", error.node);
        return std::unexpected(std::move(error));
      }
    }
  }
  return {};
}

Status validate_at(const Graph& graph, int depth) {
  if (depth > limits::kNesting) {
    return fail(ErrorCode::kLimitExceeded, "graphs are nested more than ", limits::kNesting,
                " deep");
  }
  if (static_cast<int64_t>(graph.nodes.size()) > limits::kNodes) {
    return fail(ErrorCode::kLimitExceeded, graph.nodes.size(), " nodes; the limit is ",
                limits::kNodes);
  }
  const auto in_range = [&](ValueId id) {
    return id >= 0 && static_cast<size_t>(id) < graph.values.size();
  };
  std::vector<bool> defined(graph.values.size(), false);
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const Value& value = graph.values[i];
    defined[i] = value.constant.present();
    if (value.quant != nullptr) OCTAVO_TRY(validate_quant(value));
    if (value.constant.present() &&
        (value.constant.dtype() != value.dtype || !(value.constant.shape() == value.shape))) {
      return std::unexpected(Error{ErrorCode::kInvalidModel,
                                   "a constant differs from its value's dtype or shape",
                                   {},
                                   value.name});
    }
  }
  for (const ValueId id : graph.inputs) {
    if (!in_range(id)) return fail(ErrorCode::kInvalidModel, "graph input id out of range");
    if (defined[static_cast<size_t>(id)]) {
      return std::unexpected(Error{ErrorCode::kInvalidModel,
                                   "a graph input appears twice or is a constant",
                                   {},
                                   graph.value(id).name});
    }
    defined[static_cast<size_t>(id)] = true;
  }
  for (const Node& node : graph.nodes) OCTAVO_TRY(validate_node(graph, node, defined, depth));
  for (const ValueId id : graph.outputs) {
    if (!in_range(id)) return fail(ErrorCode::kInvalidModel, "graph output id out of range");
    if (!defined[static_cast<size_t>(id)]) {
      return std::unexpected(Error{
          ErrorCode::kInvalidModel, "nothing computes this output", {}, graph.value(id).name});
    }
  }
  return {};
}

}  // namespace

Status validate(const Graph& graph) { return validate_at(graph, 0); }

int64_t constant_bytes(const Graph& graph) {
  int64_t bytes = 0;
  for (const Value& value : graph.values) {
    if (!value.constant.present()) continue;
    const bool half = value.dtype == DType::kI4 || value.dtype == DType::kU4;
    bytes += half ? (value.constant.elements() + 1) / 2 : value.constant.bytes();
  }
  return bytes;
}

}  // namespace octavo
