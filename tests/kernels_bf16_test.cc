// bf16 kernels against their operators' reference functions: on the processor as it is, whose
// instructions for bf16 belong to targets that few kernels are compiled for, and on every SIMD
// target that this machine has.
#include <gtest/gtest.h>

#include <limits>

#include "conv_case.h"
#include "kernel_check.h"
#include "observed_run.h"
#include "runtime/kernels/gemm.h"

namespace octavo::testing {
namespace {

void on_every_target(const std::function<void()>& fn) {
  fn();
  for_each_target(fn);
}
void for_each_seed(uint32_t count, const std::function<void(uint32_t seed)>& fn) {
  on_every_target([&] {
    for (uint32_t seed = 0; seed < count && !::testing::Test::HasFatalFailure(); ++seed) {
      SCOPED_TRACE(seed);
      fn(seed);
    }
  });
}
// What runs the convolution that has `kernel` where the processor multiplies bf16 numbers.
std::string kernel_here(const char* kernel) {
  return kernels::has_gemm_bf16() ? kernel : "conv_f32_bf16";
}

TEST(KernelsBf16Test, Conv) {
  for_each_seed(40, [](uint32_t seed) {
    check(make_conv(seed, {.real = DType::kBF16}), kernel_here("conv_bf16"), Layout::kPlain, 10);
  });
}

TEST(KernelsBf16Test, ConvOfColours) {
  for_each_seed(20, [](uint32_t seed) {
    check(make_conv(seed, {.colours = true, .real = DType::kBF16}), kernel_here("conv_bf16"),
          Layout::kPlain, 10);
  });
}

TEST(KernelsBf16Test, Depthwise) {
  for_each_seed(60, [](uint32_t seed) {
    check(make_conv(seed, {.depthwise = true, .real = DType::kBF16}), "depthwise_bf16",
          Layout::kPlain, 10);
  });
}

// A number that is no part of an output's sum does not reach it, though it is read with one that
// is: a segment of three channels by one column ends with half a word.
TEST(KernelsBf16Test, NumbersBesideASegmentDoNotMatter) {
  on_every_target([] {
    KernelCase c(1);
    const ValueId x = c.add_input(DType::kBF16, {1, 3, 5, 6});
    const ValueId w = c.add_constant(c.random(DType::kBF16, {20, 3, 2, 1}));
    const ValueId y = c.add_output(DType::kBF16);
    c.add_node(OpKind::kConv, {x, w}, {y});
    const auto expected = c.reference();
    c.data[0].data<BFloat16>()[3 * 6 + 4] = BFloat16(std::numeric_limits<float>::infinity());
    auto compiled = c.compile();
    ASSERT_TRUE(expected && compiled && compiled->run());
    const Tensor actual = (*KernelCase::plain_outputs(*compiled))[0];
    for (size_t i = 0; i < actual.data<BFloat16>().size(); ++i) {
      const size_t row = i / 6 % 4, column = i % 6;
      const bool reads = column == 4 && (row == 2 || row == 3);
      EXPECT_EQ(std::isfinite(static_cast<float>(actual.data<BFloat16>()[i])), !reads) << i;
      if (!reads) {
        EXPECT_NEAR((*expected)[0].data<BFloat16>()[i], actual.data<BFloat16>()[i], 0.02);
      }
    }
  });
}

TEST(KernelsBf16Test, MaxPools) {
  for_each_seed(30, [](uint32_t seed) {
    KernelCase c(seed);
    const int64_t kernel = c.pick(1, 6);
    const ValueId x = c.add_input(DType::kBF16, {2, c.pick(1, 150), 9, c.pick(6, 20)});
    Node& node = c.add_node(OpKind::kMaxPool, {x}, {c.add_output(DType::kBF16)});
    node.set("kernel_shape", std::vector<int64_t>{kernel, kernel});
    node.set("strides", std::vector<int64_t>{c.pick(1, 3), c.pick(1, 3)});
    node.set("pads", std::vector<int64_t>(4, c.pick(0, static_cast<int>(kernel) - 1)));
    for (BFloat16& value : c.data[0].data<BFloat16>()) {
      if (c.pick(0, 40) > 0) continue;
      value.bits = static_cast<uint16_t>(c.flip() ? 0x7F80 : 0xFF80) | (c.flip() ? 0x40 : 0);
    }
    const auto expected = c.reference();
    auto compiled = c.compile();
    ASSERT_TRUE(expected && compiled && compiled->step && compiled->run());
    EXPECT_EQ(compiled->step->kernel, "max_pool");
    const Tensor actual = (*KernelCase::plain_outputs(*compiled))[0];
    for (size_t i = 0; i < actual.data<BFloat16>().size(); ++i) {
      ASSERT_EQ((*expected)[0].data<BFloat16>()[i].bits, actual.data<BFloat16>()[i].bits) << i;
    }
  });
}

// A convolution, a function of its results, and perhaps their product: one step, which rounds once
// where the reference functions round two or three times.
TEST(KernelsBf16Test, FunctionsBehindConvolutions) {
  struct Function {
    OpKind op;
    std::vector<Attribute> attributes = {};
  };
  const Function functions[] = {{OpKind::kSigmoid},
                                {OpKind::kTanh},
                                {OpKind::kGelu, {{"approximate", std::string("tanh")}}},
                                {OpKind::kLeakyRelu, {{"alpha", 0.25f}}},
                                {OpKind::kHardSigmoid, {{"alpha", 0.2f}, {"beta", 0.4f}}},
                                {OpKind::kElu, {{"alpha", 1.5f}}}};
  on_every_target([&] {
    for (const Function& function : functions) {
      for (const bool depthwise : {false, true}) {
        for (const bool times_x : {false, true}) {
          SCOPED_TRACE(concat(op_name(function.op), depthwise, times_x));
          KernelCase c(5);
          const auto value = [&] {
            const ValueId id = c.add_output(DType::kBF16);
            c.graph.outputs.pop_back();
            return id;
          };
          const ValueId x = c.add_input(DType::kBF16, {1, 21, 7, 9});
          const Shape weights = depthwise ? Shape{21, 1, 3, 3} : Shape{70, 21, 3, 3};
          const ValueId w = c.add_constant(c.random(DType::kBF16, weights));
          const ValueId sums = value(), gate = value(), y = value();
          c.add_node(OpKind::kConv, {x, w}, {sums}).set("group", int64_t{depthwise ? 21 : 1});
          c.add_node(function.op, {sums}, {gate}).attributes = function.attributes;
          if (times_x) c.add_node(OpKind::kMul, {gate, sums}, {y});
          c.graph.outputs = {times_x ? y : gate};
          const auto [actual, steps] = observed_run(c, {});
          const Tensor expected = observed_run(c, {.reference_only = true}).output;
          if (depthwise || kernels::has_gemm_bf16()) {
            EXPECT_TRUE(std::ranges::contains(
                steps.kernels, depthwise ? "depthwise_bf16_function" : "conv_bf16_function"));
          }
          for (size_t i = 0; i < actual.data<BFloat16>().size(); ++i) {
            const float e = expected.data<BFloat16>()[i];
            ASSERT_NEAR(e, actual.data<BFloat16>()[i], std::abs(e) * 0x1p-5f + 1e-2f) << i;
          }
        }
      }
    }
  });
}

// Its error is below half of the result's last place, so that the result is off by one at most.
TEST(KernelsBf16Test, SigmoidIsAsExactAsItsResult) {
  on_every_target([] {
    for (const bool times_x : {false, true}) {
      constexpr int64_t kChannels = 20;
      KernelCase c(1);
      const ValueId x = c.add_input(DType::kBF16, {1, kChannels, 25, 8});
      Tensor ones = *Tensor::create(DType::kBF16, {kChannels, 1, 1, 1});
      for (BFloat16& one : ones.data<BFloat16>()) one = BFloat16(1);
      const ValueId w = c.add_constant(ones);
      const ValueId sums = c.add_output(DType::kBF16), gate = c.add_output(DType::kBF16),
                    y = c.add_output(DType::kBF16);
      c.add_node(OpKind::kConv, {x, w}, {sums}).set("group", kChannels);
      c.add_node(OpKind::kSigmoid, {sums}, {gate});
      c.add_node(OpKind::kMul, {gate, sums}, {y});
      if (!times_x) c.graph.nodes.pop_back();
      c.graph.outputs = {times_x ? y : gate};
      const auto reals = c.data[0].data<BFloat16>();
      for (size_t i = 0; i < reals.size(); ++i) {
        reals[i] = BFloat16(static_cast<float>(i) * 0.02f - 40.0f);
      }
      const auto [actual, steps] = observed_run(c, {});
      ASSERT_TRUE(std::ranges::contains(steps.kernels, "depthwise_bf16_function"));
      for (size_t i = 0; i < reals.size(); ++i) {
        const double real = reals[i];
        const double expected = (times_x ? real : 1) / (1 + std::exp(-real));
        ASSERT_NEAR(expected, actual.data<BFloat16>()[i], std::abs(expected) * 0x1.2p-8) << real;
      }
    }
  });
}

}  // namespace
}  // namespace octavo::testing
