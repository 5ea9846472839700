// Operators of older versions and of com.microsoft, rewritten into the rows of runtime/op.h. A
// table of small functions, each for one operator and a range of versions.
#pragma once

#include <initializer_list>
#include <string>

#include "core/onnx/importer.h"

namespace octavo::onnx_io {

/// One node on its way into the graph. A rewrite edits `op` and `node`, or adds the nodes that
/// stand for it and sets `done`.
struct Rewrite {
  std::string op;      // ONNX's operator type, in domain `domain`
  std::string domain;  // "" is ai.onnx
  int64_t version;     // of the domain's operator set
  Node node;           // kind not set; attributes as the file has them
  GraphBuilder& builder;
  bool done = false;

  // Attributes; rows' defaults do not apply yet.
  int64_t int_or(std::string_view name, int64_t value) const;
  float float_or(std::string_view name, float value) const;
  std::string string_or(std::string_view name, std::string_view value) const;
  const std::vector<int64_t>* ints(std::string_view name) const;

  ValueId input(size_t i) const { return node.input(i); }
  const TensorInfo* info(ValueId id) const { return id == kNoValue ? nullptr : &builder.info(id); }
  void set_input(size_t i, ValueId value);

  ValueId constant(std::string_view suffix, Tensor tensor);
  /// A node with one new output.
  Result<ValueId> add(OpKind kind, std::vector<ValueId> inputs,
                      std::vector<Attribute> attributes = {});
  /// A node that computes `output`.
  Status add_to(ValueId output, OpKind kind, std::vector<ValueId> inputs,
                std::vector<Attribute> attributes = {});
  /// Replaces the node's first output by a new value (which it returns), so that nodes added after
  /// it can compute the old one.
  ValueId detach_output();
  /// Adds `node` itself as an operator of `kind`.
  Status add_self(OpKind kind);
};

/// Applies the table's rewrites for the node, if any.
Status normalize(Rewrite& rewrite);
/// Whether the table knows an operator that has no row.
bool has_rewrite(std::string_view domain, std::string_view op, int64_t version);

using RewriteFn = Status (*)(Rewrite&);
struct RewriteRule {
  const char* op;
  int64_t since, until;  // versions [since, until)
  RewriteFn rewrite;
};
std::span<const RewriteRule> onnx_rules();  // normalize.cc
std::span<const RewriteRule>
quantized_rules();  // normalize_quantized.cc: QLinearConv, QLinearMatMul
std::span<const RewriteRule> microsoft_rules();  // normalize_microsoft.cc

// QOperator nodes (normalize_quantized.cc).

/// The real numbers of integers `value`: DequantizeLinear. `axis` matters if the scale is a vector.
Result<ValueId> dequantize(Rewrite& rewrite, ValueId value, ValueId scale, ValueId zero_point,
                           int64_t axis);
/// QuantizeLinear of `value` into `output`.
Status quantize_to(Rewrite& rewrite, ValueId output, ValueId value, ValueId scale,
                   ValueId zero_point);
/// An int32 bias of scale `scale_a * scale_b`, as real numbers; kNoValue if it is absent.
Result<ValueId> dequantize_bias(Rewrite& rewrite, ValueId bias, ValueId scale_a, ValueId scale_b);

}  // namespace octavo::onnx_io
