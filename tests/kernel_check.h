// Kernels against their operators' reference functions: integers to the byte, floats to 1e-5 of the
// largest output, bf16 to their last place; and tests repeated on every SIMD target that this
// machine has.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "hwy/targets.h"
#include "kernel_case.h"

namespace octavo::testing {

// Splits work as four threads would, in another order.
class FakePool : public ThreadPool {
 public:
  int thread_count() const override { return 4; }
  void run(int64_t count, const std::function<void(int64_t)>& fn) override {
    for (int64_t i = count; i-- > 0;) fn(i);
  }
};

// Runs `fn` once for each SIMD target that is compiled in and that this CPU has.
inline void for_each_target(const std::function<void()>& fn) {
#ifdef __EMSCRIPTEN__
  fn();  // compiled for one
#else
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    fn();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
#endif
}

// Runs `fn` for `count` seeds on each SIMD target, up to the first that fails.
inline void for_each_case(uint32_t count, const std::function<void(uint32_t seed)>& fn) {
  for_each_target([&] {
    for (uint32_t seed = 0; seed < count && !::testing::Test::HasFatalFailure(); ++seed) {
      SCOPED_TRACE(seed);
      fn(seed);
    }
  });
}

// `magnitude`: of intermediate sums, where clamping hides it.
inline void expect_same(const Tensor& expected, const Tensor& actual, float magnitude) {
  ASSERT_EQ(expected.dtype(), actual.dtype());
  ASSERT_EQ(expected.shape(), actual.shape());
  if (expected.dtype() == DType::kF32) {
    float largest = magnitude;
    for (const float x : expected.data<float>()) largest = std::max(largest, std::abs(x));
    for (size_t i = 0; i < expected.data<float>().size(); ++i) {
      ASSERT_NEAR(expected.data<float>()[i], actual.data<float>()[i], 1e-5f * largest) << i;
    }
    return;
  }
  if (expected.dtype() == DType::kBF16) {
    for (size_t i = 0; i < expected.data<BFloat16>().size(); ++i) {
      const auto value = static_cast<float>(expected.data<BFloat16>()[i]);
      const float last_place = std::abs(value) * 0x1p-7f;
      ASSERT_NEAR(value, static_cast<float>(actual.data<BFloat16>()[i]),
                  last_place + 1e-5f * magnitude)
          << i;
    }
    return;
  }
  for (size_t i = 0; i < static_cast<size_t>(expected.elements()); ++i) {
    if (expected.dtype() == DType::kI8) {
      ASSERT_EQ(int{expected.data<int8_t>()[i]}, int{actual.data<int8_t>()[i]}) << i;
    } else {
      ASSERT_EQ(int{expected.data<uint8_t>()[i]}, int{actual.data<uint8_t>()[i]}) << i;
    }
  }
}

// The case's node must have the kernel, and it must agree with the reference.
inline void check(const KernelCase& c, std::string_view kernel, Layout layout = Layout::kPlain,
                  float magnitude = 1e-3f) {
  const auto expected = c.reference();
  ASSERT_TRUE(expected) << expected.error().to_string();
  FakePool fake;
  for (ThreadPool* pool : {static_cast<ThreadPool*>(nullptr), static_cast<ThreadPool*>(&fake)}) {
    auto compiled = c.compile(layout);
    ASSERT_TRUE(compiled) << compiled.error().to_string();
    ASSERT_NE(compiled->step, nullptr) << "no kernel";
    ASSERT_EQ(compiled->step->kernel, kernel);
    const Status status = compiled->run(pool);
    ASSERT_TRUE(status) << status.error().to_string();
    const auto actual = KernelCase::plain_outputs(*compiled);
    ASSERT_TRUE(actual);
    size_t at = 0;
    for (const Tensor& tensor : *expected) {  // those of outputs that are absent are not present
      if (tensor.present()) expect_same(tensor, actual->at(at++), magnitude);
    }
  }
}

}  // namespace octavo::testing
