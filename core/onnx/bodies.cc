// ONNX import: the bodies of If, Loop and Scan. What they use of the outer graph becomes their last
// inputs and the last inputs of their node (runtime/graph.h).
#include <algorithm>

#include "core/onnx/importer.h"

namespace octavo::onnx_io {

struct ModelImport::Body {
  std::string attribute;
  Scope* outer;
  GraphBuilder builder = {};
  std::vector<std::pair<ValueId, ValueId>> captures = {};  // (outer, inner)
};

namespace {

// Dtypes of a body's own inputs, from those of the node's: for bodies that do not declare them.
std::vector<DType> body_input_dtypes(const onnx::GraphProto& body, const Node& node,
                                     const GraphBuilder& builder) {
  std::vector<DType> dtypes;
  for (int i = 0; i < body.input_size(); ++i) {
    const ValueId id = node.input(static_cast<size_t>(i));
    dtypes.push_back(id == kNoValue ? DType::kUndefined : builder.info(id).dtype);
  }
  return dtypes;
}

}  // namespace

Status ModelImport::import_bodies(std::span<const std::pair<std::string, BoundAttribute>> graphs,
                                  size_t operands, Scope& scope, Node& node) {
  std::vector<Body> bodies;
  std::vector<ValueId> captured;  // values of scope.builder, in order of first use
  for (const auto& [name, attribute] : graphs) {
    Body& body = bodies.emplace_back(name, attribute.scope);
    Scope inner{.builder = body.builder,
                .opsets = attribute.scope->opsets,
                .outer = attribute.scope,
                .call = attribute.scope->call,
                .depth = std::max(scope.depth, attribute.scope->depth) + 1};
    OCTAVO_TRY(import_graph(attribute.proto->g(), inner,
                            body_input_dtypes(attribute.proto->g(), node, scope.builder)));
    body.captures = std::move(inner.captures);
    if (&body.outer->builder != &scope.builder) {
      return fail(ErrorCode::kUnsupportedOp,
                  "a graph passed to a function that uses it inside a body is not supported");
    }
    for (const auto& [outside, inside] : body.captures) {
      if (std::ranges::find(captured, outside) == captured.end()) captured.push_back(outside);
    }
  }
  for (Body& body : bodies) {
    for (const ValueId outside : captured) {
      const auto known =
          std::ranges::find(body.captures, outside, &std::pair<ValueId, ValueId>::first);
      if (known != body.captures.end()) {
        body.builder.graph.inputs.push_back(known->second);
        continue;
      }
      const Graph& graph = scope.builder.graph;
      const Value& value = graph.value(outside);
      body.builder.graph.inputs.push_back(
          body.builder.add_value(body.builder.unique_name(value.name), value.dtype,
                                 translate_shape(value.shape, graph, body.builder.graph)));
    }
    node.set(body.attribute, std::make_shared<const Graph>(std::move(body.builder.graph)));
  }
  // Absent operands keep their places in front of the captured values.
  node.inputs.resize(operands, kNoValue);
  node.inputs.insert(node.inputs.end(), captured.begin(), captured.end());
  node.set("captured", static_cast<int64_t>(captured.size()));
  return {};
}

}  // namespace octavo::onnx_io
