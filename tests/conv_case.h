// Random convolutions for tests of kernels.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernel_case.h"

namespace octavo::testing {

struct ConvOptions {
  bool int8 = false;
  bool depthwise = false;
  bool f32_output = false;
  bool winograd = false;
  bool colours = false;      // 3x3 on three channels, as first layers
  DType real = DType::kF32;  // of what is not int8
};

inline KernelCase make_conv(uint32_t seed, const ConvOptions& options) {
  KernelCase c(seed);
  const int rank = options.depthwise ? c.pick(1, 2) : std::min(3, c.pick(1, 6) % 5 + 1);
  const int spatial = rank > 3 || options.winograd || options.colours ? 2 : rank;
  const bool grouped =
      !options.depthwise && !options.winograd && !options.colours && c.pick(0, 3) == 0;
  const int groups = options.depthwise ? c.pick(2, 80) : grouped ? c.pick(2, 3) : 1;
  const int least = options.winograd ? 32 : 1;  // with fewer channels the direct sum is faster
  const int in_channels = options.depthwise ? 1 : options.colours ? 3 : c.pick(least, 40);
  const int out_channels = options.depthwise ? 1 : c.pick(least, spatial == 3 ? 40 : 150);
  std::vector<int64_t> kernel, strides, dilations, begins, ends;
  Shape x{c.pick(1, 2), groups * in_channels};
  Shape w{groups * out_channels, in_channels};
  const bool three = options.winograd || options.colours || (options.depthwise && c.flip());
  for (int i = 0; i < spatial; ++i) {
    kernel.push_back(options.colours ? c.pick(2, 6) : three ? 3 : c.pick(1, 5));
    strides.push_back(options.winograd ? 1 : c.pick(1, 3));
    dilations.push_back(three ? 1 : c.pick(1, 2));
    begins.push_back(c.pick(0, 2));
    ends.push_back(c.pick(0, 2));
    const int64_t extent = (kernel.back() - 1) * dilations.back() + 1;
    x.push_back(std::max<int64_t>(extent - begins.back() - ends.back(), 1) +
                (options.winograd  ? c.pick(5, 20)
                 : options.colours ? c.pick(0, 50)  // tails of 16 pixels and fewer
                                   : c.pick(0, spatial == 3 ? 5 : 14)));
    w.push_back(kernel.back());
  }
  begins.insert(begins.end(), ends.begin(), ends.end());
  const bool bias = c.flip();
  const bool residual = !options.depthwise && !options.f32_output && c.flip();
  const int channels = groups * out_channels;
  const int64_t depth = w.elements(1, w.rank());

  std::vector<ValueId> inputs;
  ValueId output;
  if (options.int8) {
    const DType x_dtype = c.flip() ? DType::kU8 : DType::kI8;
    const DType y_dtype = c.flip() ? DType::kU8 : DType::kI8;
    inputs.push_back(c.add_input(x_dtype, x, c.random_quant(x_dtype, 0.02f)));
    QuantParams w_quant{{0.01f}, {0}};
    if (c.flip()) {
      w_quant = {{}, {}, 0};
      for (int i = 0; i < channels; ++i) {
        w_quant.scale.push_back(c.real(0.001f, 0.02f));
        w_quant.zero_point.push_back(0);
      }
    }
    const auto w_params = std::make_shared<QuantParams>(w_quant);
    inputs.push_back(c.add_constant(c.random(DType::kI8, w), w_params));
    inputs.push_back(
        bias ? c.add_constant(c.random(c.flip() ? DType::kI32 : DType::kF32, Shape{channels}))
             : kNoValue);
    const float y_scale = 0.02f * std::sqrt(static_cast<float>(depth));
    auto y_quant = c.random_quant(y_dtype, y_scale);
    output = options.f32_output ? c.add_output(DType::kF32) : c.add_output(y_dtype, y_quant);
    c.add_node(OpKind::kConv, inputs, {output});
  } else {
    inputs.push_back(c.add_input(options.real, x));
    inputs.push_back(c.add_constant(c.random(options.real, w)));
    inputs.push_back(bias ? c.add_constant(c.random(options.real, Shape{channels})) : kNoValue);
    output = c.add_output(options.real);
    c.add_node(OpKind::kConv, inputs, {output});
  }
  Node& node = c.graph.nodes[0];
  node.set("strides", strides);
  node.set("dilations", dilations);
  node.set("pads", begins);
  node.set("group", int64_t{groups});
  if (c.flip()) {
    node.set("activation", std::string(c.flip() ? "Relu" : "Clip"));
    if (node.get_string("activation") == "Clip") {
      node.set("activation_params", std::vector<float>{-0.5f, 1.25f});
    }
  }
  if (residual) {
    const auto infos = infer_graph(c.graph, {}, 0);
    const TensorInfo& y = (*infos)[static_cast<size_t>(output)];
    std::shared_ptr<const QuantParams> quant;
    if (options.int8) quant = c.random_quant(y.dtype, 0.05f);
    const ValueId id = c.add_input(y.dtype, y.shape, quant);
    c.graph.nodes[0].inputs.resize(3, kNoValue);
    c.graph.nodes[0].inputs.push_back(id);
  }
  return c;
}

}  // namespace octavo::testing
