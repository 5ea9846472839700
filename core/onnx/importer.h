// The parts of ONNX import: a graph under construction, the names visible while its nodes are read,
// and what holds for the model as a whole.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/onnx/proto.h"
#include "runtime/infer.h"

namespace octavo::onnx_io {

/// Operator set versions by domain; "ai.onnx" goes by "".
using Opsets = std::map<std::string, int64_t, std::less<>>;

/// A graph under construction. Shapes and dtypes are inferred node by node, because some rewrites
/// (normalize.h) need ranks.
class GraphBuilder {
 public:
  Graph graph;

  /// A name no value of this graph has yet, made from `name`.
  std::string unique_name(const std::string& name);
  /// Keeps `name` from being given to anything but the value that has it in the file.
  void reserve_name(const std::string& name) { names_.emplace(name, 0); }
  /// `name` must be unique or reserved.
  ValueId add_value(std::string name, DType dtype = DType::kUndefined,
                    const Shape& shape = Shape::unknown());
  ValueId add_constant(std::string name, Tensor tensor);
  /// Makes a value that nothing computes a constant.
  void set_constant(ValueId id, Tensor tensor);
  /// Nodes of the same name get numbers: names identify nodes in options and in error messages.
  Status add_node(Node node);

  const TensorInfo& info(ValueId id) const { return infos_[static_cast<size_t>(id)]; }
  /// The elements of a value if they are known, else nullptr.
  const Tensor* constant(ValueId id) const {
    return id != kNoValue && info(id).constant.present() ? &info(id).constant : nullptr;
  }
  int rank(ValueId id) const { return id == kNoValue ? -1 : info(id).shape.rank(); }

 private:
  void drop_redundant_attributes(Node& node) const;

  std::vector<TensorInfo> infos_;
  // -> the last number appended to it
  std::unordered_map<std::string, int> names_, node_names_;
};

struct Scope;

/// An attribute of a function call and where the names in it (if it is a graph) are looked up.
struct BoundAttribute {
  const onnx::AttributeProto* proto = nullptr;
  Scope* scope = nullptr;
};
using CallAttributes = std::map<std::string, BoundAttribute, std::less<>>;

/// What a name means at one place: in a graph, in a body, or in a function being inlined.
struct Scope {
  GraphBuilder& builder;
  const Opsets& opsets;
  Scope* outer = nullptr;                // of a body: where names that it lacks are looked up
  const CallAttributes* call = nullptr;  // inside a function
  std::string prefix = {};               // of names inside a function
  int depth = 0;                         // of bodies and function calls
  std::unordered_map<std::string, ValueId> values = {};
  /// Names that the values of these outputs shall have in the graph (of a function's outputs).
  std::unordered_map<std::string, std::string> output_names = {};
  /// Values of `outer` that became inputs of this body: (outer, inner).
  std::vector<std::pair<ValueId, ValueId>> captures = {};

  /// The value of that name, captured from outside if need be; nullopt if nothing defines it.
  /// kNoValue stands for a function's optional input that the call leaves out.
  std::optional<ValueId> find(const std::string& name);
};

/// Brings `shape` from one graph into another: symbols are looked up by name.
Shape translate_shape(const Shape& shape, const Graph& from, Graph& to);

class ModelImport {
 public:
  ModelImport(onnx::ModelProto& model, const ExternalDataReader& external_data)
      : model_(model), external_data_(external_data) {}

  Result<Graph> run();

 private:
  struct Unsupported {
    int64_t count = 0;
    std::string node;
  };
  using NodeList = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

  // import.cc
  Status check_model();
  Status import_graph(const onnx::GraphProto& proto, Scope& scope,
                      const std::vector<DType>& input_dtypes);
  Status import_inputs(const onnx::GraphProto& proto, Scope& scope,
                       const std::vector<DType>& input_dtypes);
  Status import_initializers(const onnx::GraphProto& proto, Scope& scope);
  Status import_outputs(const onnx::GraphProto& proto, Scope& scope);
  Status unsupported_error() const;

  // nodes.cc
  Status import_nodes(const NodeList& nodes, Scope& scope);
  Status import_node(const onnx::NodeProto& proto, Scope& scope);
  Status import_operator(const onnx::NodeProto& proto, Scope& scope);
  Status import_constant(const onnx::NodeProto& proto, Scope& scope);
  Result<AttributeValue> import_attribute(const onnx::AttributeProto& proto);
  Status import_attributes(const onnx::NodeProto& proto, Scope& scope, Node& node);
  Result<std::vector<ValueId>> import_operands(const onnx::NodeProto& proto, Scope& scope);
  Result<ValueId> define(const std::string& name, Scope& scope);

  // bodies.cc
  struct Body;
  Status import_bodies(std::span<const std::pair<std::string, BoundAttribute>> graphs,
                       size_t operands, Scope& scope, Node& node);

  // functions.cc
  Status collect_functions();
  const onnx::FunctionProto* find_function(const onnx::NodeProto& node) const;
  Status inline_function(const onnx::NodeProto& call, const onnx::FunctionProto& function,
                         Scope& scope);
  /// The attributes of a node, references to a call's attributes followed.
  static std::vector<std::pair<std::string, BoundAttribute>> bind_attributes(
      const onnx::NodeProto& node, Scope& scope);

  onnx::ModelProto& model_;
  const ExternalDataReader& external_data_;
  Opsets opsets_;
  std::map<std::string, const onnx::FunctionProto*> functions_;  // by domain, name and overload
  std::map<const onnx::FunctionProto*, Opsets> function_opsets_;
  std::vector<const onnx::FunctionProto*> calls_;  // being inlined, outermost first
  std::map<std::string, Unsupported> unsupported_;
  int64_t node_count_ = 0;
};

/// Nodes in an order in which each comes after what it reads (bodies included); the file's own
/// order if it is right. Errors name a node on a cycle.
Result<std::vector<const onnx::NodeProto*>> sorted_nodes(
    const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes);

/// "the input 'x'": its dtype and shape, symbols made as needed.
struct TensorType {
  DType dtype = DType::kUndefined;
  Shape shape = Shape::unknown();
};
Result<TensorType> import_type(const onnx::ValueInfoProto& info, Graph& graph);

/// "ai.onnx.ml.Scaler", "Conv".
std::string qualified_name(std::string_view domain, std::string_view op_type);
/// The node's name, or what identifies it best.
std::string node_name(const onnx::NodeProto& node);
/// Fills in where an error happened.
Status at_node(Status status, std::string_view name);

}  // namespace octavo::onnx_io
