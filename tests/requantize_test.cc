#include "runtime/requantize.h"

#include <gtest/gtest.h>

#include "runtime/quantize_view.h"

namespace octavo {
namespace {

TEST(Requantize, FollowsTheStatedFormula) {
  const QuantParams x{{0.5f}, {128}}, w{{0.25f, 0.125f}, {0, 0}, 0}, y{{0.1f}, {3}};
  const QuantParams bias_quant{{0.125f, 0.0625f}, {0, 0}, 0};
  const Tensor bias = Tensor::of<int32_t>({2}, {8, -16});
  TensorView bias_view = bias.view();
  bias_view.quant = &bias_quant;
  const auto r = make_requantize(x, w, &y, DType::kU8, bias_view, 2, {0.f, 6.f});
  ASSERT_TRUE(r) << r.error().to_string();
  EXPECT_EQ(r->multiplier, (std::vector<float>{0.125f / 0.1f, 0.0625f / 0.1f}));
  EXPECT_EQ(r->bias, (std::vector<float>{1.f / 0.1f, -1.f / 0.1f}));
  EXPECT_EQ(r->zero_point, 3);
  EXPECT_EQ(r->lo, 3);
  EXPECT_EQ(r->hi, 6.f / 0.1f + 3);

  const auto real = make_requantize(x, w, nullptr, DType::kF32, bias_view, 2, {});
  ASSERT_TRUE(real);
  EXPECT_EQ(real->multiplier, (std::vector<float>{0.125f, 0.0625f}));
  EXPECT_EQ(real->bias, (std::vector<float>{1.f, -1.f}));
  EXPECT_LT(real->lo, -1e38f);
}

std::vector<float> dequantized(const TensorView& view) {
  std::vector<float> real(static_cast<size_t>(view.elements()));
  EXPECT_TRUE(dequantize_view(view, real.data()));
  return real;
}

TEST(QuantizeView, ConvertsPerChannelInEitherLayout) {
  // Logical N,C,W = 1,2,3; channel 1 has scale 10.
  const QuantParams quant{{1.f, 10.f}, {0, 1}, 1};
  for (const Layout layout : {Layout::kPlain, Layout::kChannelsLast}) {
    const bool plain = layout == Layout::kPlain;
    const Tensor q = plain ? Tensor::of<int8_t>({1, 2, 3}, {1, 2, 3, 4, 5, 6})
                           : Tensor::of<int8_t>({1, 2, 3}, {1, 4, 2, 5, 3, 6});
    TensorView view = q.view(&quant);
    view.layout = layout;
    const std::vector<float> real = dequantized(view);
    EXPECT_EQ(real, plain ? (std::vector<float>{1, 2, 3, 30, 40, 50})
                          : (std::vector<float>{1, 30, 2, 40, 3, 50}));
    Tensor back = *Tensor::create(DType::kI8, {1, 2, 3});
    view.data = back.raw();
    ASSERT_TRUE(quantize_view(real.data(), view));
    EXPECT_TRUE(std::ranges::equal(back.data<int8_t>(), q.data<int8_t>()));
  }
}

TEST(QuantizeView, BlocksShareScalesAndTheLastMayBeShort) {
  const QuantParams quant{{1.f, 2.f, 3.f, 4.f}, {0, 0, 0, 0}, 1, 2};
  const Tensor q =
      Tensor::of<Int4>({2, 3}, {Int4(1), Int4(1), Int4(1), Int4(-8), Int4(7), Int4(1)});
  EXPECT_EQ(dequantized(q.view(&quant)), (std::vector<float>{1, 1, 2, -24, 21, 4}));
}

TEST(QuantizeView, ParametersThatDoNotFitAreErrors) {
  const Tensor q = Tensor::of<int8_t>({3}, {1, 2, 3});
  std::vector<float> real(3);
  for (const QuantParams& bad : {QuantParams{{1.f, 2.f}, {0, 0}, 0}, QuantParams{{1.f}, {0}, 5},
                                 QuantParams{{1.f}, {0, 0}}, QuantParams{{}, {}}}) {
    EXPECT_FALSE(dequantize_view(q.view(&bad), real.data()));
  }
}

}  // namespace
}  // namespace octavo
