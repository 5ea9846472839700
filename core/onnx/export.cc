// ONNX export: Graph -> ModelProto.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "core/onnx/exporter.h"
#include "core/onnx/matmul_nbits.h"
#include "core/onnx/onnx.h"
#include "core/onnx/proto.h"
#include "core/quantization/qdq.h"
#include "runtime/limits.h"

namespace octavo {
namespace onnx_io {
namespace {

/// The IR version that came with an operator set.
int64_t ir_version(int64_t opset) { return opset <= 18 ? 8 : opset <= 20 ? 9 : 10; }

/// What a body sees of the graphs around it.
struct Surroundings {
  std::unordered_set<std::string> names;  // a body must not hide them
  /// Names of constants, by where their elements are: a body that has the same constant uses it.
  struct Constant {
    std::string name;
    DType dtype;
    Shape shape;
  };
  std::unordered_map<const void*, Constant> constants;
};

/// Writes one graph; bodies by writers of their own.
class GraphWriter {
 public:
  /// `captured`: names, outside, of the graph's last inputs.
  GraphWriter(const Graph& graph, std::span<const std::string> captured,
              const Surroundings& outside, onnx::GraphProto& proto)
      : graph_(graph),
        captured_(captured),
        names_(graph.values.size()),
        visible_(outside),
        proto_(proto) {}

  Status run() {
    choose_names();
    for (auto& [elements, constant] : own_constants_) {
      visible_.constants.insert_or_assign(elements, std::move(constant));
    }
    proto_.set_name(graph_.name.empty() ? "graph" : graph_.name);
    for (size_t i = 0; i < own_inputs(); ++i) write_type(graph_.inputs[i], *proto_.add_input());
    for (const Node& node : graph_.nodes) OCTAVO_TRY(write_node(node));
    write_outputs();
    return {};
  }

 private:
  size_t own_inputs() const { return graph_.inputs.size() - captured_.size(); }
  const std::string& name(ValueId id) const { return names_[static_cast<size_t>(id)]; }

  static std::string make_unique(const std::string& base, std::unordered_set<std::string>& names) {
    std::string candidate = base;
    for (int i = 1; !names.insert(candidate).second; ++i) candidate = concat(base, "_", i);
    return candidate;
  }
  std::string unique_name(const std::string& wanted) {
    if (!wanted.empty()) return make_unique(wanted, visible_.names);
    while (true) {
      if (std::string name = short_name(unnamed_++); visible_.names.insert(name).second) {
        return name;
      }
    }
  }

  /// The shortest identifiers, in order: a, b, ... Z, aa, ab, ...
  static std::string short_name(size_t number) {
    constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    std::string name;
    for (++number; number > 0; number = (number - 1) / kLetters.size()) {
      name.insert(name.begin(), kLetters[(number - 1) % kLetters.size()]);
    }
    return name;
  }

  void choose_names() {
    for (size_t i = 0; i < captured_.size(); ++i) {
      const ValueId id = graph_.inputs[own_inputs() + i];
      names_[static_cast<size_t>(id)] = captured_[i];
      from_outside_.insert(id);
    }
    for (size_t i = 0; i < names_.size(); ++i) {
      const Tensor& constant = graph_.values[i].constant;
      if (constant.present()) {
        write_constant(static_cast<ValueId>(i));
      } else if (names_[i].empty()) {
        names_[i] = unique_name(graph_.values[i].name);
      }
    }
  }

  void write_constant(ValueId id) {
    const Tensor& constant = graph_.value(id).constant;
    std::string& name = names_[static_cast<size_t>(id)];
    const auto outside = visible_.constants.find(constant.raw());
    if (outside != visible_.constants.end() && outside->second.dtype == constant.dtype() &&
        outside->second.shape == constant.shape()) {
      name = outside->second.name;
      from_outside_.insert(id);
      return;
    }
    name = unique_name(graph_.value(id).name);
    own_constants_.push_back({constant.raw(), {name, constant.dtype(), constant.shape()}});
    onnx::TensorProto& initializer = *proto_.add_initializer();
    initializer.set_name(name);
    tensor_to_proto(constant, initializer);
  }

