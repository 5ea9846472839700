// ONNX import: calls of model-local functions are replaced by the functions' nodes.
#include <algorithm>

#include "core/onnx/importer.h"
#include "runtime/limits.h"

namespace octavo::onnx_io {

const onnx::FunctionProto* ModelImport::find_function(const onnx::NodeProto& node) const {
  if (functions_.empty()) return nullptr;
  const auto found = functions_.find(concat(node.domain() == "ai.onnx" ? "" : node.domain(), '\n',
                                            node.op_type(), '\n', node.overload()));
  return found == functions_.end() ? nullptr : found->second;
}

std::vector<std::pair<std::string, BoundAttribute>> ModelImport::bind_attributes(
    const onnx::NodeProto& node, Scope& scope) {
  std::vector<std::pair<std::string, BoundAttribute>> bound;
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.ref_attr_name().empty()) {
      bound.emplace_back(attribute.name(), BoundAttribute{&attribute, &scope});
    } else if (scope.call != nullptr) {
      // A reference to an attribute that the call does not give leaves this one out.
      const auto given = scope.call->find(attribute.ref_attr_name());
      if (given != scope.call->end()) bound.emplace_back(attribute.name(), given->second);
    }
  }
  return bound;
}

Status ModelImport::inline_function(const onnx::NodeProto& call,
                                    const onnx::FunctionProto& function, Scope& scope) {
  const std::string name = qualified_name(function.domain(), function.name());
  if (std::ranges::find(calls_, &function) != calls_.end()) {
    return fail(ErrorCode::kInvalidModel, "function '", name, "' calls itself");
  }
  if (scope.depth + 1 > limits::kNesting) {
    return fail(ErrorCode::kLimitExceeded, "functions are nested more than ", limits::kNesting,
                " deep");
  }
  if (call.input_size() > function.input_size() || call.output_size() > function.output_size()) {
    return fail(ErrorCode::kInvalidModel, "function '", name, "' has ", function.input_size(),
                " inputs and ", function.output_size(), " outputs, but is called with ",
                call.input_size(), " and ", call.output_size());
  }

  CallAttributes attributes;
  for (auto& [key, attribute] : bind_attributes(call, scope)) attributes.emplace(key, attribute);
  Scope inner{.builder = scope.builder,
              .opsets = function_opsets_[&function],
              .call = &attributes,
              .prefix = concat(scope.prefix, node_name(call), "/"),
              .depth = scope.depth + 1};
  for (const onnx::AttributeProto& attribute : function.attribute_proto()) {
    attributes.emplace(attribute.name(), BoundAttribute{&attribute, &inner});
  }
  OCTAVO_ASSIGN(const std::vector<ValueId> operands, import_operands(call, scope));
  for (int i = 0; i < function.input_size(); ++i) {
    const auto at = static_cast<size_t>(i);
    const ValueId value = at < operands.size() ? operands[at] : kNoValue;
    if (!inner.values.emplace(function.input(i), value).second) {
      return fail(ErrorCode::kInvalidModel, "function '", name, "' has two inputs '",
                  function.input(i), "'");
    }
  }
  // The caller's names go to the function's outputs.
  for (int i = 0; i < call.output_size(); ++i) {
    if (call.output(i).empty()) continue;
    const auto given = scope.output_names.find(call.output(i));
    inner.output_names.emplace(
        function.output(i), given != scope.output_names.end() ? given->second
                            : scope.prefix.empty()
                                ? call.output(i)
                                : scope.builder.unique_name(concat(scope.prefix, call.output(i))));
  }
  calls_.push_back(&function);
  auto status = import_nodes(function.node(), inner);
  calls_.pop_back();
  OCTAVO_TRY(status);
  for (int i = 0; i < call.output_size(); ++i) {
    if (call.output(i).empty()) continue;
    const ValueId value = inner.find(function.output(i)).value_or(kNoValue);
    if (value == kNoValue && unsupported_.empty()) {
      return fail(ErrorCode::kInvalidModel, "function '", name, "' does not compute its output '",
                  function.output(i), "'");
    }
    if (!scope.values.emplace(call.output(i), value).second) {
      return fail(ErrorCode::kInvalidModel, "'", call.output(i), "' is computed twice");
    }
  }
  return {};
}

}  // namespace octavo::onnx_io
