// Every kernel against its operator's reference function, on every SIMD target this machine has:
// integers to the byte, floats to 1e-5 of the largest output.

#include <gtest/gtest.h>

#include <cmath>

#include "conv_case.h"
#include "kernel_check.h"

namespace octavo::testing {
namespace {

using KernelsTest = ::testing::Test;

// Made for one thread and for four, which may split the work otherwise.
void expect_same_bits_on_threads(const KernelCase& c) {
  auto one = c.compile(Layout::kPlain, 1), four = c.compile(Layout::kPlain, 4);
  FakePool pool;
  ASSERT_TRUE(one && one->run() && four && four->run(&pool));
  EXPECT_TRUE(std::ranges::equal(one->outputs[0].data<float>(), four->outputs[0].data<float>()));
}

TEST_F(KernelsTest, ConvF32) {
  for_each_case(40,
                [](uint32_t seed) { check(make_conv(seed, {}), "conv_f32", Layout::kPlain, 10); });
}

TEST_F(KernelsTest, ConvWinograd) {
  for_each_case(30, [](uint32_t seed) {
    const KernelCase c = make_conv(seed, {.winograd = true});
    check(c, "conv_winograd", Layout::kPlain, 10);
    if (HasFatalFailure()) return;
    expect_same_bits_on_threads(c);
  });
}

TEST_F(KernelsTest, ConvInt8) {
  for_each_case(60, [](uint32_t seed) {
    check(make_conv(seed, {.int8 = true, .f32_output = seed % 5 == 0}), "conv_int8");
  });
}

TEST_F(KernelsTest, ConvInt8OfColours) {
  for_each_case(30, [](uint32_t seed) {
    check(make_conv(seed, {.int8 = true, .colours = true}), "conv_int8");
  });
}

TEST_F(KernelsTest, DepthwiseF32) {
  for_each_case(
      60, [](uint32_t seed) { check(make_conv(seed, {.depthwise = true}), "depthwise_f32"); });
}

TEST_F(KernelsTest, DepthwiseInt8) {
  for_each_case(80, [](uint32_t seed) {
    check(make_conv(seed, {.int8 = true, .depthwise = true}), "depthwise_int8");
  });
}

KernelCase make_product(uint32_t seed, OpKind kind, bool int8) {
  KernelCase c(seed);
  const bool gemm = kind == OpKind::kGemm;
  const bool constant = gemm || c.flip();
  const int k = c.pick(1, 70), n = c.pick(1, 140), m = c.pick(1, 3) == 1 ? 1 : c.pick(2, 40);
  Shape a, b;
  if (!gemm && c.flip()) a.push_back(c.pick(1, 3));
  if (a.rank() == 1 && c.flip()) b.push_back(a[0]);
  const bool transposed = gemm && c.flip();
  for (const int dim : {m, k}) a.push_back(dim);
  b.push_back(transposed ? n : k);
  b.push_back(transposed ? k : n);
  std::vector<ValueId> inputs;
  ValueId output;
  const bool bias = c.flip();
  if (int8) {
    const DType x = c.flip() ? DType::kU8 : DType::kI8, y = c.flip() ? DType::kU8 : DType::kI8;
    inputs.push_back(c.add_input(x, a, c.random_quant(x, 0.02f)));
    if (constant) {
      QuantParams quant{{0.01f}, {0}};
      if (c.flip()) {
        quant = {std::vector<float>(static_cast<size_t>(n)),
                 std::vector<int32_t>(static_cast<size_t>(n)), transposed ? 0 : b.rank() - 1};
        for (float& scale : quant.scale) scale = c.real(0.001f, 0.02f);
      }
      inputs.push_back(
          c.add_constant(c.random(DType::kI8, b), std::make_shared<QuantParams>(quant)));
    } else {
      const DType w = c.flip() ? DType::kU8 : DType::kI8;
      inputs.push_back(c.add_input(w, b, c.quant(0.02f, c.flip() ? c.pick(1, 127) : 1)));
    }
    if (bias) {
      inputs.push_back(c.add_constant(c.random(c.flip() ? DType::kI32 : DType::kF32, Shape{n})));
    }
    const float y_scale = 0.02f * std::sqrt(static_cast<float>(k));
    output =
        c.pick(0, 4) == 0 ? c.add_output(DType::kF32) : c.add_output(y, c.random_quant(y, y_scale));
  } else {
    inputs.push_back(c.add_input(DType::kF32, a));
    const Tensor weights = c.random(DType::kF32, b);
    inputs.push_back(constant ? c.add_constant(weights) : c.add_input(DType::kF32, b));
    if (bias) inputs.push_back(c.add_constant(c.random(DType::kF32, Shape{n})));
    output = c.add_output(DType::kF32);
  }
  Node& node = c.add_node(kind, inputs, {output});
  if (transposed) node.set("transB", int64_t{1});
  if (gemm && !int8 && c.flip()) {
    node.set("alpha", 0.5f);
    node.set("beta", 2.0f);
  }
  if (c.flip()) node.set("activation", std::string("Relu"));
  return c;
}

TEST_F(KernelsTest, MatMulAndGemm) {
  for_each_case(50, [](uint32_t seed) {
    const KernelCase c = make_product(seed, OpKind::kMatMul, false);
    check(c, "matmul_f32");
    expect_same_bits_on_threads(c);
    check(make_product(seed, OpKind::kMatMul, true), "matmul_int8");
    check(make_product(seed, OpKind::kGemm, false), "gemm_f32");
    check(make_product(seed, OpKind::kGemm, true), "gemm_int8");
  });
}

KernelCase make_binary(uint32_t seed, OpKind kind, bool int8) {
  KernelCase c(seed);
  Shape y{c.pick(1, 2), c.pick(1, 40), c.pick(1, 9), c.pick(1, 9)};
  if (c.flip()) y = Shape{c.pick(1, 9), c.pick(1, 70)};
  Shape b = y;
  switch (c.pick(0, 3)) {
    case 0: break;
    case 1: b = Shape{1}; break;
    case 2: b = y.rank() == 4 ? Shape{y[1], 1, 1} : Shape{y[1]}; break;
    default: b = y.rank() == 4 ? Shape{1, y[1], 1, y[3]} : Shape{y[0], 1}; break;
  }
  const bool constant = !(b.rank() == y.rank()) || c.flip();
  const auto add = [&](const Shape& shape, bool is_constant) {
    const DType dtype = !int8 ? DType::kF32 : c.flip() ? DType::kU8 : DType::kI8;
    const auto quant = int8 ? c.random_quant(dtype, 0.05f) : nullptr;
    return is_constant ? c.add_constant(c.random(dtype, shape), quant)
                       : c.add_input(dtype, shape, quant);
  };
  std::vector<ValueId> inputs{add(y, false), add(b, constant)};
  if (kind != OpKind::kPRelu && c.flip()) std::swap(inputs[0], inputs[1]);
  const DType dtype = !int8 ? DType::kF32 : c.flip() ? DType::kU8 : DType::kI8;
  const ValueId out = c.add_output(dtype, int8 ? c.random_quant(dtype, 0.1f) : nullptr);
  c.add_node(kind, inputs, {out});
  return c;
}

TEST_F(KernelsTest, Binary) {
  for_each_case(20, [](uint32_t seed) {
    for (const OpKind kind : {OpKind::kAdd, OpKind::kSub, OpKind::kMul, OpKind::kDiv, OpKind::kMax,
                              OpKind::kMin, OpKind::kPRelu}) {
      SCOPED_TRACE(op_name(kind));
      const Layout layout = seed % 2 == 0 ? Layout::kPlain : Layout::kChannelsLast;
      check(make_binary(seed, kind, false), "binary_f32", layout);
      if (kind != OpKind::kPRelu) check(make_binary(seed, kind, true), "binary_int8", layout);
      if (HasFatalFailure()) return;
    }
  });
}

TEST_F(KernelsTest, ExtremaOfNaN) {
  for_each_target([] {
    for (const OpKind kind : {OpKind::kMax, OpKind::kMin}) {
      KernelCase c(1);
      const ValueId a = c.add_input(DType::kF32, Shape{40});
      const ValueId b = c.add_input(DType::kF32, Shape{40});
      c.data[0].data<float>()[3] = c.data[1].data<float>()[5] = std::nanf("");
      c.add_node(kind, {a, b}, {c.add_output(DType::kF32)});
      auto compiled = c.compile();
      ASSERT_TRUE(compiled && compiled->run());
      for (size_t i = 0; i < 40; ++i) {
        EXPECT_EQ(std::isnan(compiled->outputs[0].data<float>()[i]), i == 3 || i == 5) << i;
      }
    }
  });
}

TEST_F(KernelsTest, UnaryF32) {
  for_each_target([] {
    for (const OpKind kind :
         {OpKind::kAbs, OpKind::kNeg, OpKind::kSqrt, OpKind::kFloor, OpKind::kCeil, OpKind::kRound,
          OpKind::kReciprocal, OpKind::kRelu, OpKind::kClip, OpKind::kLeakyRelu,
          OpKind::kHardSigmoid, OpKind::kHardSwish, OpKind::kExp, OpKind::kSigmoid, OpKind::kTanh,
          OpKind::kErf, OpKind::kGelu, OpKind::kElu}) {
      SCOPED_TRACE(op_name(kind));
      KernelCase c(1);
      const ValueId x = c.add_input(DType::kF32, Shape{3, 67});
      const auto values = c.data[0].data<float>();
      const bool positive = kind == OpKind::kSqrt || kind == OpKind::kReciprocal;
      for (float& value : values) value = positive ? 1.5f + value : value * 12;
      values[0] = positive ? 1.0f : 200.0f;
      values[1] = positive ? 1.0f : -200.0f;
      values[2] = 0.0f + (positive ? 1.0f : 0.0f);
      if (kind == OpKind::kExp) values[0] = 5.0f;
      std::vector<ValueId> inputs{x};
      if (kind == OpKind::kClip) {
        inputs.push_back(c.add_constant(Tensor::scalar(-3.0f)));
        inputs.push_back(c.add_constant(Tensor::scalar(6.0f)));
      }
      c.add_node(kind, inputs, {c.add_output(DType::kF32)});
      check(c, "unary_f32");
      if (HasFatalFailure()) return;
    }
  });
}

TEST_F(KernelsTest, SigmoidSmallValuesAreRelativelyExact) {
  for_each_target([] {
    KernelCase c(1);
    const ValueId x = c.add_input(DType::kF32, Shape{200});
    for (int i = 0; i < 200; ++i)
      c.data[0].data<float>()[static_cast<size_t>(i)] = -0.4f * static_cast<float>(i);
    c.add_node(OpKind::kSigmoid, {x}, {c.add_output(DType::kF32)});
    const auto expected = c.reference();
    auto compiled = c.compile();
    ASSERT_TRUE(compiled && compiled->run());
    for (size_t i = 0; i < 200; ++i) {
      const float want = (*expected)[0].data<float>()[i];
      EXPECT_NEAR(compiled->outputs[0].data<float>()[i], want, 2e-6f * want) << i;
    }
  });
}

TEST_F(KernelsTest, TablesAndQuantization) {
  for_each_case(12, [](uint32_t seed) {
    for (const OpKind kind : {OpKind::kRelu, OpKind::kSigmoid, OpKind::kHardSwish, OpKind::kGelu,
                              OpKind::kClip, OpKind::kQuantizeLinear, OpKind::kDequantizeLinear}) {
      SCOPED_TRACE(op_name(kind));
      KernelCase c(seed);
      const DType in = c.flip() ? DType::kU8 : DType::kI8, out = c.flip() ? DType::kU8 : DType::kI8;
      const Shape shape{c.pick(1, 5), c.pick(1, 100)};
      const bool from_real = kind == OpKind::kQuantizeLinear;
      std::vector<ValueId> inputs{from_real ? c.add_input(DType::kF32, shape)
                                            : c.add_input(in, shape, c.random_quant(in, 0.05f))};
      if (from_real) {
        const auto x = c.data[0].data<float>();
        const float special[] = {std::nanf(""), INFINITY, -INFINITY, 1e30f, -0.0f};
        std::copy_n(special, std::min<size_t>(5, x.size()), x.begin());
      }
      if (kind == OpKind::kClip) {
        inputs.push_back(c.add_constant(Tensor::scalar(-1.0f)));
        inputs.push_back(c.add_constant(Tensor::scalar(2.0f)));
      }
      const ValueId y = kind == OpKind::kDequantizeLinear
                            ? c.add_output(DType::kF32)
                            : c.add_output(out, c.random_quant(out, 0.02f));
      c.add_node(kind, inputs, {y});
      check(c, from_real                           ? "quantize_linear"
               : kind == OpKind::kDequantizeLinear ? "dequantize_linear"
                                                   : "table_int8");
      if (HasFatalFailure()) return;
    }
  });
}

KernelCase make_pool(uint32_t seed, OpKind kind, bool int8) {
  KernelCase c(seed);
  const bool global = kind == OpKind::kGlobalAveragePool || kind == OpKind::kGlobalMaxPool;
  const bool average = kind == OpKind::kGlobalAveragePool || kind == OpKind::kAveragePool;
  const int spatial = c.pick(1, 3);
  Shape x{c.pick(1, 2), c.pick(1, 90)};
  std::vector<int64_t> kernel, strides, dilations, begins, ends;
  for (int i = 0; i < spatial; ++i) {
    kernel.push_back(c.pick(1, 4));
    strides.push_back(c.pick(1, 3));
    dilations.push_back(c.pick(1, 2));
    begins.push_back(c.pick(0, static_cast<int>(kernel.back()) - 1));
    ends.push_back(c.pick(0, static_cast<int>(kernel.back()) - 1));
    x.push_back((kernel.back() - 1) * dilations.back() + 1 + c.pick(0, spatial == 3 ? 3 : 9));
  }
  begins.insert(begins.end(), ends.begin(), ends.end());
  const DType in = !int8 ? DType::kF32 : c.flip() ? DType::kU8 : DType::kI8;
  const DType out = !int8 ? DType::kF32 : !average ? in : c.flip() ? DType::kU8 : DType::kI8;
  const auto quant = int8 ? c.random_quant(in, 0.05f) : nullptr;
  const ValueId id = c.add_input(in, x, quant);
  const ValueId y = c.add_output(out, int8 && average ? c.random_quant(out, 0.03f) : quant);
  Node& node = c.add_node(kind, {id}, {y});
  if (global) return c;
  node.set("kernel_shape", kernel);
  node.set("strides", strides);
  node.set("dilations", dilations);
  node.set("pads", begins);
  if (c.flip()) node.set("ceil_mode", int64_t{1});
  if (average && c.flip()) node.set("count_include_pad", int64_t{1});
  return c;
}

TEST_F(KernelsTest, Concat) {
  for_each_case(60, [](uint32_t seed) {
    KernelCase c(seed);
    const bool int8 = seed % 3 != 0;
    const int axis = c.pick(0, 3);
    const auto any_dtype = [&] { return !int8 ? DType::kF32 : c.flip() ? DType::kU8 : DType::kI8; };
    const DType dtype = any_dtype();
    const auto quant = int8 ? c.random_quant(dtype, 0.1f) : nullptr;
    std::vector<ValueId> inputs;
    for (int i = c.pick(1, 4); i > 0; --i) {
      Shape shape{2, 3, 4, 5};
      shape[axis] = c.pick(1, 20);
      const bool same = c.flip();  // parameters as the output's
      const DType other = any_dtype();
      inputs.push_back(c.add_input(same ? dtype : other, shape,
                                   same || !int8 ? quant : c.random_quant(other, 0.1f)));
    }
    c.add_node(OpKind::kConcat, inputs, {c.add_output(dtype, quant)}).set("axis", int64_t{axis});
    check(c, "concat", c.flip() ? Layout::kPlain : Layout::kChannelsLast);
  });
}

TEST_F(KernelsTest, Pools) {
  for_each_case(40, [](uint32_t seed) {
    for (const OpKind kind : {OpKind::kAveragePool, OpKind::kMaxPool, OpKind::kGlobalAveragePool,
                              OpKind::kGlobalMaxPool}) {
      SCOPED_TRACE(op_name(kind));
      const bool average = kind == OpKind::kAveragePool || kind == OpKind::kGlobalAveragePool;
      for (const bool int8 : {false, true}) {
        check(make_pool(seed, kind, int8), average ? "average_pool" : "max_pool");
      }
      if (HasFatalFailure()) return;
    }
  });
}

}  // namespace
}  // namespace octavo::testing
