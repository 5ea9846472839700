#include "runtime/kernels/conv_common.h"

#include "runtime/kernels/gemm.h"
#include "runtime/limits.h"

namespace octavo::kernels {
namespace {

bool is_constant_or_absent(const PlanGraph& graph, ValueId id) {
  return id == kNoValue || graph.is_constant(id);
}

// Whether the image with its padding has a size that can be held.
bool padding_is_reasonable(const ops::ConvShape& shape) {
  Shape padded{shape.groups * shape.in_channels};
  for (size_t i = 0; i < 3; ++i) {
    const auto& window = shape.window;
    padded.push_back((shape.out[i] - 1) * window.stride[i] +
                     (window.kernel[i] - 1) * window.dilation[i] + 1);
  }
  return padded.elements() < limits::kTensorBytes / 4;
}

bool shapes_fit(const PlanGraph& graph, const Node& node) {
  const Shape& out = graph.info(node.output(0)).shape;
  const ValueId residual = node.input(3);
  const ValueId bias = node.input(2);
  const auto conv_shape = conv_shape_of(graph, node);
  return conv_shape && padding_is_reasonable(*conv_shape) && graph.is_constant(node.input(1)) &&
         is_constant_or_absent(graph, bias) &&
         (bias == kNoValue || graph.info(bias).shape == Shape{out[1]}) &&
         (residual == kNoValue ||
          (!graph.is_constant(residual) && graph.info(residual).shape == out)) &&
         out.elements() > 0 && graph.info(node.input(0)).shape.elements() > 0 &&
         activation_bounds(node).has_value();
}

}  // namespace

Result<ops::ConvShape> conv_shape_of(const PlanGraph& graph, const Node& node) {
  return ops::conv_shape(node, graph.info(node.input(0)).shape, graph.info(node.input(1)).shape);
}

std::optional<Int8Weights> int8_weights(const PlanGraph& graph, ValueId id, int axis) {
  if (!graph.is_constant(id)) return {};
  const TensorInfo& info = graph.info(id);
  const bool is_signed = info.dtype == DType::kI8;
  if (info.quant == nullptr || (!is_signed && info.dtype != DType::kU8)) return {};
  const QuantParams& quant = *info.quant;
  const bool per_channel = quant.axis == axis && quant.block_size == 0 &&
                           quant.scale.size() == static_cast<size_t>(info.shape[axis]);
  if (!(quant.per_tensor() && quant.scale.size() == 1) && !per_channel) return {};
  if (quant.zero_point.size() != quant.scale.size()) return {};
  const auto is_zero = [](int32_t zero_point) { return zero_point == 0; };
  if (is_signed && std::ranges::all_of(quant.zero_point, is_zero)) {
    return Int8Weights{info.constant.data<int8_t>(), quant};
  }
  Int8Weights weights{{}, quant};
  const int64_t inner =
      quant.per_tensor() ? info.shape.elements() : info.shape.elements(axis + 1, info.shape.rank());
  const auto centre = [&](const auto values) {
    weights.centred.reserve(values.size());
    size_t channel = 0;
    for (size_t begin = 0; begin < values.size(); begin += static_cast<size_t>(inner)) {
      const int32_t zero_point = quant.zero_point[channel];
      channel = channel + 1 == quant.zero_point.size() ? 0 : channel + 1;
      for (const auto value : values.subspan(begin, static_cast<size_t>(inner))) {
        const int64_t centred = int64_t{value} - zero_point;
        if (centred < -128 || centred > 127) return false;
        weights.centred.push_back(static_cast<int8_t>(centred));
      }
    }
    return true;
  };
  if (!(is_signed ? centre(info.constant.data<int8_t>()) : centre(info.constant.data<uint8_t>()))) {
    return {};
  }
  weights.data = weights.centred;
  for (int32_t& zero_point : weights.quant.zero_point) zero_point = 0;
  return weights;
}

bool conv_is_f32(const PlanGraph& graph, const Node& node) {
  for (const ValueId id : node.inputs) {
    if (id != kNoValue && !is_f32(graph, id)) return false;
  }
  return is_f32(graph, node.output(0)) && shapes_fit(graph, node);
}

bool conv_is_bf16(const PlanGraph& graph, const Node& node) {
  const auto is_bf16 = [&](ValueId id) {
    return id == kNoValue ||
           (graph.info(id).dtype == DType::kBF16 && graph.info(id).quant == nullptr);
  };
  if constexpr (kSmallCode) return false;
  return std::ranges::all_of(node.inputs, is_bf16) && is_bf16(node.output(0)) &&
         shapes_fit(graph, node) && (conv_is_depthwise(graph, node) || has_gemm_bf16());
}

bool conv_is_int8(const PlanGraph& graph, const Node& node) {
  const ValueId y = node.output(0), residual = node.input(3);
  if (int8_params(graph, node.input(0)) == nullptr || int8_input() == Int8Input::kNone) {
    return false;
  }
  const bool int8_output = int8_params(graph, y) != nullptr;
  if (!int8_output && !is_f32(graph, y)) return false;
  if (residual != kNoValue && (!int8_output || int8_params(graph, residual) == nullptr ||
                               graph.info(residual).dtype != graph.info(y).dtype)) {
    return false;
  }
  return shapes_fit(graph, node) && int8_weights(graph, node.input(1), 0).has_value();
}

bool conv_is_depthwise(const PlanGraph& graph, const Node& node) {
  const Shape& x = graph.info(node.input(0)).shape;
  const Shape& y = graph.info(node.output(0)).shape;
  const Shape& weight = graph.info(node.input(1)).shape;
  return x.rank() <= 4 && weight.rank() == x.rank() && node.get_int("group") == x[1] &&
         y[1] == x[1] && x[1] > 1 && node.input(3) == kNoValue &&
         weight.elements(2, weight.rank()) <= kMaxDepthwiseTaps;
}

}  // namespace octavo::kernels
