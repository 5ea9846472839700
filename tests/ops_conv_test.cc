// Reference functions of convolutions and pools.
#include "tests/op_runner.h"

namespace octavo {
namespace {

using testing::dims;
using testing::elements;
using testing::iota;
using testing::OpRun;
using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;

TEST(Conv, PadsAndStrides) {
  const Tensor x = iota<float>({1, 1, 3, 3}), w = Tensor::of<float>({1, 1, 2, 2}, {1, 2, 3, 4});
  EXPECT_EQ(elements<float>(OpRun{OpKind::kConv}.first({x, w})), (Floats{27, 37, 57, 67}));
  const OpRun padded{OpKind::kConv, {{"pads", Ints{1, 1, 0, 0}}, {"strides", Ints{2, 2}}}};
  EXPECT_EQ(elements<float>(padded.first({x, w})), (Floats{0, 11, 6 * 4 + 3 * 2, 67}));
  const OpRun same{OpKind::kConv, {{"auto_pad", std::string("SAME_LOWER")}}};
  EXPECT_EQ(elements<float>(same.first({x, w, Tensor::of<float>({1}, {1})})),
            (Floats{1, 5, 12, 13, 28, 38, 31, 58, 68}));
}

TEST(Conv, GroupsAndDilations) {
  const Tensor x = iota<float>({1, 2, 5}), w = Tensor::of<float>({2, 1, 2}, {1, 1, 1, -1});
  const OpRun op{OpKind::kConv, {{"group", int64_t{2}}, {"dilations", Ints{3}}}};
  EXPECT_EQ(elements<float>(op.first({x, w})), (Floats{3, 5, -3, -3}));
}

TEST(Conv, RejectsWhatDoesNotFit) {
  const Tensor x = iota<float>({1, 2, 5}), w = iota<float>({2, 1, 2});
  EXPECT_FALSE(OpRun{OpKind::kConv}.run({x, w}));
  const auto with = [&](const char* name, AttributeValue value) {
    const std::vector<Attribute> attributes = {{"group", int64_t{2}}, {name, std::move(value)}};
    return OpRun{OpKind::kConv, attributes}.run({x, w}).has_value();
  };
  EXPECT_TRUE(with("strides", Ints{1}));
  EXPECT_FALSE(with("strides", Ints{0}));
  EXPECT_FALSE(with("dilations", Ints{0}));
  EXPECT_FALSE(with("dilations", Ints{int64_t{1} << 62}));
  EXPECT_FALSE(with("pads", Ints{-1, 0}));
  EXPECT_FALSE(with("pads", Ints{1, 0, 0, 0}));
  EXPECT_FALSE(with("kernel_shape", Ints{3}));
}

TEST(Conv, FusesResidualAndActivation) {
  const Tensor x = Tensor::of<float>({1, 1, 3}, {-2, 1, 4}), w = Tensor::of<float>({1, 1, 1}, {2});
  const OpRun op{OpKind::kConv,
                 {{"activation", std::string("Clip")}, {"activation_params", Floats{0, 6}}}};
  const Tensor residual = Tensor::of<float>({1, 1, 3}, {1, 1, 1});
  EXPECT_EQ(elements<float>(op.first({x, w, Tensor(), residual})), (Floats{0, 3, 6}));
}

// Integers, computed by hand from the formulas of runtime/quant.h.
class QuantizedConv : public ::testing::Test {
 protected:
  Result<std::vector<Tensor>> run(OpKind kind, const std::vector<Attribute>& attributes,
                                  const std::vector<std::pair<Tensor, QuantParams>>& inputs,
                                  DType dtype, std::shared_ptr<const QuantParams> out) {
    Node node{kind, {}, {static_cast<ValueId>(inputs.size())}, attributes, "conv"};
    std::vector<TensorInfo> infos;
    std::vector<TensorView> views;
    for (const auto& [tensor, quant] : inputs) {
      node.inputs.push_back(tensor.present() ? static_cast<ValueId>(infos.size()) : kNoValue);
      infos.push_back({tensor.dtype(), tensor.shape(), {}, std::make_shared<QuantParams>(quant)});
      views.push_back(tensor.view(tensor.dtype() == DType::kI32 ? nullptr : &quant));
    }
    std::vector<const TensorInfo*> pointers;
    for (const TensorInfo& info : infos) {
      pointers.push_back(info.dtype == DType::kUndefined ? nullptr : &info);
    }
    std::vector<TensorInfo> outputs = {{dtype, Shape::unknown(), {}, std::move(out)}};
    OCTAVO_TRY(infer_node(node, pointers, outputs));
    return evaluate(node, views, outputs);
  }
};

TEST_F(QuantizedConv, IsExactWithZeroPointsPadsAndResidual) {
  const std::pair x{Tensor::of<uint8_t>({1, 1, 3}, {130, 128, 124}), QuantParams{{0.5f}, {128}}};
  const std::pair w{Tensor::of<int8_t>({2, 1, 2}, {3, -1, 0, 2}),
                    QuantParams{{0.25f, 0.5f}, {1, 0}, 0}};
  const std::pair bias{Tensor::of<int32_t>({2}, {8, -2}), QuantParams{}};
  const std::pair residual{Tensor::of<int8_t>({1, 2, 3}, {0, 1, 2, 3, 4, 5}),
                           QuantParams{{0.5f}, {1}}};
  const std::vector<Attribute> attributes = {{"pads", Ints{0, 1}}};
  // Sums: (2,0,-4,pad 0) * (2,-2) -> 4, 8, -8; * (0,2) -> 0, -8, 0.
  // In real numbers, with bias: channel 0 (scale 0.125): 1.5, 2, 0; channel 1 (0.25): -0.5, -2.5,
  // -0.5.
  const auto real = run(OpKind::kConv, attributes, {x, w, bias}, DType::kF32, nullptr);
  ASSERT_TRUE(real) << real.error().to_string();
  EXPECT_EQ(elements<float>((*real)[0]), (Floats{1.5f, 2, 0, -0.5f, -2.5f, -0.5f}));
  // With output scale 0.25 and zero point 10, residual (r - 1) * 0.5.
  const auto y = run(OpKind::kConv, attributes, {x, w, bias, residual}, DType::kU8,
                     std::make_shared<QuantParams>(QuantParams{{0.25f}, {10}}));
  ASSERT_TRUE(y) << y.error().to_string();
  EXPECT_EQ(elements<uint8_t>((*y)[0]), (std::vector<uint8_t>{14, 18, 12, 12, 6, 16}));
  // Relu is applied to the real value: never below the zero point.
  const auto relu = run(OpKind::kConv, {attributes[0], {"activation", std::string("Relu")}},
                        {x, w, bias, residual}, DType::kU8,
                        std::make_shared<QuantParams>(QuantParams{{0.25f}, {10}}));
  ASSERT_TRUE(relu);
  EXPECT_EQ(elements<uint8_t>((*relu)[0]), (std::vector<uint8_t>{14, 18, 12, 12, 10, 16}));
}

TEST_F(QuantizedConv, TransposedWithGroupsRepeatsTheScales) {
  const std::pair x{Tensor::of<uint8_t>({1, 2, 2}, {1, 2, 3, 4}), QuantParams{{1.0f}, {0}}};
  const std::pair w{Tensor::of<int8_t>({2, 2, 1}, {1, 1, 1, 1}),
                    QuantParams{{1.0f, 2.0f}, {0, 0}, 1}};
  const auto y = run(OpKind::kConvTranspose, {{"group", int64_t{2}}, {"strides", Ints{2}}}, {x, w},
                     DType::kF32, nullptr);
  ASSERT_TRUE(y) << y.error().to_string();
  EXPECT_EQ(elements<float>((*y)[0]), (Floats{1, 0, 2, 2, 0, 4, 3, 0, 4, 6, 0, 8}));
}

TEST(ConvTranspose, OutputPaddingAndShape) {
  const Tensor x = Tensor::of<float>({1, 1, 2}, {1, 2}),
               w = Tensor::of<float>({1, 1, 3}, {1, 10, 100});
  const OpRun plain{OpKind::kConvTranspose, {{"strides", Ints{2}}}};
  EXPECT_EQ(elements<float>(plain.first({x, w})), (Floats{1, 10, 102, 20, 200}));
  const OpRun padded{OpKind::kConvTranspose,
                     {{"strides", Ints{2}}, {"pads", Ints{1, 1}}, {"output_padding", Ints{1}}}};
  EXPECT_EQ(elements<float>(padded.first({x, w})), (Floats{10, 102, 20, 200}));
  const OpRun shaped{OpKind::kConvTranspose, {{"strides", Ints{2}}, {"output_shape", Ints{4}}}};
  EXPECT_EQ(elements<float>(shaped.first({x, w})), (Floats{10, 102, 20, 200}));
}

TEST(AveragePool, CountsPadsOnlyWhenAsked) {
  const Tensor x = Tensor::of<float>({1, 1, 4}, {2, 4, 6, 8});
  const std::vector<Attribute> base = {
      {"kernel_shape", Ints{3}}, {"strides", Ints{2}}, {"pads", Ints{1, 0}}};
  EXPECT_EQ(elements<float>(OpRun{OpKind::kAveragePool, base}.first({x})), (Floats{3, 6}));
  auto counted = base;
  counted.push_back({"count_include_pad", int64_t{1}});
  EXPECT_EQ(elements<float>(OpRun{OpKind::kAveragePool, counted}.first({x})), (Floats{2, 6}));
  // With ceil_mode, cells past the padded input never count.
  counted.push_back({"ceil_mode", int64_t{1}});
  counted[2] = {"pads", Ints{0, 0}};
  EXPECT_EQ(elements<float>(OpRun{OpKind::kAveragePool, counted}.first({x})), (Floats{4, 7}));
}

TEST(MaxPool, GivesIndicesInBothOrders) {
  const Tensor x = Tensor::of<float>({1, 2, 2, 3}, {1, 5, 2, 3, 4, 6, 9, 1, 1, 1, 1, 8});
  std::vector<Attribute> attributes = {{"kernel_shape", Ints{2, 2}}};
  auto result = OpRun{OpKind::kMaxPool, attributes, 2}.run({x});
  ASSERT_TRUE(result);
  EXPECT_EQ(elements<float>((*result)[0]), (Floats{5, 6, 9, 8}));
  EXPECT_EQ(elements<int64_t>((*result)[1]), (Ints{1, 5, 6, 11}));
  attributes.push_back({"storage_order", int64_t{1}});
  result = OpRun{OpKind::kMaxPool, attributes, 2}.run({x});
  ASSERT_TRUE(result);
  EXPECT_EQ(elements<int64_t>((*result)[1]), (Ints{2, 5, 6, 11}));
}

TEST(MaxUnpool, ChecksIndices) {
  const Tensor x = Tensor::of<float>({1, 1, 2}, {7, 8});
  const OpRun op{OpKind::kMaxUnpool, {{"kernel_shape", Ints{2}}, {"strides", Ints{2}}}};
  EXPECT_EQ(elements<float>(op.first({x, Tensor::of<int64_t>({1, 1, 2}, {1, 2})})),
            (Floats{0, 7, 8, 0}));
  EXPECT_FALSE(op.run({x, Tensor::of<int64_t>({1, 1, 2}, {1, 4})}));
}

}  // namespace
}  // namespace octavo