  void write_type(ValueId id, onnx::ValueInfoProto& info) {
    const Value& value = graph_.value(id);
    info.set_name(name(id));
    if (value.dtype == DType::kUndefined) return;
    auto& type = *info.mutable_type()->mutable_tensor_type();
    type.set_elem_type(dtype_to_onnx(value.dtype));
    if (!value.shape.has_rank()) return;
    auto& shape = *type.mutable_shape();
    for (const int64_t dim : value.shape) {
      auto& out = *shape.add_dim();
      const auto symbol = static_cast<size_t>(-2 - dim);
      if (dim >= 0) {
        out.set_dim_value(dim);
      } else if (dim != kUnknownDim && symbol < graph_.symbols.size()) {
        out.set_dim_param(graph_.symbols[symbol]);
      }
    }
  }

  // A value may be an output once, and not if it comes from outside: copies stand for the others.
  void write_outputs() {
    std::unordered_set<ValueId> seen = from_outside_;
    for (const ValueId id : graph_.outputs) {
      onnx::ValueInfoProto& info = *proto_.add_output();
      write_type(id, info);
      if (seen.insert(id).second) continue;
      info.set_name(unique_name(concat(name(id), "_copy")));
      onnx::NodeProto& copy = *proto_.add_node();
      copy.set_op_type("Identity");
      copy.set_name(make_unique(info.name(), node_names_));
      copy.add_input(name(id));
      copy.add_output(info.name());
    }
  }

  Status write_node(const Node& node) {
    const OpDef* op = find_op(node.kind);
    if (op == nullptr) return fail(ErrorCode::kInternal, "a node has an unknown operator");
    onnx::NodeProto& proto = *proto_.add_node();
    const AttributeValue* contributed = node.find(kMicrosoftOp);
    proto.set_op_type(contributed == nullptr ? op->name : std::get<std::string>(*contributed));
    if (contributed != nullptr) {
      proto.set_domain(kMicrosoftOp);
    } else if (*op->domain != '\0') {
      proto.set_domain(op->domain);
    }
    // ONNX Runtime refuses two nodes of one name.
    if (!node.name.empty()) proto.set_name(make_unique(node.name, node_names_));
    const size_t captured = captured_inputs(node);
    if (captured > node.inputs.size()) {
      return std::unexpected(
          Error{ErrorCode::kInternal, "more captured values than inputs", node.name});
    }
    const size_t operands = node.inputs.size() - captured;
    std::vector<std::string> captured_names;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      if (i < operands) {
        proto.add_input(id == kNoValue ? "" : name(id));
      } else {
        captured_names.push_back(name(id));
      }
    }
    for (const ValueId id : node.outputs) proto.add_output(id == kNoValue ? "" : name(id));
    for (const Attribute& attribute : node.attributes) {
      if (attribute.name == kMicrosoftOp) continue;
      const FieldDef* field = find_field(*op, attribute.name);
      if (field != nullptr && (field->internal || is_default(*field, attribute.value))) continue;
      OCTAVO_TRY(write_attribute(attribute, captured_names, *proto.add_attribute()));
    }
    return {};
  }

  static size_t captured_inputs(const Node& node) {
    const OpDef* op = find_op(node.kind);
    return op != nullptr && (op->flags & kHasBody) != 0
               ? static_cast<size_t>(std::max<int64_t>(node.get_int("captured"), 0))
               : 0;
  }

  Status write_attribute(const Attribute& attribute, std::span<const std::string> captured,
                         onnx::AttributeProto& proto) {
    using onnx::AttributeProto;
    proto.set_name(attribute.name);
    struct Visitor {
      GraphWriter& writer;
      std::span<const std::string> captured;
      AttributeProto& proto;

      Status operator()(int64_t v) const {
        proto.set_type(AttributeProto::INT);
        proto.set_i(v);
        return {};
      }
      Status operator()(float v) const {
        proto.set_type(AttributeProto::FLOAT);
        proto.set_f(v);
        return {};
      }
      Status operator()(const std::string& v) const {
        proto.set_type(AttributeProto::STRING);
        proto.set_s(v);
        return {};
      }
      Status operator()(const std::vector<int64_t>& v) const {
        proto.set_type(AttributeProto::INTS);
        for (const int64_t item : v) proto.add_ints(item);
        return {};
      }
      Status operator()(const std::vector<float>& v) const {
        proto.set_type(AttributeProto::FLOATS);
        for (const float item : v) proto.add_floats(item);
        return {};
      }
      Status operator()(const std::vector<std::string>& v) const {
        proto.set_type(AttributeProto::STRINGS);
        for (const std::string& item : v) proto.add_strings(item);
        return {};
      }
      Status operator()(const Tensor& v) const {
        proto.set_type(AttributeProto::TENSOR);
        tensor_to_proto(v, *proto.mutable_t());
        return {};
      }
      Status operator()(const std::shared_ptr<const Graph>& body) const {
        proto.set_type(AttributeProto::GRAPH);
        if (body == nullptr || body->inputs.size() < captured.size()) {
          return fail(ErrorCode::kInternal, "a body lacks the inputs that its node passes to it");
        }
        return GraphWriter(*body, captured, writer.visible_, *proto.mutable_g()).run();
      }
    };
    return std::visit(Visitor{*this, captured, proto}, attribute.value);
  }

