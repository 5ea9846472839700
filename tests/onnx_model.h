// Builds ModelProtos for tests: valid ones, and such as no exporter should write.
#pragma once

#include <gtest/gtest.h>
#include <onnx/onnx.pb.h>

#include <initializer_list>
#include <string>

#include "core/onnx/onnx.h"

namespace octavo {

class OnnxModel {
 public:
  onnx::ModelProto proto;

  explicit OnnxModel(int64_t opset = 18) {
    proto.set_ir_version(8);
    proto.add_opset_import()->set_version(opset);
    proto.mutable_graph()->set_name("test");
  }
  onnx::GraphProto& graph() { return *proto.mutable_graph(); }

  static void set_type(onnx::ValueInfoProto& info, const std::string& name,
                       std::initializer_list<int64_t> dims, int32_t type) {
    info.set_name(name);
    auto& tensor = *info.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(type);
    tensor.mutable_shape();
    for (const int64_t dim : dims) tensor.mutable_shape()->add_dim()->set_dim_value(dim);
  }
  OnnxModel& input(const std::string& name, std::initializer_list<int64_t> dims,
                   int32_t type = onnx::TensorProto::FLOAT) {
    set_type(*graph().add_input(), name, dims, type);
    return *this;
  }
  OnnxModel& output(const std::string& name) {
    graph().add_output()->set_name(name);
    return *this;
  }
  static onnx::NodeProto& add_node(google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes,
                                   const std::string& op, std::initializer_list<const char*> inputs,
                                   std::initializer_list<const char*> outputs) {
    onnx::NodeProto& node = *nodes.Add();
    node.set_op_type(op);
    for (const char* name : inputs) node.add_input(name);
    for (const char* name : outputs) node.add_output(name);
    if (outputs.size() > 0) node.set_name(std::string("node_") + *outputs.begin());
    return node;
  }
  onnx::NodeProto& node(const std::string& op, std::initializer_list<const char*> inputs,
                        std::initializer_list<const char*> outputs) {
    return add_node(*graph().mutable_node(), op, inputs, outputs);
  }
  onnx::TensorProto& initializer(const std::string& name, std::initializer_list<int64_t> dims,
                                 int32_t type = onnx::TensorProto::FLOAT) {
    onnx::TensorProto& tensor = *graph().add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(type);
    for (const int64_t dim : dims) tensor.add_dims(dim);
    return tensor;
  }
  onnx::TensorProto& floats(const std::string& name, std::initializer_list<int64_t> dims,
                            std::initializer_list<float> values) {
    onnx::TensorProto& tensor = initializer(name, dims);
    for (const float value : values) tensor.add_float_data(value);
    return tensor;
  }

  static void set_int(onnx::NodeProto& node, const std::string& name, int64_t value) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::INT);
    attribute.set_i(value);
  }
  static void set_float(onnx::NodeProto& node, const std::string& name, float value) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::FLOAT);
    attribute.set_f(value);
  }
  static void set_ints(onnx::NodeProto& node, const std::string& name,
                       std::initializer_list<int64_t> values) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute.add_ints(value);
  }
  static onnx::GraphProto& set_graph(onnx::NodeProto& node, const std::string& name) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::GRAPH);
    attribute.mutable_g()->set_name(name);
    return *attribute.mutable_g();
  }

  Bytes bytes() const {
    const std::string text = proto.SerializeAsString();
    return Bytes(text.begin(), text.end());
  }
  Result<Graph> import(const LoadOptions& options = {}) const {
    return import_onnx(bytes(), options);
  }
  /// The graph's text, or the error.
  std::string dumped() const {
    const auto graph = import();
    return graph ? dump(*graph) : graph.error().to_string();
  }
};

}  // namespace octavo
