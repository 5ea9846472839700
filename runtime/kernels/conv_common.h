// What the kernels of Conv share: when they apply, and int8 weights without zero points.
#pragma once

#include <optional>

#include "runtime/kernels/kernel_step.h"
#include "runtime/ops/convolve.h"
#include "runtime/requantize.h"

namespace octavo::kernels {

/// Int8 weights, q - zero_point, and their scales (zero points all zero).
struct Int8Weights {
  std::span<const int8_t> data;  // of the constant itself, or of `centred`
  QuantParams quant;
  std::vector<int8_t> centred = {};
};
/// The constant weights of an integer operator, whose output channels lie along `axis`, if their
/// centred values fit in int8 (symmetric weights, or uint8 around 128); else nothing.
std::optional<Int8Weights> int8_weights(const PlanGraph& graph, ValueId id, int axis);

/// Whether Conv's tensors are all f32 with constant weights and bias.
bool conv_is_f32(const PlanGraph& graph, const Node& node);
/// The same of bf16, for which there is a kernel of its own: depthwise, or if has_gemm_bf16().
/// Never where code is small: there bf16 is computed as f32.
bool conv_is_bf16(const PlanGraph& graph, const Node& node);
/// Whether input and weights are int8 and the rest fits the int8 kernels; output 8 bits or f32.
bool conv_is_int8(const PlanGraph& graph, const Node& node);
inline constexpr int64_t kMaxDepthwiseTaps = 256;
/// Whether each output channel reads one input channel of its own, on at most two dimensions,
/// without a residual.
bool conv_is_depthwise(const PlanGraph& graph, const Node& node);

Result<ops::ConvShape> conv_shape_of(const PlanGraph& graph, const Node& node);

}  // namespace octavo::kernels
