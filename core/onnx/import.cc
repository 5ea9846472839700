// ONNX import: the model as a whole, and graphs in it.
#include <cstring>

#include "core/onnx/importer.h"
#include "core/onnx/onnx.h"
#include "runtime/limits.h"

namespace octavo {
namespace onnx_io {

namespace {

// `name`, with a number appended if it is in `names` already; adds it there.
std::string make_unique(const std::string& name, std::unordered_map<std::string, int>& names) {
  const auto [known, is_new] = names.emplace(name, 0);
  if (is_new) return name;
  // References to elements stay valid while others are inserted.
  int& number = known->second;
  std::string candidate;
  do {
    candidate = concat(name, "_", ++number);
  } while (!names.emplace(candidate, 0).second);
  return candidate;
}

}  // namespace

std::string GraphBuilder::unique_name(const std::string& name) { return make_unique(name, names_); }

ValueId GraphBuilder::add_value(std::string name, DType dtype, const Shape& shape) {
  infos_.push_back({.dtype = dtype, .shape = shape});
  return graph.add_value({.name = std::move(name), .dtype = dtype, .shape = shape});
}

ValueId GraphBuilder::add_constant(std::string name, Tensor tensor) {
  const ValueId id = add_value(std::move(name));
  set_constant(id, std::move(tensor));
  return id;
}

void GraphBuilder::set_constant(ValueId id, Tensor tensor) {
  infos_[static_cast<size_t>(id)] = {tensor.dtype(), tensor.shape(), tensor};
  Value& value = graph.value(id);
  value.dtype = tensor.dtype();
  value.shape = tensor.shape();
  value.constant = std::move(tensor);
}

// Attributes that say what their absence would say are left out, and a Conv's `kernel_shape` where
// its weights' shape says the same.
void GraphBuilder::drop_redundant_attributes(Node& node) const {
  const Shape weight =
      node.kind == OpKind::kConv && rank(node.input(1)) > 2 ? info(node.input(1)).shape : Shape{};
  std::erase_if(node.attributes, [&](const Attribute& attribute) {
    const FieldDef* field = find_field(*find_op(node.kind), attribute.name);
    if (field == nullptr) return false;
    const auto* list = std::get_if<std::vector<int64_t>>(&attribute.value);
    if (list != nullptr && attribute.name == "kernel_shape" && weight.rank() > 2) {
      return std::equal(list->begin(), list->end(), weight.begin() + 2, weight.end());
    }
    return is_default(*field, attribute.value);
  });
}

Status GraphBuilder::add_node(Node node) {
  drop_redundant_attributes(node);
  std::vector<const TensorInfo*> inputs;
  for (const ValueId id : node.inputs) inputs.push_back(id == kNoValue ? nullptr : &info(id));
  std::vector<TensorInfo> outputs(node.outputs.size());
  OCTAVO_TRY(infer_node(node, inputs, outputs));
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    Value& value = graph.value(node.outputs[i]);
    TensorInfo& info = infos_[static_cast<size_t>(node.outputs[i])];
    value.dtype = info.dtype = outputs[i].dtype;
    if (outputs[i].shape.has_rank()) value.shape = info.shape = outputs[i].shape;
    info.constant = outputs[i].constant;
  }
  node.name = make_unique(node.name, node_names_);
  graph.nodes.push_back(std::move(node));
  return {};
}

Shape translate_shape(const Shape& shape, const Graph& from, Graph& to) {
  Shape out = shape;
  for (int i = 0; i < shape.rank(); ++i) {
    const auto symbol = static_cast<size_t>(-2 - shape[i]);
    if (shape[i] > kUnknownDim) continue;
    out[i] = shape[i] < kUnknownDim && symbol < from.symbols.size()
                 ? to.symbol_dim(from.symbols[symbol])
                 : kUnknownDim;
  }
  return out;
}

std::optional<ValueId> Scope::find(const std::string& name) {
  const auto found = values.find(name);
  if (found != values.end()) return found->second;
  if (outer == nullptr) return std::nullopt;
  const std::optional<ValueId> known = outer->find(name);
  if (!known || *known == kNoValue) return known;
  const ValueId outside = *known;
  // Constants are shared with the body (its kernels can then pack them); the rest is passed in.
  const Value& value = outer->builder.graph.value(outside);
  const std::string inner_name = builder.unique_name(value.name);
  ValueId inside = kNoValue;
  if (value.constant.present()) {
    inside = builder.add_constant(inner_name, value.constant);
  } else {
    inside = builder.add_value(inner_name, value.dtype,
                               translate_shape(value.shape, outer->builder.graph, builder.graph));
    captures.emplace_back(outside, inside);
  }
  values.emplace(name, inside);
  return inside;
}

Result<TensorType> import_type(const onnx::ValueInfoProto& info, Graph& graph) {
  const onnx::TypeProto& type = info.type();
  const auto unsupported = [&](std::string_view what) {
    return std::unexpected(Error{ErrorCode::kUnsupportedOp,
                                 concat(what, " values are not supported; only tensors are"),
                                 {},
                                 info.name()});
  };
  switch (type.value_case()) {
    case onnx::TypeProto::kSequenceType: return unsupported("sequence");
    case onnx::TypeProto::kOptionalType: return unsupported("optional");
    case onnx::TypeProto::kMapType: return unsupported("map");
    case onnx::TypeProto::kSparseTensorType: return unsupported("sparse tensor");
    default: break;
  }
  TensorType out;
  if (!type.has_tensor_type()) return out;
  if (type.tensor_type().elem_type() != 0) {
    auto dtype = dtype_from_onnx(type.tensor_type().elem_type());
    if (!dtype) {
      dtype.error().tensor = info.name();
      return std::unexpected(std::move(dtype).error());
    }
    out.dtype = *dtype;
  }
  if (!type.tensor_type().has_shape()) return out;
  const onnx::TensorShapeProto& dims = type.tensor_type().shape();
  if (dims.dim_size() > kMaxRank) {
    return std::unexpected(Error{
        ErrorCode::kLimitExceeded,
        concat("a tensor of rank ", dims.dim_size(), "; ranks up to ", kMaxRank, " are supported"),
        {},
        info.name()});
  }
  out.shape = Shape();
  for (const auto& dim : dims.dim()) {
    if (dim.has_dim_value() && dim.dim_value() >= 0) {
      out.shape.push_back(dim.dim_value());
    } else if (dim.has_dim_param() && !dim.dim_param().empty()) {
      out.shape.push_back(graph.symbol_dim(dim.dim_param()));
    } else {
      out.shape.push_back(kUnknownDim);
    }
  }
  return out;
}

std::string qualified_name(std::string_view domain, std::string_view op_type) {
  return domain.empty() || domain == "ai.onnx" ? std::string(op_type)
                                               : concat(domain, ".", op_type);
}

std::string node_name(const onnx::NodeProto& node) {
  if (!node.name().empty()) return node.name();
  for (const std::string& output : node.output()) {
    if (!output.empty()) return output;
  }
  return node.op_type();
}

Status at_node(Status status, std::string_view name) {
  if (status) return status;
  Error error = std::move(status).error();
  if (error.node.empty()) error.node = name;
  return std::unexpected(std::move(error));
}

namespace {

Status read_opsets(const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>& imports,
                   Opsets& opsets) {
  // Newer versions than kNewestOpset are tried; this bound only tells nonsense apart.
  constexpr int64_t kPlausible = 1000;
  for (const auto& import : imports) {
    const std::string domain = import.domain() == "ai.onnx" ? "" : import.domain();
    if (import.version() < 1 || import.version() > kPlausible) {
      return fail(ErrorCode::kInvalidModel, "operator set '", domain, "' has version ",
                  import.version());
    }
    const auto [at, is_new] = opsets.emplace(domain, import.version());
    if (!is_new && at->second != import.version()) {
      return fail(ErrorCode::kInvalidModel, "operator set '", domain, "' is imported in versions ",
                  at->second, " and ", import.version());
    }
  }
  return {};
}

}  // namespace

Status ModelImport::check_model() {
  if (!model_.has_graph()) {
    return fail(ErrorCode::kInvalidModel, "the model has no graph; is this an ONNX file?");
  }
  if (model_.ir_version() < 1 || model_.ir_version() > 1000) {
    return fail(ErrorCode::kInvalidModel, "the model's IR version is ", model_.ir_version());
  }
  OCTAVO_TRY(read_opsets(model_.opset_import(), opsets_));
  if (!opsets_.contains("") && model_.ir_version() >= 3) {
    // Models without ai.onnx operators may leave it out.
    for (const auto& node : model_.graph().node()) {
      if (node.domain().empty() || node.domain() == "ai.onnx") {
        return fail(ErrorCode::kInvalidModel,
                    "the model does not say which ONNX operator set it "
                    "uses (opset_import is missing)");
      }
    }
  }
  opsets_.emplace("", model_.ir_version() < 3 ? 1 : kNewestOpset);
  return collect_functions();
}

Status ModelImport::collect_functions() {
  for (const onnx::FunctionProto& function : model_.functions()) {
    const std::string key = concat(function.domain() == "ai.onnx" ? "" : function.domain(), '\n',
                                   function.name(), '\n', function.overload());
    if (!functions_.emplace(key, &function).second) {
      return fail(ErrorCode::kInvalidModel, "function '",
                  qualified_name(function.domain(), function.name()), "' is defined twice");
    }
    Opsets& opsets = function_opsets_[&function];
    OCTAVO_TRY(read_opsets(function.opset_import(), opsets));
    for (const auto& [domain, version] : opsets_) opsets.emplace(domain, version);
  }
  return {};
}

Status ModelImport::import_initializers(const onnx::GraphProto& proto, Scope& scope) {
  if (proto.sparse_initializer_size() > 0) {
    return fail(ErrorCode::kUnsupportedOp, "sparse initializers are not supported");
  }
  const bool is_main = &proto == &model_.graph();
  for (int i = 0; i < proto.initializer_size(); ++i) {
    const onnx::TensorProto& initializer = proto.initializer(i);
    if (initializer.name().empty()) {
      return fail(ErrorCode::kInvalidModel, "initializer ", i, " has no name");
    }
    OCTAVO_ASSIGN(Tensor tensor, tensor_from_proto(initializer, external_data_));
    // The bytes are held once: as the tensor.
    if (is_main) delete model_.mutable_graph()->mutable_initializer(i)->release_raw_data();
    const ValueId id = scope.builder.add_constant(scope.builder.unique_name(initializer.name()),
                                                  std::move(tensor));
    if (!scope.values.emplace(initializer.name(), id).second) {
      return std::unexpected(Error{
          ErrorCode::kInvalidModel, "an initializer is defined twice", {}, initializer.name()});
    }
  }
  return {};
}

Status ModelImport::import_inputs(const onnx::GraphProto& proto, Scope& scope,
                                  const std::vector<DType>& input_dtypes) {
  for (int i = 0; i < proto.input_size(); ++i) {
    const onnx::ValueInfoProto& input = proto.input(i);
    if (input.name().empty()) return fail(ErrorCode::kInvalidModel, "input ", i, " has no name");
    // An input that an initializer gives a default value is a constant.
    const auto known = scope.values.find(input.name());
    if (known != scope.values.end() && scope.builder.constant(known->second) != nullptr) continue;
    if (known != scope.values.end()) {
      return std::unexpected(
          Error{ErrorCode::kInvalidModel, "an input appears twice", {}, input.name()});
    }
    OCTAVO_ASSIGN(TensorType type, import_type(input, scope.builder.graph));
    if (type.dtype == DType::kUndefined && static_cast<size_t>(i) < input_dtypes.size()) {
      type.dtype = input_dtypes[static_cast<size_t>(i)];
    }
    if (type.dtype == DType::kUndefined && scope.outer == nullptr) {
      return std::unexpected(
          Error{ErrorCode::kInvalidModel, "an input has no data type", {}, input.name()});
    }
    const ValueId id =
        scope.builder.add_value(scope.builder.unique_name(input.name()), type.dtype, type.shape);
    scope.values.emplace(input.name(), id);
    scope.builder.graph.inputs.push_back(id);
  }
  return {};
}

Status ModelImport::import_outputs(const onnx::GraphProto& proto, Scope& scope) {
  Graph& graph = scope.builder.graph;
  std::unordered_set<std::string> seen;
  for (const onnx::ValueInfoProto& output : proto.output()) {
    if (!seen.insert(output.name()).second) {
      return std::unexpected(
          Error{ErrorCode::kInvalidModel, "an output appears twice", {}, output.name()});
    }
    ValueId id = scope.find(output.name()).value_or(kNoValue);
    if (id == kNoValue) {
      if (!unsupported_.empty()) continue;
      return std::unexpected(
          Error{ErrorCode::kInvalidModel, "nothing computes this output", {}, output.name()});
    }
    OCTAVO_ASSIGN(const TensorType type, import_type(output, graph));
    // A function may hand its input through: the output's name then needs a value of its own.
    if (scope.outer == nullptr && graph.value(id).name != output.name()) {
      const ValueId copy = scope.builder.add_value(scope.builder.unique_name(output.name()));
      OCTAVO_TRY(scope.builder.add_node(
          {.kind = OpKind::kIdentity, .inputs = {id}, .outputs = {copy}, .name = output.name()}));
      id = copy;
    }
    Value& value = graph.value(id);
    if (value.dtype == DType::kUndefined) value.dtype = type.dtype;
    if (!value.shape.has_rank()) value.shape = type.shape;
    graph.outputs.push_back(id);
  }
  return {};
}

Status ModelImport::import_graph(const onnx::GraphProto& proto, Scope& scope,
                                 const std::vector<DType>& input_dtypes) {
  if (scope.depth > limits::kNesting) {
    return fail(ErrorCode::kLimitExceeded, "graphs are nested more than ", limits::kNesting,
                " deep");
  }
  Graph& graph = scope.builder.graph;
  graph.name = proto.name();
  OCTAVO_TRY(import_initializers(proto, scope));
  OCTAVO_TRY(import_inputs(proto, scope, input_dtypes));
  for (const auto& node : proto.node()) {
    for (const std::string& output : node.output()) {
      if (!output.empty()) scope.builder.reserve_name(output);
    }
  }
  OCTAVO_TRY(import_nodes(proto.node(), scope));
  return import_outputs(proto, scope);
}

Status ModelImport::unsupported_error() const {
  std::string list;
  std::string first;
  for (const auto& [op, use] : unsupported_) {
    if (first.empty()) first = use.node;
    list += concat(list.empty() ? "" : ", ", op, " (", use.count,
                   use.count == 1 ? " node" : " nodes", ", '", use.node, "')");
  }
  return std::unexpected(Error{ErrorCode::kUnsupportedOp,
                               concat("the model uses ", unsupported_.size(),
                                      unsupported_.size() == 1 ? " operator" : " operators",
                                      " that Octavo does not have: ", list),
                               first});
}

Result<Graph> ModelImport::run() {
  OCTAVO_TRY(check_model());
  GraphBuilder builder;
  Scope scope{.builder = builder, .opsets = opsets_};
  auto status = import_graph(model_.graph(), scope, {});
  // What depends on an unknown operator may fail too; the operator is the reason.
  if (!unsupported_.empty()) return std::unexpected(std::move(unsupported_error()).error());
  OCTAVO_TRY(status);
  for (const auto& property : model_.metadata_props()) {
    builder.graph.metadata.emplace_back(property.key(), property.value());
  }
  return std::move(builder.graph);
}

}  // namespace onnx_io

