// Resize and Pad against their references: bytes exactly, on every SIMD target this machine has.

#include "kernel_check.h"

namespace octavo::testing {
namespace {

using KernelResizeTest = ::testing::Test;

TEST_F(KernelResizeTest, NearestAndFilters) {
  for_each_case(60, [](uint32_t seed) {
    KernelCase c(seed);
    const char* mode = std::array{"nearest", "linear", "cubic"}[seed % 3];
    const bool int8 = c.flip(), nearest = mode[0] == 'n';
    const DType dtype = !int8 ? DType::kF32 : c.flip() ? DType::kU8 : DType::kI8;
    const auto quant = int8 ? c.random_quant(dtype, 0.05f) : nullptr;
    const DType y_dtype = !int8 || nearest ? dtype : c.flip() ? DType::kU8 : DType::kI8;
    const Shape shape{c.pick(1, 2), c.pick(1, 40), c.pick(1, 12), c.pick(1, 12)};
    const int64_t height = c.pick(1, 30), width = c.pick(1, 300 / static_cast<int>(shape[3]));
    const ValueId x = c.add_input(dtype, shape, quant);
    const std::array<int64_t, 4> sizes{shape[0], shape[1], height, width};
    Node& node = c.add_node(
        OpKind::kResize, {x, kNoValue, kNoValue, c.add_constant(Tensor::vector_i64(sizes))},
        {c.add_output(y_dtype, !int8 || nearest ? quant : c.random_quant(y_dtype, 0.05f))});
    node.set("mode", std::string(mode));
    node.set("coordinate_transformation_mode",
             std::string(std::array{"half_pixel", "align_corners", "asymmetric"}[c.pick(0, 2)]));
    // Images that leave the graph larger are made in plain layout; others follow their input.
    if (c.flip()) c.graph.outputs.clear();
    if (!nearest && sizes[2] == shape[2] && sizes[3] == shape[3]) return;  // a copy
    check(c, "resize", c.flip() ? Layout::kPlain : Layout::kChannelsLast, /*magnitude=*/1);
  });
}

TEST(PadInt8, StaysInIntegers) {
  for (const DType dtype : {DType::kU8, DType::kI8}) {
    KernelCase c(1);
    const auto quant = c.quant(0.1f, 7);
    const ValueId x = c.add_input(dtype, Shape{2, 3}, quant);
    const ValueId value = c.add_constant(Tensor::scalar(-0.5f));
    const ValueId pads = c.add_constant(Tensor::vector_i64(std::array<int64_t, 4>{0, 1, 0, 2}));
    c.add_node(OpKind::kPad, {x, pads, value}, {c.add_output(dtype, quant)});
    const auto y = c.reference();
    ASSERT_TRUE(y) << y.error().to_string();
    const auto* in = static_cast<const uint8_t*>(c.data[0].raw());
    const auto* out = static_cast<const uint8_t*>((*y)[0].raw());
    for (size_t row = 0; row < 2; ++row) {
      for (size_t i = 0; i < 6; ++i) {
        const bool inside = i >= 1 && i < 4;
        EXPECT_EQ(int{out[row * 6 + i]}, inside ? int{in[row * 3 + i - 1]} : 7 - 5);
      }
    }
  }
}

}  // namespace
}  // namespace octavo::testing
