// bf16 kernels against their operators' reference functions, on every SIMD target that this machine
// has, those with instructions for bf16 among them: only these kernels are compiled for them.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include <gtest/gtest.h>

#include <limits>

#include "conv_case.h"
#include "graph_builder.h"
#include "kernel_check.h"

namespace octavo::testing {
namespace {

TEST(KernelsBf16Test, Conv) {
  for_each_case(40, [](uint32_t seed) {
    check(make_conv(seed, {.real = DType::kBF16}), "conv_bf16", Layout::kPlain, 10);
  });
}

TEST(KernelsBf16Test, ConvOfColours) {
  for_each_case(20, [](uint32_t seed) {
    check(make_conv(seed, {.colours = true, .real = DType::kBF16}), "conv_bf16", Layout::kPlain,
          10);
  });
}

TEST(KernelsBf16Test, Depthwise) {
  for_each_case(60, [](uint32_t seed) {
    check(make_conv(seed, {.depthwise = true, .real = DType::kBF16}), "depthwise_bf16",
          Layout::kPlain, 10);
  });
}

}  // namespace
}  // namespace octavo::testing
