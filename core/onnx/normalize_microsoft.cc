// Operators of com.microsoft, the domain in which ONNX Runtime keeps its own: quantized operators
// and fusions.
#include "core/onnx/matmul_nbits.h"

namespace octavo::onnx_io {
namespace {

// a, a_scale, a_zero_point, b, b_scale, b_zero_point, c_scale, c_zero_point
Status qlinear_binary(Rewrite& r) {
  OCTAVO_ASSIGN(const ValueId a, dequantize(r, r.input(0), r.input(1), r.input(2), 1));
  OCTAVO_ASSIGN(const ValueId b, dequantize(r, r.input(3), r.input(4), r.input(5), 1));
  const OpKind kind = r.op == "QLinearAdd" ? OpKind::kAdd : OpKind::kMul;
  OCTAVO_ASSIGN(const ValueId c, r.add(kind, {a, b}));
  r.done = true;
  return quantize_to(r, r.node.output(0), c, r.input(6), r.input(7));
}

/// x, x_scale, x_zero_point, y_scale, y_zero_point, with the attributes of the float operator.
Status qlinear_unary(Rewrite& r, OpKind kind) {
  OCTAVO_ASSIGN(const ValueId x, dequantize(r, r.input(0), r.input(1), r.input(2), 1));
  OCTAVO_ASSIGN(const ValueId y, r.add(kind, {x}, r.node.attributes));
  r.done = true;
  return quantize_to(r, r.node.output(0), y, r.input(3), r.input(4));
}

Status qlinear_pool(Rewrite& r) {
  if (r.int_or("channels_last", 0) != 0) {
    return fail(ErrorCode::kUnsupportedOp, r.op, " with channels_last=1 is not supported");
  }
  r.node.unset("channels_last");
  return qlinear_unary(
      r, r.op == "QLinearAveragePool" ? OpKind::kAveragePool : OpKind::kGlobalAveragePool);
}

Status qlinear_sigmoid(Rewrite& r) { return qlinear_unary(r, OpKind::kSigmoid); }

Status qlinear_leaky_relu(Rewrite& r) { return qlinear_unary(r, OpKind::kLeakyRelu); }

Status qlinear_softmax(Rewrite& r) {
  const bool flattens = r.int_or("opset", 13) < 13;
  const int64_t axis = r.int_or("axis", flattens ? 1 : -1);
  const int rank = r.builder.rank(r.input(0));
  const bool is_last = axis == -1 || axis == rank - 1;
  if (flattens && !is_last) {
    return fail(ErrorCode::kUnsupportedOp,
                "QLinearSoftmax over several axes (opset < 13) is not supported");
  }
  r.node.attributes = {{"axis", axis}};
  return qlinear_unary(r, OpKind::kSoftmax);
}

// y_scale, y_zero_point, then x, x_scale, x_zero_point for each operand
Status qlinear_concat(Rewrite& r) {
  std::vector<ValueId> operands;
  for (size_t i = 2; i + 1 < r.node.inputs.size(); i += 3) {
    OCTAVO_ASSIGN(const ValueId x, dequantize(r, r.input(i), r.input(i + 1), r.input(i + 2), 1));
    operands.push_back(x);
  }
  OCTAVO_ASSIGN(const ValueId y, r.add(OpKind::kConcat, operands, r.node.attributes));
  r.done = true;
  return quantize_to(r, r.node.output(0), y, r.input(0), r.input(1));
}

// a, a_scale, a_zero_point, b, b_scale, b_zero_point, c, y_scale, y_zero_point. Without a scale of
// y the output is float.
Status q_gemm(Rewrite& r) {
  const int64_t columns = r.int_or("transB", 0) != 0 ? 0 : 1;
  OCTAVO_ASSIGN(const ValueId a, dequantize(r, r.input(0), r.input(1), r.input(2), 0));
  OCTAVO_ASSIGN(const ValueId b, dequantize(r, r.input(3), r.input(4), r.input(5), columns));
  OCTAVO_ASSIGN(const ValueId c, dequantize_bias(r, r.input(6), r.input(1), r.input(4)));
  r.done = true;
  if (r.input(7) == kNoValue) {
    return r.add_to(r.node.output(0), OpKind::kGemm, {a, b, c}, r.node.attributes);
  }
  OCTAVO_ASSIGN(const ValueId y, r.add(OpKind::kGemm, {a, b, c}, r.node.attributes));
  return quantize_to(r, r.node.output(0), y, r.input(7), r.input(8));
}

/// `output` = activation(x). Parameters are ONNX Runtime's lists, defaults ONNX's.
Status add_activation(Rewrite& r, const std::string& activation, std::vector<float> parameters,
                      ValueId x, ValueId output) {
  const auto parameter = [&](size_t i, float fallback) {
    return i < parameters.size() ? parameters[i] : fallback;
  };
  if (activation == "Relu") return r.add_to(output, OpKind::kRelu, {x});
  if (activation == "Sigmoid") return r.add_to(output, OpKind::kSigmoid, {x});
  if (activation == "Tanh") return r.add_to(output, OpKind::kTanh, {x});
  if (activation == "LeakyRelu") {
    return r.add_to(output, OpKind::kLeakyRelu, {x}, {{"alpha", parameter(0, 0.01f)}});
  }
  if (activation == "HardSigmoid") {
    return r.add_to(output, OpKind::kHardSigmoid, {x},
                    {{"alpha", parameter(0, 0.2f)}, {"beta", parameter(1, 0.5f)}});
  }
  if (activation == "Clip" && parameters.size() >= 2) {
    const ValueId low = r.constant("min", Tensor::scalar(parameters[0]));
    const ValueId high = r.constant("max", Tensor::scalar(parameters[1]));
    return r.add_to(output, OpKind::kClip, {x, low, high});
  }
  return fail(ErrorCode::kUnsupportedOp, r.op, " with activation '", activation,
              "' is not supported");
}

// x, w, bias, z: activation(conv(x, w) + bias + z)
Status fused_conv(Rewrite& r) {
  const std::string activation = r.string_or("activation", "");
  std::vector<float> parameters;
  if (const AttributeValue* given = r.node.find("activation_params")) {
    if (const auto* list = std::get_if<std::vector<float>>(given)) parameters = *list;
  }
  for (const char* name : {"activation", "activation_params"}) r.node.unset(name);
  const ValueId output = r.node.output(0);
  if (output == kNoValue) return fail(ErrorCode::kInvalidModel, r.op, " has no output");
  OCTAVO_ASSIGN(ValueId y,
                r.add(OpKind::kConv, {r.input(0), r.input(1), r.input(2)}, r.node.attributes));
  if (r.input(3) != kNoValue) {
    OCTAVO_ASSIGN(y, r.add(OpKind::kAdd, {y, r.input(3)}));
  }
  r.done = true;
  if (activation.empty()) return r.add_to(output, OpKind::kIdentity, {y});
  return add_activation(r, activation, parameters, y, output);
}

Status fused_gemm(Rewrite& r) {
  const std::string activation = r.string_or("activation", "");
  std::vector<float> parameters;
  for (const char* name : {"activation_alpha", "activation_beta"}) {
    if (r.node.has(name)) parameters.push_back(r.float_or(name, 0));
  }
  for (const char* name :
       {"activation", "activation_alpha", "activation_beta", "activation_gamma"}) {
    r.node.unset(name);
  }
  const ValueId output = r.node.output(0);
  if (output == kNoValue) return fail(ErrorCode::kInvalidModel, r.op, " has no output");
  OCTAVO_ASSIGN(const ValueId y, r.add(OpKind::kGemm, r.node.inputs, r.node.attributes));
  r.done = true;
  if (activation.empty()) return r.add_to(output, OpKind::kIdentity, {y});
  return add_activation(r, activation, parameters, y, output);
}

Status same_operator(Rewrite& r) {
  r.domain.clear();
  return {};
}

// x, bias: Gelu(x + bias); FastGelu is its tanh form, whose bias may be absent.
Status bias_gelu(Rewrite& r) {
  ValueId x = r.input(0);
  if (r.input(1) != kNoValue) {
    OCTAVO_ASSIGN(x, r.add(OpKind::kAdd, {x, r.input(1)}));
  }
  r.domain.clear();
  r.node.inputs = {x};
  if (r.op == "FastGelu") r.node.set("approximate", std::string("tanh"));
  r.op = "Gelu";
  return {};
}

constexpr int64_t kAlways = 1 << 20;

constexpr RewriteRule kRules[] = {
    {"BiasGelu", 1, kAlways, bias_gelu},
    {"DequantizeLinear", 1, kAlways, same_operator},
    {"FastGelu", 1, kAlways, bias_gelu},
    {"FusedConv", 1, kAlways, fused_conv},
    {"FusedGemm", 1, kAlways, fused_gemm},
    {"Gelu", 1, kAlways, same_operator},
    {"MatMulNBits", 1, kAlways, read_matmul_nbits},
    {"QGemm", 1, kAlways, q_gemm},
    {"QLinearAdd", 1, kAlways, qlinear_binary},
    {"QLinearAveragePool", 1, kAlways, qlinear_pool},
    {"QLinearConcat", 1, kAlways, qlinear_concat},
    {"QLinearGlobalAveragePool", 1, kAlways, qlinear_pool},
    {"QLinearLeakyRelu", 1, kAlways, qlinear_leaky_relu},
    {"QLinearMul", 1, kAlways, qlinear_binary},
    {"QLinearSigmoid", 1, kAlways, qlinear_sigmoid},
    {"QLinearSoftmax", 1, kAlways, qlinear_softmax},
    {"QuantizeLinear", 1, kAlways, same_operator},
};

}  // namespace

std::span<const RewriteRule> microsoft_rules() { return kRules; }

}  // namespace octavo::onnx_io
