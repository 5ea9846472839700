// Operators with numbers, on cases worked by hand: what ONNX's node tests leave out.
#include <gtest/gtest.h>

#include "runtime/infer.h"

namespace octavo {
namespace {

/// Infers and evaluates one node on constant inputs.
Result<std::vector<Tensor>> run(Node node, const std::vector<Tensor>& inputs,
                                const TensorInfo& output = {},
                                const std::vector<const QuantParams*>& quants = {}) {
  std::vector<TensorInfo> infos(inputs.size());
  std::vector<const TensorInfo*> pointers(inputs.size());
  std::vector<TensorView> views(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    node.inputs.push_back(inputs[i].present() ? static_cast<ValueId>(i) : kNoValue);
    if (!inputs[i].present()) continue;
    infos[i] = {inputs[i].dtype(), inputs[i].shape(), inputs[i]};
    if (i < quants.size() && quants[i] != nullptr) {
      infos[i].quant = std::make_shared<QuantParams>(*quants[i]);
    }
    pointers[i] = &infos[i];
    views[i] = inputs[i].view(infos[i].quant.get());
  }
  if (node.outputs.empty()) node.outputs = {100};
  std::vector<TensorInfo> outputs(node.outputs.size());
  outputs[0] = output;
  OCTAVO_TRY(infer_node(node, pointers, outputs));
  return evaluate(node, views, outputs);
}

template <class T>
std::vector<T> values(const Result<std::vector<Tensor>>& result, size_t i = 0) {
  EXPECT_TRUE(result) << (result ? "" : result.error().to_string());
  if (!result || i >= result->size()) return {};
  const auto data = (*result)[i].data<T>();
  return {data.begin(), data.end()};
}

using Floats = std::vector<float>;

TEST(Binary, BroadcastsBothWays) {
  const Tensor column = Tensor::of<float>({2, 1, 1}, {10, 20});
  const Tensor row = Tensor::of<float>({3}, {1, 2, 3});
  const auto sum = run({OpKind::kAdd}, {column, row});
  EXPECT_EQ(values<float>(sum), (Floats{11, 12, 13, 21, 22, 23}));
  EXPECT_EQ((*sum)[0].shape(), (Shape{2, 1, 3}));
  EXPECT_FALSE(run({OpKind::kAdd}, {Tensor::of<float>({2}, {1, 2}), row}));
  EXPECT_FALSE(run({OpKind::kAdd}, {Tensor::of<double>({3}, {1, 2, 3}), row}));
}

TEST(Binary, IntegerDivisionNeverTraps) {
  constexpr int32_t kLowest = std::numeric_limits<int32_t>::min();
  const Tensor x = Tensor::of<int32_t>({2}, {kLowest, -7});
  const auto by = [](int32_t divisor) { return Tensor::scalar<int32_t>(divisor); };
  EXPECT_EQ(values<int32_t>(run({OpKind::kDiv}, {x, by(-1)})), (std::vector{kLowest, 7}));
  EXPECT_EQ(values<int32_t>(run({OpKind::kDiv}, {x, by(2)})), (std::vector{kLowest / 2, -3}));
  EXPECT_EQ(values<int32_t>(run({OpKind::kMod}, {x, by(-1)})), (std::vector{0, 0}));
  EXPECT_EQ(values<int32_t>(run({OpKind::kMod}, {x, by(3)})), (std::vector{1, 2}));
  for (const OpKind kind : {OpKind::kDiv, OpKind::kMod}) {
    const auto result = run({kind}, {x, by(0)});
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("division by zero"), std::string::npos);
  }
}

TEST(Binary, PowerKeepsTheTypeOfItsBase) {
  const Tensor base = Tensor::of<int32_t>({3}, {2, 3, -2});
  EXPECT_EQ(values<int32_t>(run({OpKind::kPow}, {base, Tensor::of<int64_t>({3}, {10, 4, 3})})),
            (std::vector{1024, 81, -8}));
  EXPECT_EQ(values<int32_t>(run({OpKind::kPow}, {base, Tensor::scalar<float>(0.5f)})),
            (std::vector{1, 1, 0}));
}

TEST(Cast, SaturatesAndTruncates) {
  const Tensor x = Tensor::of<float>({5}, {-1.9f, 300.7f, 1e20f, NAN, 12.5f});
  const auto to = [&](int64_t number) {
    Node node{OpKind::kCast};
    node.set("to", number);
    return run(node, {x});
  };
  EXPECT_EQ(values<uint8_t>(to(2)), (std::vector<uint8_t>{0, 255, 255, 0, 12}));
  EXPECT_EQ(values<int8_t>(to(3)), (std::vector<int8_t>{-1, 127, 127, 0, 12}));
  EXPECT_EQ(values<int64_t>(to(7)),
            (std::vector<int64_t>{-1, 300, std::numeric_limits<int64_t>::max(), 0, 12}));
  EXPECT_EQ(values<std::string>(to(8))[4], "12.5");
  EXPECT_EQ(values<std::string>(to(8))[2], "1e+20");
  EXPECT_FALSE(to(17));  // float8
}

TEST(MatMul, QuantizedMatchesTheStatedArithmetic) {
  // x = 0.5 * (q - 128), w per column, y = 0.25 * (q - 10).
  const QuantParams x{{0.5f}, {128}}, w{{1.0f, 0.5f}, {0, 0}, 1};
  const QuantParams bias{{0.5f, 0.25f}, {0, 0}, 0};
  const Tensor a = Tensor::of<uint8_t>({1, 2}, {130, 126});    // 1, -1
  const Tensor b = Tensor::of<int8_t>({2, 2}, {3, 4, 1, -2});  // 3 2 / 1 -1
  const Tensor c = Tensor::of<int32_t>({2}, {2, -20});         // 1, -5
  const TensorInfo y{DType::kU8, {}, {}, std::make_shared<QuantParams>(QuantParams{{0.25f}, {10}})};
  Node node{OpKind::kMatMul};
  // 3 - 1 + 1 = 3 -> 22; 2 + 1 - 5 = -2 -> 2.
  EXPECT_EQ(values<uint8_t>(run(node, {a, b, c}, y, {&x, &w, &bias})),
            (std::vector<uint8_t>{22, 2}));
  EXPECT_EQ(values<float>(run(node, {a, b, c}, {DType::kF32}, {&x, &w, &bias})), (Floats{3, -2}));
  node.set("activation", std::string("Relu"));
  EXPECT_EQ(values<uint8_t>(run(node, {a, b, c}, y, {&x, &w, &bias})),
            (std::vector<uint8_t>{22, 10}));
  // Weights alone quantized.
  const Tensor real = Tensor::of<float>({1, 2}, {1, -1});
  EXPECT_EQ(values<float>(run(node, {real, b}, {}, {nullptr, &w})), (Floats{2, 3}));
}

TEST(Gemm, TransposedQuantizedWeightsHaveRowsAsChannels) {
  const QuantParams x{{0.5f}, {128}}, w{{1.0f, 0.5f}, {0, 0}, 0};
  const Tensor a = Tensor::of<uint8_t>({1, 2}, {130, 126});
  const Tensor b = Tensor::of<int8_t>({2, 2}, {3, 1, 4, -2});
  Node node{OpKind::kGemm};
  node.set("transB", int64_t{1});
  EXPECT_EQ(values<float>(run(node, {a, b}, {DType::kF32}, {&x, &w})), (Floats{2, 3}));
}

TEST(QuantizeLinear, ParametersOnTheValueOrAsInputs) {
  const Tensor x = Tensor::of<float>({2, 2}, {0.5f, 1.5f, -3, 1000});
  const TensorInfo y{DType::kI8, {}, {}, std::make_shared<QuantParams>(QuantParams{{1}, {0}})};
  EXPECT_EQ(values<int8_t>(run({OpKind::kQuantizeLinear}, {x}, y)),
            (std::vector<int8_t>{0, 2, -3, 127}));
  const Tensor scale = Tensor::of<float>({2}, {1, 2});
  const Tensor zero = Tensor::of<uint8_t>({2}, {5, 0});
  EXPECT_EQ(values<uint8_t>(run({OpKind::kQuantizeLinear}, {x, scale, zero})),
            (std::vector<uint8_t>{5, 1, 2, 255}));
  const Tensor three = Tensor::of<float>({3}, {1, 2, 3});
  EXPECT_FALSE(run({OpKind::kQuantizeLinear}, {x, three}));
}

}  // namespace
}  // namespace octavo
