#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/calibration/collector.h"

namespace octavo {
namespace {

Tensor noise(int64_t count) {
  std::mt19937 generator(7);
  Tensor tensor = *Tensor::create(DType::kF32, Shape{count});
  for (float& x : tensor.data<float>()) x = static_cast<float>(generator()) * 0x1p-30f - 1.5f;
  return tensor;
}

Tensor part(const Tensor& whole, int64_t begin, int64_t end) {
  return Tensor::borrow(DType::kF32, Shape{end - begin}, whole.data<float>().data() + begin,
                        nullptr);
}

TEST(Collector, ChunksInAnyOrderMergeToTheWhole) {
  const Tensor data = noise(10007);
  const auto whole = *make_collector("minmax");
  ASSERT_TRUE(whole->observe(data.view()));
  const auto values = data.data<const float>();
  EXPECT_EQ(whole->range().min, *std::ranges::min_element(values));
  EXPECT_EQ(whole->range().max, *std::ranges::max_element(values));

  const int64_t cuts[] = {0, 1, 17, 4000, 4001, 10007};
  std::vector<std::unique_ptr<Collector>> parts;
  for (size_t i = 0; i + 1 < std::size(cuts); ++i) {
    parts.push_back(*make_collector("minmax"));
    ASSERT_TRUE(parts.back()->observe(part(data, cuts[i], cuts[i + 1]).view()));
  }
  const auto forward = *make_collector("minmax"), backward = *make_collector("minmax");
  for (const auto& p : parts) ASSERT_TRUE(forward->merge(*p));
  for (auto p = parts.rbegin(); p != parts.rend(); ++p) ASSERT_TRUE(backward->merge(**p));
  EXPECT_EQ(forward->range(), whole->range());
  EXPECT_EQ(backward->range(), whole->range());
}

TEST(Collector, ChannelRangesDoNotDependOnLayout) {
  // 2 x 3 x 2 x 2: channel c of sample n holds 100 n + 10 c + pixel.
  const Shape shape{2, 3, 2, 2};
  Tensor plain = *Tensor::create(DType::kF32, shape), last = *Tensor::create(DType::kF32, shape);
  for (int n = 0; n < 2; ++n) {
    for (int c = 0; c < 3; ++c) {
      for (int p = 0; p < 4; ++p) {
        const auto x = static_cast<float>(100 * n + 10 * c + p);
        plain.data<float>()[static_cast<size_t>((n * 3 + c) * 4 + p)] = x;
        last.data<float>()[static_cast<size_t>((n * 4 + p) * 3 + c)] = x;
      }
    }
  }
  TensorView last_view = last.view();
  last_view.layout = Layout::kChannelsLast;
  for (const TensorView& view : {plain.view(), last_view}) {
    const auto collector = *make_collector("minmax", /*per_channel=*/true);
    ASSERT_TRUE(collector->observe(view));
    ASSERT_EQ(collector->channel_ranges().size(), 3u);
    EXPECT_EQ(collector->channel_ranges()[1], (Range{10, 113}));
    EXPECT_EQ(collector->channel_ranges()[2], (Range{20, 123}));
    EXPECT_EQ(collector->range(), (Range{0, 123}));
    EXPECT_FALSE(collector->merge(**make_collector("minmax")));
  }
}

TEST(Collector, AnEmptyOneChangesNothing) {
  const auto collector = *make_collector("minmax"), empty = *make_collector("minmax");
  ASSERT_TRUE(empty->observe(Tensor::create(DType::kF32, Shape{0})->view()));
  EXPECT_FALSE(empty->seen());
  ASSERT_TRUE(collector->observe(Tensor::of<float>(Shape{2}, {3.0f, 5.0f}).view()));
  ASSERT_TRUE(collector->merge(*empty));
  EXPECT_EQ(collector->range(), (Range{3, 5})) << "an empty range is not {0, 0}";
}

TEST(Collector, FindsNaNAndInfinityAnywhere) {
  for (const int64_t at : {0, 15, 16, 99, 100}) {
    for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
      Tensor data = noise(101);
      data.data<float>()[static_cast<size_t>(at)] = bad;
      const auto collector = *make_collector("minmax");
      const auto status = collector->observe(data.view());
      ASSERT_FALSE(status) << bad << " at " << at;
      EXPECT_EQ(status.error().code, ErrorCode::kInvalidData);
      EXPECT_EQ(status.error().message, std::isnan(bad) ? "NaN" : "infinite");
      EXPECT_FALSE(collector->seen());
    }
  }
}

TEST(Collector, UnknownAlgorithmsAreErrors) { EXPECT_FALSE(make_collector("kl")); }

}  // namespace
}  // namespace octavo
