// Several nodes that are one function of one tensor run as one step, with the same results.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "observed_run.h"

namespace octavo::testing {
namespace {

Outcome run(const KernelCase& c, bool reference_only, ValueId watched = kNoValue) {
  return observed_run(c, {.reference_only = reference_only}, watched);
}

class PointwiseTest : public ::testing::TestWithParam<bool> {
 protected:
  bool int8() const { return GetParam(); }
  ValueId input(const Shape& shape) {
    return int8() ? c_.add_input(DType::kU8, shape, c_.quant(0.05f, 100))
                  : c_.add_input(DType::kF32, shape);
  }
  ValueId value(float scale, int zero_point) {
    const ValueId id = int8() ? c_.add_output(DType::kU8, c_.quant(scale, zero_point))
                              : c_.add_output(DType::kF32);
    c_.graph.outputs.pop_back();
    return id;
  }
  ValueId number(float x) {
    Tensor tensor = *Tensor::create(int8() ? DType::kU8 : DType::kF32, Shape{1, 1, 1, 1});
    if (!int8()) {
      tensor.data<float>()[0] = x;
      return c_.add_constant(tensor);
    }
    tensor.data<uint8_t>()[0] = 200;
    return c_.add_constant(tensor, c_.quant(x / 200, 0));
  }
  void expect_equal(const Outcome& a, const Outcome& b) const {
    ASSERT_EQ(a.output.shape(), b.output.shape());
    for (int64_t i = 0; i < a.output.elements(); ++i) {
      const auto at = static_cast<size_t>(i);
      if (int8()) {
        ASSERT_EQ(a.output.data<uint8_t>()[at], b.output.data<uint8_t>()[at]) << i;
      } else {
        ASSERT_NEAR(a.output.data<float>()[at], b.output.data<float>()[at], 1e-6) << i;
      }
    }
  }
  std::string kernel() const { return int8() ? "table_int8" : "pointwise_f32"; }

  KernelCase c_{7};
};
INSTANTIATE_TEST_SUITE_P(Dtypes, PointwiseTest, ::testing::Bool(),
                         [](const auto& param) { return param.param ? "int8" : "f32"; });

TEST_P(PointwiseTest, SigmoidTimesItsInputIsOneStep) {
  const ValueId x = input({2, 3, 17, 19});
  const ValueId gate = value(1.0f / 255, 0), y = value(0.03f, 10);
  c_.add_node(OpKind::kSigmoid, {x}, {gate});
  c_.add_node(OpKind::kMul, {x, gate}, {y});
  c_.graph.outputs = {y};
  const Outcome fast = run(c_, false);
  EXPECT_EQ(fast.steps.kernels, std::vector<std::string>{kernel()});
  expect_equal(fast, run(c_, true));
}

TEST_P(PointwiseTest, ChainWithConstants) {
  const ValueId x = input({1, 5, 7, 11});
  const ValueId shifted = value(0.06f, 90), product = value(0.05f, 128), y = value(0.05f, 128);
  c_.add_node(OpKind::kAdd, {x, number(3)}, {shifted});
  c_.add_node(OpKind::kMul, {number(0.5f), shifted}, {product});
  c_.add_node(OpKind::kSub, {product, x}, {y});
  c_.graph.outputs = {y};
  const Outcome fast = run(c_, false);
  EXPECT_EQ(fast.steps.kernels, std::vector<std::string>{kernel()});
  expect_equal(fast, run(c_, true));
}

TEST_P(PointwiseTest, ValuesThatAreUsedElsewhereStay) {
  const ValueId x = input({1, 3, 4, 5});
  const ValueId gate = value(1.0f / 255, 0), y = value(0.03f, 10);
  c_.add_node(OpKind::kSigmoid, {x}, {gate});
  c_.add_node(OpKind::kMul, {x, gate}, {y});
  c_.graph.outputs = {y};
  const Outcome watched = run(c_, false, gate);
  EXPECT_EQ(watched.steps.kernels.size(), 2u);
  EXPECT_EQ(watched.steps.shown, std::vector<ValueId>{gate});
  expect_equal(watched, run(c_, true));

  c_.graph.outputs = {gate, y};
  const Outcome output = run(c_, false);
  EXPECT_EQ(output.steps.kernels.size(), 2u);
  expect_equal(output, run(c_, true));
}

TEST(DequantizedPool, IsOneStepWithTheSameBits) {
  for (const DType dtype : {DType::kU8, DType::kI8}) {
    for (const OpKind pool : {OpKind::kGlobalAveragePool, OpKind::kAveragePool}) {
      KernelCase c(3);
      const ValueId x = c.add_input(dtype, {2, 71, 9, 7}, c.quant(0.03f, 40));
      const ValueId real = c.add_output(DType::kF32), y = c.add_output(DType::kF32);
      c.add_node(OpKind::kDequantizeLinear, {x}, {real});
      Node& node = c.add_node(pool, {real}, {y});
      if (pool == OpKind::kAveragePool) {
        node.set("kernel_shape", std::vector<int64_t>{3, 2});
        node.set("pads", std::vector<int64_t>{1, 1, 0, 0});
      }
      c.graph.outputs = {y};
      const Outcome one = run(c, false), two = run(c, false, real);
      EXPECT_TRUE(std::ranges::contains(one.steps.kernels, "dequantized_average_pool"));
      EXPECT_FALSE(std::ranges::contains(two.steps.kernels, "dequantized_average_pool"));
      ASSERT_EQ(two.steps.shown, std::vector<ValueId>{real});
      EXPECT_TRUE(std::ranges::equal(one.output.data<float>(), two.output.data<float>()));
    }
  }
}

}  // namespace
}  // namespace octavo::testing