  const Graph& graph_;
  std::span<const std::string> captured_;
  std::vector<std::string> names_;  // by ValueId
  Surroundings visible_;            // here and outside
  std::unordered_set<ValueId> from_outside_;
  std::unordered_set<std::string> node_names_;
  size_t unnamed_ = 0;  // values without a name, so far
  std::vector<std::pair<const void*, Surroundings::Constant>> own_constants_;
  onnx::GraphProto& proto_;
};

bool is_outer(const Graph& graph, ValueId id) {
  return std::ranges::contains(graph.inputs, id) || std::ranges::contains(graph.outputs, id);
}

/// Bytes of an ONNX file that names of inner tensors and of nodes take.
int64_t bytes_of_names(const Graph& graph) {
  std::vector<int64_t> uses(graph.values.size());
  int64_t bytes = 0;
  for (const Node& node : graph.nodes) {
    bytes += std::ssize(node.name);
    for (const auto& ids : {node.inputs, node.outputs}) {
      for (const ValueId id : ids) uses[static_cast<size_t>(std::max(id, 0))] += id != kNoValue;
    }
  }
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const int64_t count = uses[i] + (graph.values[i].constant.present() ? 1 : 0);
    if (!is_outer(graph, static_cast<ValueId>(i)))
      bytes += count * std::ssize(graph.values[i].name);
  }
  return bytes;
}

void drop_names(Graph& graph) {
  for (Node& node : graph.nodes) node.name.clear();
  for (size_t i = 0; i < graph.values.size(); ++i) {
    if (!is_outer(graph, static_cast<ValueId>(i))) graph.values[i].name.clear();
  }
}

}  // namespace
}  // namespace onnx_io

Result<Bytes> export_onnx(const Graph& graph, const OnnxOptions& options) {
  OCTAVO_ASSIGN(Graph expanded, expand_qdq(graph));
  OCTAVO_TRY(onnx_io::form_matmul_nbits(expanded));
  OCTAVO_TRY(onnx_io::expand_internals(expanded));
  if (constant_bytes(expanded) >= limits::kModelBytes) {
    return fail(ErrorCode::kLimitExceeded, "the model's constants have ", constant_bytes(expanded),
                " bytes; an ONNX file holds up to 2 GiB");
  }
  const bool is_quantized =
      std::ranges::any_of(graph.values, [](const Value& v) { return v.quant != nullptr; });
  if (is_quantized && !options.keep_names &&
      onnx_io::bytes_of_names(expanded) > constant_bytes(expanded) / 100) {
    onnx_io::drop_names(expanded);
  }
  const int64_t opset = onnx_io::required_opset(expanded);
  onnx::ModelProto model;
  model.set_ir_version(onnx_io::ir_version(opset));
  model.set_producer_name("octavo");
  model.add_opset_import()->set_version(opset);
  if (std::ranges::any_of(expanded.nodes,
                          [](const Node& node) { return node.has(onnx_io::kMicrosoftOp); })) {
    onnx::OperatorSetIdProto& domain = *model.add_opset_import();
    domain.set_domain(onnx_io::kMicrosoftOp);
    domain.set_version(1);
  }
  for (const auto& [key, value] : expanded.metadata) {
    auto& property = *model.add_metadata_props();
    property.set_key(key);
    property.set_value(value);
  }
  OCTAVO_TRY(onnx_io::GraphWriter(expanded, {}, {}, *model.mutable_graph()).run());
  const size_t size = model.ByteSizeLong();
  if (size >= static_cast<size_t>(limits::kModelBytes)) {
    return fail(ErrorCode::kLimitExceeded, "the model would have ", size,
                " bytes; an ONNX file holds up to 2 GiB");
  }
  Bytes bytes(size);
  if (!model.SerializeToArray(bytes.data(), static_cast<int>(size))) {
    return fail(ErrorCode::kInternal, "the model could not be written");
  }
  return bytes;
}

}  // namespace octavo
