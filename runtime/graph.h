// The one graph: plain data, ids instead of pointers. `runtime` owns and runs it, the compact file
// stores it, and only `core` edits it (core/graph_edit.h).
//
// Quantization lives on values, not on operator kinds: a Conv whose input is an int8 value with
// QuantParams is still a Conv; its kernel is chosen by the dtypes. QuantizeLinear and
// DequantizeLinear with one input stand where precision changes (parameters: the quantized value's
// `quant`); with more inputs they are ONNX's own operators with computed parameters.
//
// If, Loop and Scan hold graphs as attributes. What their bodies use of the outer graph is passed
// explicitly: the node's last inputs are the captured values, and they are the last inputs of the
// body (of both branches of an If).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/op_kind.h"
#include "runtime/tensor.h"

namespace octavo {

using ValueId = int32_t;
using NodeId = int32_t;
inline constexpr ValueId kNoValue = -1;  // an optional input or output that is absent

struct Graph;

struct Value {
  std::string name;
  DType dtype = DType::kUndefined;
  Shape shape = Shape::unknown();
  std::shared_ptr<const QuantParams> quant = nullptr;
  Tensor constant = {};  // present() if the value is a constant
};

using AttributeValue =
    std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>,
                 std::vector<std::string>, Tensor, std::shared_ptr<const Graph>>;

struct Attribute {
  std::string name;
  AttributeValue value;
};

struct Node {
  OpKind kind = OpKind::kIdentity;
  std::vector<ValueId> inputs = {};
  std::vector<ValueId> outputs = {};
  std::vector<Attribute> attributes = {};  // those that differ from the op's defaults may be absent
  std::string name = {};

  // An absent attribute has the default of the op's field list (runtime/op.h).
  bool has(std::string_view attribute) const { return find(attribute) != nullptr; }
  int64_t get_int(std::string_view attribute) const;
  float get_float(std::string_view attribute) const;
  std::string_view get_string(std::string_view attribute) const;
  std::span<const int64_t> get_ints(std::string_view attribute) const;  // default: empty
  std::span<const float> get_floats(std::string_view attribute) const;
  std::span<const std::string> get_strings(std::string_view attribute) const;
  const Tensor* get_tensor(std::string_view attribute) const;  // nullptr if absent
  const Graph* get_graph(std::string_view attribute) const;    // nullptr if absent

  const AttributeValue* find(std::string_view attribute) const;
  void set(std::string_view attribute, AttributeValue value);
  void unset(std::string_view attribute);

  ValueId input(size_t i) const { return i < inputs.size() ? inputs[i] : kNoValue; }
  ValueId output(size_t i) const { return i < outputs.size() ? outputs[i] : kNoValue; }
};

struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;  // in topological order
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<std::string> symbols;                                // names of symbolic dimensions
  std::vector<std::pair<std::string, std::string>> metadata = {};  // model properties

  Value& value(ValueId id) { return values[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return values[static_cast<size_t>(id)]; }
  const Node& node(NodeId id) const { return nodes[static_cast<size_t>(id)]; }
  ValueId add_value(Value value) {
    values.push_back(std::move(value));
    return static_cast<ValueId>(values.size() - 1);
  }
  /// The symbolic dimension of that name, made if new.
  int64_t symbol_dim(std::string_view symbol_name);
  ValueId find_value(std::string_view value_name) const;  // kNoValue if there is none
  /// "1x3xHxW", with the symbols' names.
  std::string shape_string(const Shape& shape) const;
};

/// Checks every invariant that running relies on: ids in range, nodes in topological order, each
/// value defined once, arities, required attributes, quantization parameters, constants' sizes.
Status validate(const Graph& graph);

/// Stable text form, one node a line, for golden tests and people.
std::string dump(const Graph& graph);

/// Bytes of all constants (4-bit ones count half a byte each).
int64_t constant_bytes(const Graph& graph);

}  // namespace octavo
