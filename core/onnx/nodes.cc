// ONNX import: nodes and their attributes.
#include "core/onnx/normalize.h"
#include "runtime/limits.h"

namespace octavo::onnx_io {

Status ModelImport::import_nodes(const NodeList& nodes, Scope& scope) {
  OCTAVO_ASSIGN(const std::vector<const onnx::NodeProto*> order, sorted_nodes(nodes));
  for (const onnx::NodeProto* node : order) {
    if (++node_count_ > limits::kNodes) {
      return fail(ErrorCode::kLimitExceeded, "more than ", limits::kNodes,
                  " nodes (functions expanded)");
    }
    OCTAVO_TRY(at_node(import_node(*node, scope), concat(scope.prefix, node_name(*node))));
  }
  return {};
}

Status ModelImport::import_node(const onnx::NodeProto& proto, Scope& scope) {
  if (const onnx::FunctionProto* function = find_function(proto)) {
    return inline_function(proto, *function, scope);
  }
  const bool is_onnx = proto.domain().empty() || proto.domain() == "ai.onnx";
  if (is_onnx && proto.op_type() == "Constant") return import_constant(proto, scope);
  return import_operator(proto, scope);
}

Result<ValueId> ModelImport::define(const std::string& name, Scope& scope) {
  if (name.empty()) return kNoValue;
  const auto given = scope.output_names.find(name);
  // Names at the top of a graph were reserved for their values; all others are made unique.
  std::string value_name = given != scope.output_names.end() ? given->second
                           : scope.prefix.empty()
                               ? name
                               : scope.builder.unique_name(concat(scope.prefix, name));
  const ValueId id = scope.builder.add_value(std::move(value_name));
  if (!scope.values.emplace(name, id).second) {
    return std::unexpected(Error{ErrorCode::kInvalidModel,
                                 "two nodes (or a node and an input) compute the same value",
                                 {},
                                 name});
  }
  return id;
}

Result<std::vector<ValueId>> ModelImport::import_operands(const onnx::NodeProto& proto,
                                                          Scope& scope) {
  std::vector<ValueId> ids;
  for (const std::string& name : proto.input()) {
    const std::optional<ValueId> id = name.empty() ? kNoValue : scope.find(name);
    ids.push_back(id.value_or(kNoValue));
    if (!id) {
      return std::unexpected(
          Error{ErrorCode::kInvalidModel, "nothing computes this input", {}, name});
    }
  }
  while (!ids.empty() && ids.back() == kNoValue) ids.pop_back();
  return ids;
}

Result<AttributeValue> ModelImport::import_attribute(const onnx::AttributeProto& proto) {
  using onnx::AttributeProto;
  auto type = proto.type();
  if (type == AttributeProto::UNDEFINED) {  // IR versions 1 and 2 do not say
    type = proto.has_f()              ? AttributeProto::FLOAT
           : proto.has_i()            ? AttributeProto::INT
           : proto.has_s()            ? AttributeProto::STRING
           : proto.has_t()            ? AttributeProto::TENSOR
           : proto.floats_size() > 0  ? AttributeProto::FLOATS
           : proto.strings_size() > 0 ? AttributeProto::STRINGS
                                      : AttributeProto::INTS;
  }
  switch (type) {
    case AttributeProto::FLOAT: return proto.f();
    case AttributeProto::INT: return proto.i();
    case AttributeProto::STRING: return proto.s();
    case AttributeProto::FLOATS:
      return std::vector<float>(proto.floats().begin(), proto.floats().end());
    case AttributeProto::INTS:
      return std::vector<int64_t>(proto.ints().begin(), proto.ints().end());
    case AttributeProto::STRINGS:
      return std::vector<std::string>(proto.strings().begin(), proto.strings().end());
    case AttributeProto::TENSOR: return tensor_from_proto(proto.t(), external_data_);
    default:
      return fail(ErrorCode::kUnsupportedOp, "attribute '", proto.name(),
                  "' has a type that is not supported (sparse tensor, type or list of tensors)");
  }
}

Status ModelImport::import_attributes(const onnx::NodeProto& proto, Scope& scope, Node& node) {
  std::vector<std::pair<std::string, BoundAttribute>> graphs;
  for (const auto& [name, attribute] : bind_attributes(proto, scope)) {
    if (node.has(name)) {
      return fail(ErrorCode::kInvalidModel, "attribute '", name, "' is given twice");
    }
    if (attribute.proto->has_g()) {
      graphs.emplace_back(name, attribute);
      continue;
    }
    OCTAVO_ASSIGN(AttributeValue value, import_attribute(*attribute.proto));
    node.set(name, std::move(value));
  }
  if (graphs.empty()) return {};
  // A Loop has two operands even if both are left out.
  const auto operands = std::max(static_cast<size_t>(proto.input_size()),
                                 size_t{proto.op_type() == "Loop" ? 2u : 0u});
  return import_bodies(graphs, operands, scope, node);
}

namespace {

/// The tensor that one of Constant's attributes stands for.
struct ConstantVisitor {
  Result<Tensor> operator()(const Tensor& v) const { return v; }
  Result<Tensor> operator()(int64_t v) const { return Tensor::scalar(v); }
  Result<Tensor> operator()(float v) const { return Tensor::scalar(v); }
  Result<Tensor> operator()(const std::string& v) const { return Tensor::scalar(v); }
  template <class T>
  Result<Tensor> operator()(const std::vector<T>& v) const {
    return Tensor::of<T>(Shape{static_cast<int64_t>(v.size())}, v);
  }
  Result<Tensor> operator()(const std::shared_ptr<const Graph>&) const {
    return fail(ErrorCode::kInvalidModel, "a Constant cannot be a graph");
  }
};

}  // namespace

Status ModelImport::import_constant(const onnx::NodeProto& proto, Scope& scope) {
  Node node;
  OCTAVO_TRY(import_attributes(proto, scope, node));
  if (node.attributes.size() != 1 || proto.output_size() != 1) {
    return fail(ErrorCode::kInvalidModel, "a Constant needs one value and one output");
  }
  OCTAVO_ASSIGN(Tensor tensor, std::visit(ConstantVisitor{}, node.attributes[0].value));
  OCTAVO_ASSIGN(const ValueId id, define(proto.output(0), scope));
  if (id != kNoValue) scope.builder.set_constant(id, std::move(tensor));
  return {};
}

Status ModelImport::import_operator(const onnx::NodeProto& proto, Scope& scope) {
  const std::string domain = proto.domain() == "ai.onnx" ? "" : proto.domain();
  const auto opset = scope.opsets.find(domain);
  const int64_t version = opset == scope.opsets.end() ? 1 : opset->second;
  const bool known =
      find_op(domain, proto.op_type()) != nullptr || has_rewrite(domain, proto.op_type(), version);
  const auto record = [&] {
    Unsupported& entry = unsupported_[qualified_name(domain, proto.op_type())];
    if (entry.count++ == 0) entry.node = concat(scope.prefix, node_name(proto));
  };
  if (!known) {
    record();
    for (const std::string& output : proto.output()) OCTAVO_TRY(define(output, scope));
    return {};
  }
  Rewrite rewrite{.op = proto.op_type(),
                  .domain = domain,
                  .version = version,
                  .node = {.name = concat(scope.prefix, node_name(proto))},
                  .builder = scope.builder};
  OCTAVO_ASSIGN(rewrite.node.inputs, import_operands(proto, scope));
  OCTAVO_TRY(import_attributes(proto, scope, rewrite.node));
  std::vector<ValueId>& outputs = rewrite.node.outputs;
  for (const std::string& name : proto.output()) {
    OCTAVO_ASSIGN(const ValueId id, define(name, scope));
    outputs.push_back(id);
  }
  while (!outputs.empty() && outputs.back() == kNoValue) outputs.pop_back();
  // After an unknown operator dtypes and shapes are unknown, so only its kind of error is looked
  // for.
  if (!unsupported_.empty()) return {};
  OCTAVO_TRY(normalize(rewrite));
  if (rewrite.done) return {};
  const OpDef* row = find_op(rewrite.domain, rewrite.op);
  if (row == nullptr) {
    record();
    return {};
  }
  return rewrite.add_self(row->kind);
}

}  // namespace octavo::onnx_io