namespace {

struct Signature {
  size_t offset;
  std::string_view bytes;
  std::string_view format;
};
constexpr std::string_view kGzip("\x1f\x8b", 2), kZip("PK\x03\x04", 4);
constexpr Signature kForeign[] = {
    {0, kZip, "a zip archive (a PyTorch, Keras or Core ML file?); unpack it or export to ONNX"},
    {0, kGzip, "gzip-compressed; unpack it first"},
    {0, "<!DOCTYPE", "an HTML page, so the download went wrong"},
    {0, "<!doctype", "an HTML page, so the download went wrong"},
    {0, "<html", "an HTML page, so the download went wrong"},
    {0, "version https://git-lfs", "a Git LFS pointer; run `git lfs pull` to get the model itself"},
    {4, "TFL3", "a TensorFlow Lite model; export the network to ONNX"},
    {4, "ORTM", "in ONNX Runtime's own ORT format; use the ONNX file that it was made from"},
    {0, "\x89HDF", "an HDF5 file (Keras?); export the network to ONNX"},
    {0, "\x80\x02", "a Python pickle; export the network to ONNX"},
    {8, "{\"",
     "a safetensors file, which holds weights but no network; export the network to ONNX"},
};

/// What these bytes are if they are surely not ONNX; empty if they may be.
std::string_view foreign_format(std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const Signature& signature : kForeign) {
    if (text.size() < signature.offset ||
        !text.substr(signature.offset).starts_with(signature.bytes)) {
      continue;
    }
    if (signature.offset == 8) {  // safetensors: a header length of eight bytes
      uint64_t length = 0;
      std::memcpy(&length, bytes.data(), 8);
      if (length > bytes.size()) continue;
    }
    return signature.format;
  }
  return {};
}

}  // namespace

Result<Graph> import_onnx(std::span<const uint8_t> bytes, const LoadOptions& options) {
  if (bytes.empty()) return fail(ErrorCode::kInvalidModel, "the model file is empty");
  if (const std::string_view format = foreign_format(bytes); !format.empty()) {
    return fail(ErrorCode::kInvalidModel, "this is not an ONNX model: it is ", format);
  }
  if (static_cast<int64_t>(bytes.size()) >= limits::kModelBytes) {
    return fail(ErrorCode::kLimitExceeded, "the model has ", bytes.size(), " bytes; the limit is ",
                limits::kModelBytes);
  }
  onnx::ModelProto model;
  if (!model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(ErrorCode::kInvalidModel,
                "these bytes are not an ONNX model, or the file is truncated");
  }
  onnx_io::ModelImport importer(model, options.external_data);
  OCTAVO_ASSIGN(Graph graph, importer.run());
  OCTAVO_TRY(infer_in_place(graph));
  OCTAVO_TRY(validate(graph));
  return graph;
}

}  // namespace octavo
