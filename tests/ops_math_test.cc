// Operators with numbers, on cases worked by hand: what ONNX's node tests leave out.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/op_runner.h"

namespace octavo {
namespace {

using testing::OpRun;

std::shared_ptr<const QuantParams> quant(std::vector<float> scale, std::vector<int32_t> zero_point,
                                         int axis = -1) {
  return std::make_shared<QuantParams>(QuantParams{std::move(scale), std::move(zero_point), axis});
}

template <class T>
std::vector<T> values(const OpRun& op, const std::vector<Tensor>& inputs) {
  return testing::elements<T>(op.first(inputs));
}

using Floats = std::vector<float>;

TEST(Binary, BroadcastsBothWays) {
  const Tensor column = Tensor::of<float>({2, 1, 1}, {10, 20});
  const Tensor row = Tensor::of<float>({3}, {1, 2, 3});
  const Tensor sum = OpRun{OpKind::kAdd}.first({column, row});
  EXPECT_EQ(testing::elements<float>(sum), (Floats{11, 12, 13, 21, 22, 23}));
  EXPECT_EQ(sum.shape(), (Shape{2, 1, 3}));
  EXPECT_FALSE(OpRun{OpKind::kAdd}.run({Tensor::of<float>({2}, {1, 2}), row}));
  EXPECT_FALSE(OpRun{OpKind::kAdd}.run({Tensor::of<double>({3}, {1, 2, 3}), row}));
}

TEST(Binary, IntegerDivisionNeverTraps) {
  constexpr int32_t kLowest = std::numeric_limits<int32_t>::min();
  const Tensor x = Tensor::of<int32_t>({2}, {kLowest, -7});
  const auto by = [](int32_t divisor) { return Tensor::scalar<int32_t>(divisor); };
  EXPECT_EQ(values<int32_t>({OpKind::kDiv}, {x, by(-1)}), (std::vector{kLowest, 7}));
  EXPECT_EQ(values<int32_t>({OpKind::kDiv}, {x, by(2)}), (std::vector{kLowest / 2, -3}));
  EXPECT_EQ(values<int32_t>({OpKind::kMod}, {x, by(-1)}), (std::vector{0, 0}));
  EXPECT_EQ(values<int32_t>({OpKind::kMod}, {x, by(3)}), (std::vector{1, 2}));
  for (const OpKind kind : {OpKind::kDiv, OpKind::kMod}) {
    const auto result = OpRun{kind}.run({x, by(0)});
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("division by zero"), std::string::npos);
  }
}

TEST(Binary, PowerKeepsTheTypeOfItsBase) {
  const Tensor base = Tensor::of<int32_t>({3}, {2, 3, -2});
  EXPECT_EQ(values<int32_t>({OpKind::kPow}, {base, Tensor::of<int64_t>({3}, {10, 4, 3})}),
            (std::vector{1024, 81, -8}));
  EXPECT_EQ(values<int32_t>({OpKind::kPow}, {base, Tensor::scalar<float>(0.5f)}),
            (std::vector{1, 1, 0}));
}

TEST(Cast, SaturatesAndTruncates) {
  const Tensor x = Tensor::of<float>({5}, {-1.9f, 300.7f, 1e20f, NAN, 12.5f});
  const auto to = [](int64_t number) { return OpRun{OpKind::kCast, {{"to", number}}}; };
  EXPECT_EQ(values<uint8_t>(to(2), {x}), (std::vector<uint8_t>{0, 255, 255, 0, 12}));
  EXPECT_EQ(values<int8_t>(to(3), {x}), (std::vector<int8_t>{-1, 127, 127, 0, 12}));
  EXPECT_EQ(values<int64_t>(to(7), {x}),
            (std::vector<int64_t>{-1, 300, std::numeric_limits<int64_t>::max(), 0, 12}));
  EXPECT_EQ(values<std::string>(to(8), {x}),
            (std::vector<std::string>{"-1.9", "300.7", "1e+20", "NaN", "12.5"}));
  EXPECT_FALSE(to(17).run({x}));  // float8
}

TEST(MatMul, QuantizedMatchesTheStatedArithmetic) {
  // x = 0.5 * (q - 128), w per column, y = 0.25 * (q - 10).
  const auto x = quant({0.5f}, {128}), w = quant({1.0f, 0.5f}, {0, 0}, 1);
  const auto bias = quant({0.5f, 0.25f}, {0, 0}, 0);
  const Tensor a = Tensor::of<uint8_t>({1, 2}, {130, 126});    // 1, -1
  const Tensor b = Tensor::of<int8_t>({2, 2}, {3, 4, 1, -2});  // 3 2 / 1 -1
  const Tensor c = Tensor::of<int32_t>({2}, {2, -20});         // 1, -5
  OpRun op{OpKind::kMatMul, {}, 1, true, {x, w, bias}, {DType::kU8}};
  op.declared.quant = quant({0.25f}, {10});
  // 3 - 1 + 1 = 3 -> 22; 2 + 1 - 5 = -2 -> 2.
  EXPECT_EQ(values<uint8_t>(op, {a, b, c}), (std::vector<uint8_t>{22, 2}));
  op.attributes = {{"activation", std::string("Relu")}};
  EXPECT_EQ(values<uint8_t>(op, {a, b, c}), (std::vector<uint8_t>{22, 10}));
  op = {OpKind::kMatMul, {}, 1, true, {x, w, bias}, {DType::kF32}};
  EXPECT_EQ(values<float>(op, {a, b, c}), (Floats{3, -2}));
  // Weights alone quantized.
  op.quants = {nullptr, w};
  EXPECT_EQ(values<float>(op, {Tensor::of<float>({1, 2}, {1, -1}), b}), (Floats{2, 3}));
}

TEST(Gemm, TransposedQuantizedWeightsHaveRowsAsChannels) {
  const Tensor a = Tensor::of<uint8_t>({1, 2}, {130, 126});
  const Tensor b = Tensor::of<int8_t>({2, 2}, {3, 1, 4, -2});
  const OpRun op{OpKind::kGemm,
                 {{"transB", int64_t{1}}},
                 1,
                 true,
                 {quant({0.5f}, {128}), quant({1.0f, 0.5f}, {0, 0}, 0)},
                 {DType::kF32}};
  EXPECT_EQ(values<float>(op, {a, b}), (Floats{2, 3}));
}

TEST(QuantizeLinear, ParametersOnTheValueOrAsInputs) {
  const Tensor x = Tensor::of<float>({2, 2}, {0.5f, 1.5f, -3, 1000});
  OpRun op{OpKind::kQuantizeLinear};
  op.declared = {DType::kI8, Shape::unknown(), {}, quant({1}, {0})};
  EXPECT_EQ(values<int8_t>(op, {x}), (std::vector<int8_t>{0, 2, -3, 127}));
  op.declared = {};
  const Tensor scale = Tensor::of<float>({2}, {1, 2});
  const Tensor zero = Tensor::of<uint8_t>({2}, {5, 0});
  EXPECT_EQ(values<uint8_t>(op, {x, scale, zero}), (std::vector<uint8_t>{5, 1, 2, 255}));
  EXPECT_FALSE(op.run({x, Tensor::of<float>({3}, {1, 2, 3})}));
}

TEST(Einsum, ContractsInAnyOrder) {
  const auto einsum = [](const char* equation, const std::vector<Tensor>& inputs) {
    return OpRun{OpKind::kEinsum, {{"equation", std::string(equation)}}}.run(inputs);
  };
  const auto floats = [&](const char* equation, const std::vector<Tensor>& inputs) {
    const auto result = einsum(equation, inputs);
    EXPECT_TRUE(result) << result.error().to_string();
    return result ? testing::elements<float>((*result)[0]) : Floats();
  };
  const Tensor m = testing::iota<float>({2, 2}, 1), v = testing::iota<float>({2}, 1);
  EXPECT_EQ(floats("ij,jk,k->i", {m, m, v}), (Floats{27, 59}));  // m m v
  EXPECT_EQ(floats("ji", {m}), (Floats{1, 3, 2, 4}));            // implicit: sorted
  EXPECT_EQ(floats("ii->", {m}), (Floats{5}));
  EXPECT_EQ(floats("...j,j->...", {m, v}), (Floats{5, 11}));
  EXPECT_EQ(floats("i,j,i->j", {v, v, v}), (Floats{5, 10}));
  EXPECT_FALSE(einsum("ij,jk->ii", {m, m}));
  EXPECT_FALSE(einsum("ij->i.", {m}));
  EXPECT_FALSE(einsum("ijk->i", {m}));
  EXPECT_FALSE(einsum("i,i->i", {v, testing::iota<float>({3})}));
}

TEST(DFT, AnyLengthMatchesTheDefinition) {
  for (const int64_t n : {1, 5, 8, 12}) {
    const Tensor x = testing::iota<float>({1, n, 1}, 1);
    const Floats y = values<float>({OpKind::kDFT}, {x});
    ASSERT_EQ(y.size(), static_cast<size_t>(2 * n));
    for (int64_t k = 0; k < n; ++k) {
      double re = 0, im = 0;
      for (int64_t i = 0; i < n; ++i) {
        const double angle = -2 * M_PI * static_cast<double>(i * k) / static_cast<double>(n);
        re += static_cast<double>(i + 1) * std::cos(angle);
        im += static_cast<double>(i + 1) * std::sin(angle);
      }
      EXPECT_NEAR(y[static_cast<size_t>(2 * k)], re, 1e-4);
      EXPECT_NEAR(y[static_cast<size_t>(2 * k + 1)], im, 1e-4);
    }
  }
}

// Channels-last copy of a plain tensor, marked as a view of that layout.
TensorView channels_last(const Tensor& plain, Tensor& holder) {
  TensorView view = plain.view();
  if (plain.shape().rank() < 3) return view;
  holder = *Tensor::create(plain.dtype(), plain.shape());
  const int64_t channels = plain.shape()[1], batch = plain.shape()[0];
  const int64_t pixels = plain.elements() / (batch * channels);
  const auto size = static_cast<size_t>(dtype_bytes(plain.dtype()));
  for (int64_t i = 0; i < plain.elements(); ++i) {
    const int64_t n = i / (channels * pixels), c = i / pixels % channels, p = i % pixels;
    std::memcpy(static_cast<std::byte*>(holder.raw()) +
                    static_cast<size_t>((n * pixels + p) * channels + c) * size,
                static_cast<const std::byte*>(plain.raw()) + static_cast<size_t>(i) * size, size);
  }
  view.data = holder.raw();
  view.layout = Layout::kChannelsLast;
  return view;
}

TEST(Layout, AgnosticOperatorsGiveTheSameInChannelsLast) {
  const Shape shape{2, 3, 2, 4};
  Tensor x = *Tensor::create(DType::kF32, shape), y = *Tensor::create(DType::kF32, shape);
  for (int64_t i = 0; i < x.elements(); ++i) {
    x.data<float>()[static_cast<size_t>(i)] = static_cast<float>(i * 7 % 11 - 5);
    y.data<float>()[static_cast<size_t>(i)] = static_cast<float>(i * 5 % 13 - 6);
  }
  const Tensor per_channel = Tensor::of<float>({1, 3, 1, 1}, {1, 2, 3});
  const Tensor three = Tensor::of<float>({3}, {1, 2, 3});
  const Tensor column = Tensor::of<float>({2, 1}, {1, 2});
  const Tensor zero = Tensor::of<int8_t>({3}, {1, 2, 3});
  const Tensor odd = *Tensor::create(DType::kBool, shape);
  struct Case {
    OpRun op;
    std::vector<Tensor> inputs;
  };
  const Attribute axis1{"axis", int64_t{1}}, axis3{"axis", int64_t{3}};
  const Case cases[] = {
      {{OpKind::kExp}, {x}},
      {{OpKind::kAdd}, {x, y}},
      {{OpKind::kAdd}, {x, per_channel}},
      {{OpKind::kMul}, {column, x}},
      {{OpKind::kMax}, {x, per_channel, y}},
      {{OpKind::kWhere}, {odd, x, y}},
      {{OpKind::kSoftmax, {axis1}}, {x}},
      {{OpKind::kLogSoftmax, {axis3}}, {x}},
      {{OpKind::kReduceMean}, {x, testing::i64s({2, 3})}},
      {{OpKind::kReduceMax}, {x, testing::i64s({1})}},
      {{OpKind::kReduceLogSumExp}, {x, testing::i64s({0, 3})}},
      {{OpKind::kBatchNormalization}, {x, three, three, three, three}},
      {{OpKind::kLRN, {{"size", int64_t{3}}}}, {x}},
      {{OpKind::kLpNormalization, {axis1}}, {x}},
      {{OpKind::kMeanVarianceNormalization}, {x}},
      {{OpKind::kQuantizeLinear, {axis1}}, {x, three, zero}},
  };
  for (const Case& c : cases) {
    const OpDef& op = *find_op(c.op.kind);
    ASSERT_EQ(op.layout, LayoutRule::kAgnostic) << op.name;
    const Tensor expected = c.op.first(c.inputs);
    std::vector<Tensor> holders(c.inputs.size());
    std::vector<TensorView> views;
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      views.push_back(channels_last(c.inputs[i], holders[i]));
    }
    Tensor result = *Tensor::create(expected.dtype(), expected.shape());
    TensorView out = result.view();
    out.layout = Layout::kChannelsLast;
    const Node node{c.op.kind, {0, 1, 2}, {3}, c.op.attributes};
    KernelContext context{node, views, {&out, 1}};
    const Status status = run_reference(op, context);
    ASSERT_TRUE(status) << status.error().to_string();
    const Tensor plain = *to_tensor(out);
    if (plain.dtype() != DType::kF32) {
      EXPECT_TRUE(std::ranges::equal(plain.raw_bytes(), expected.raw_bytes())) << op.name;
      continue;
    }
    for (int64_t i = 0; i < plain.elements(); ++i) {
      const auto at = static_cast<size_t>(i);
      ASSERT_NEAR(plain.data<float>()[at], expected.data<float>()[at], 1e-5) << op.name << i;
    }
  }
}

TEST(Dropout, TrainingIsRefused) {
  const Tensor x = Tensor::of<float>({2}, {1, 2});
  const Tensor ratio = Tensor::scalar<float>(0.5f), training = Tensor::scalar<bool>(true);
  EXPECT_EQ(values<float>({OpKind::kDropout}, {x, ratio}), (Floats{1, 2}));
  EXPECT_FALSE(OpRun{OpKind::kDropout}.run({x, ratio, training}));
}

}  // namespace
}  // namespace octavo
