// Transposed convolutions against their reference, on every SIMD target this machine has.

#include "kernel_check.h"

namespace octavo::testing {
namespace {

using KernelTransposeTest = ::testing::Test;

KernelCase make_case(uint32_t seed, bool int8) {
  KernelCase c(seed);
  const int spatial = c.pick(1, 3);
  const int groups = c.pick(0, 2) == 0 ? c.pick(2, 3) : 1;
  const int in = c.pick(1, 20), out = c.pick(1, spatial == 3 ? 10 : 70);
  Shape x{c.pick(1, 2), groups * in}, w{groups * in, out};
  std::vector<int64_t> strides, dilations, begins, ends, extra;
  for (int i = 0; i < spatial; ++i) {
    const int kernel = c.pick(1, 4);
    x.push_back(c.pick(2, spatial == 3 ? 4 : 9));
    w.push_back(kernel);
    strides.push_back(c.pick(1, 3));
    dilations.push_back(c.pick(1, 2));
    begins.push_back(c.pick(0, 1));
    ends.push_back(c.pick(0, 1));
    extra.push_back(c.pick(0, static_cast<int>(strides.back()) - 1));
  }
  begins.insert(begins.end(), ends.begin(), ends.end());
  const Shape channels{groups * out};
  std::vector<ValueId> inputs;
  ValueId y;
  if (int8) {
    const DType x_dtype = c.flip() ? DType::kU8 : DType::kI8;
    const DType y_dtype = c.flip() ? DType::kU8 : DType::kI8;
    inputs.push_back(c.add_input(x_dtype, x, c.random_quant(x_dtype, 0.02f)));
    QuantParams quant{{0.01f}, {0}};
    if (groups == 1 && c.flip()) {
      quant = {{}, {}, 1};
      for (int i = 0; i < out; ++i) {
        quant.scale.push_back(c.real(0.001f, 0.02f));
        quant.zero_point.push_back(0);
      }
    }
    inputs.push_back(c.add_constant(c.random(DType::kI8, w), std::make_shared<QuantParams>(quant)));
    y = c.flip() ? c.add_output(DType::kF32) : c.add_output(y_dtype, c.random_quant(y_dtype, 0.2f));
  } else {
    inputs.push_back(c.add_input(DType::kF32, x));
    inputs.push_back(c.add_constant(c.random(DType::kF32, w)));
    y = c.add_output(DType::kF32);
  }
  if (c.flip()) inputs.push_back(c.add_constant(c.random(DType::kF32, channels)));
  Node& node = c.add_node(OpKind::kConvTranspose, inputs, {y});
  node.set("strides", strides);
  node.set("dilations", dilations);
  node.set("pads", begins);
  node.set("output_padding", extra);
  node.set("group", int64_t{groups});
  if (c.flip()) node.set("activation", std::string("Relu"));
  return c;
}

TEST_F(KernelTransposeTest, MatchesTheReference) {
  for_each_case(50, [](uint32_t seed) {
    check(make_case(seed, false), "conv_transpose_f32", Layout::kPlain, /*magnitude=*/10);
    check(make_case(seed, true), "conv_transpose_int8");
  });
}

}  // namespace
}  // namespace octavo::testing
