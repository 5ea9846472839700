#include <algorithm>

#include "core/onnx/exporter.h"
#include "core/onnx/proto.h"

namespace octavo::onnx_io {
namespace {

constexpr int64_t kBaseOpset = 18;

struct Requirement {
  OpKind op;
  int64_t opset;
};
/// Operators that came, or took the form that the rows have, after kBaseOpset.
constexpr Requirement kOperators[] = {
    {OpKind::kDeformConv, 19}, {OpKind::kAffineGrid, 20}, {OpKind::kDFT, 20},
    {OpKind::kGelu, 20},       {OpKind::kGridSample, 20}, {OpKind::kGroupNormalization, 21},
};

struct AttributeRequirement {
  OpKind op;
  const char* attribute;
  int64_t opset;
};
constexpr AttributeRequirement kAttributes[] = {
    {OpKind::kAveragePool, "dilations", 19},     {OpKind::kCast, "saturate", 19},
    {OpKind::kCastLike, "saturate", 19},         {OpKind::kDequantizeLinear, "block_size", 21},
    {OpKind::kQuantizeLinear, "block_size", 21}, {OpKind::kQuantizeLinear, "output_dtype", 21},
    {OpKind::kQuantizeLinear, "saturate", 19},
};

/// Operators that always took bfloat16 (since 13); most others do since 22.
bool takes_bf16(OpKind kind) {
  constexpr OpKind kKinds[] = {OpKind::kAdd,    OpKind::kCast,      OpKind::kClip,    OpKind::kDiv,
                               OpKind::kGemm,   OpKind::kIdentity,  OpKind::kMatMul,  OpKind::kMul,
                               OpKind::kRelu,   OpKind::kReshape,   OpKind::kSoftmax, OpKind::kSub,
                               OpKind::kConcat, OpKind::kTranspose, OpKind::kFlatten};
  return std::ranges::find(kKinds, kind) != std::end(kKinds);
}

struct DTypeRequirement {
  OpKind op;
  DType dtype;
  int64_t opset;
};
constexpr DTypeRequirement kDTypes[] = {
    {OpKind::kQuantizeLinear, DType::kF16, 19},   {OpKind::kQuantizeLinear, DType::kBF16, 19},
    {OpKind::kDequantizeLinear, DType::kF16, 19}, {OpKind::kDequantizeLinear, DType::kBF16, 19},
    {OpKind::kEqual, DType::kString, 19},         {OpKind::kIsInf, DType::kF16, 20},
    {OpKind::kIsInf, DType::kBF16, 20},           {OpKind::kReduceMax, DType::kBool, 20},
    {OpKind::kReduceMin, DType::kBool, 20},       {OpKind::kQuantizeLinear, DType::kI16, 21},
    {OpKind::kQuantizeLinear, DType::kU16, 21},   {OpKind::kDequantizeLinear, DType::kI16, 21},
    {OpKind::kDequantizeLinear, DType::kU16, 21},
};

int64_t dtype_requirement(OpKind kind, DType dtype) {
  for (const DTypeRequirement& r : kDTypes) {
    if (r.op == kind && r.dtype == dtype) return r.opset;
  }
  if (dtype == DType::kI4 || dtype == DType::kU4) return 21;
  return dtype == DType::kBF16 && !takes_bf16(kind) ? 22 : kBaseOpset;
}

int64_t node_requirement(const Graph& graph, const Node& node) {
  int64_t opset = kBaseOpset;
  for (const Requirement& r : kOperators) {
    if (r.op == node.kind) opset = std::max(opset, r.opset);
  }
  for (const AttributeRequirement& r : kAttributes) {
    if (r.op == node.kind && node.has(r.attribute)) opset = std::max(opset, r.opset);
  }
  if (node.kind == OpKind::kResize &&
      node.get_string("coordinate_transformation_mode") == "half_pixel_symmetric") {
    opset = std::max<int64_t>(opset, 19);
  }
  if (node.kind == OpKind::kPad && node.get_string("mode") == "wrap") {
    opset = std::max<int64_t>(opset, 19);
  }
  for (const auto& ids : {node.inputs, node.outputs}) {
    for (const ValueId id : ids) {
      if (id == kNoValue) continue;
      opset = std::max(opset, dtype_requirement(node.kind, graph.value(id).dtype));
    }
  }
  for (const Attribute& attribute : node.attributes) {
    const auto* body = std::get_if<std::shared_ptr<const Graph>>(&attribute.value);
    if (body != nullptr && *body != nullptr) opset = std::max(opset, required_opset(**body));
  }
  return opset;
}

}  // namespace

int64_t required_opset(const Graph& graph) {
  int64_t opset = kBaseOpset;
  for (const Node& node : graph.nodes) opset = std::max(opset, node_requirement(graph, node));
  return opset;
}

}  // namespace octavo::onnx_io
