// Collectors and the choice of ranges from what they have seen.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "core/calibration/range.h"
#include "core/config/static_quant_config.h"

namespace octavo {
namespace {

// About normal, of deviation 0.5, the same on every machine.
Tensor noise(int64_t count, unsigned seed = 7) {
  std::mt19937 generator(seed);
  Tensor tensor = *Tensor::create(DType::kF32, Shape{count});
  for (float& x : tensor.data<float>()) {
    x = -3;
    for (int i = 0; i < 12; ++i) x += static_cast<float>(generator() >> 8) * 0x1p-25f;
  }
  return tensor;
}

Collector collector_of(std::span<const Tensor> samples, const CollectorOptions& options = {},
                       int64_t first = 0) {
  Collector collector(options);
  for (const Tensor& sample : samples) {
    EXPECT_TRUE(collector.observe(sample.view()));
    EXPECT_TRUE(collector.commit(first++));
  }
  return collector;
}

Range choose(const Collector& collector, const RangeOptions& options) {
  const auto range = choose_range(collector, options);
  EXPECT_TRUE(range) << range.error().to_string();
  return range.value_or(Range{});
}

std::span<const char* const> algorithms() {
  return find_option(StaticQuantConfig::fields(), "act_algorithm")->choices;
}

void expect_same(const Collector& a, const Collector& b) {
  EXPECT_EQ(a.range(), b.range());
  EXPECT_TRUE(std::ranges::equal(a.channel_ranges(), b.channel_ranges()));
  EXPECT_TRUE(std::ranges::equal(a.samples(), b.samples()));
  EXPECT_EQ(a.histogram().exponent(), b.histogram().exponent());
  EXPECT_EQ(a.histogram().used(), b.histogram().used());
  for (int bin = -Histogram::kSide; bin < Histogram::kSide; ++bin) {
    ASSERT_EQ(a.histogram().count(bin), b.histogram().count(bin)) << bin;
  }
  for (const char* algorithm : algorithms()) {
    for (const Grid grid : {Grid::kAsymmetric, Grid::kSymmetric}) {
      const RangeOptions options{.algorithm = algorithm, .grid = grid};
      EXPECT_EQ(choose(a, options), choose(b, options)) << algorithm;
    }
  }
}

TEST(Collector, SamplesDividedInAnyWayMergeToTheWhole) {
  std::vector<Tensor> samples;
  for (unsigned i = 0; i < 12; ++i) {
    Tensor sample = noise(400 + 37 * i, i);  // ragged
    // The histogram widens several times, in the middle.
    const float factor = i == 5 ? 9.0f : i == 7 ? 1e-3f : 1.0f;
    for (float& x : sample.data<float>()) x *= factor;
    samples.push_back(std::move(sample));
  }
  const std::span all(samples);
  const Collector whole = collector_of(all);
  EXPECT_EQ(whole.histogram().total(), 400 * 12 + 37 * 66);

  for (const std::vector<size_t>& cuts :
       {std::vector<size_t>{0, 1, 2, 7, 12}, std::vector<size_t>{0, 6, 12}}) {
    std::vector<Collector> parts;
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      parts.push_back(collector_of(all.subspan(cuts[i], cuts[i + 1] - cuts[i]), {},
                                   static_cast<int64_t>(cuts[i])));
    }
    Collector forward, backward;
    for (const Collector& part : parts) ASSERT_TRUE(forward.merge(part));
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      ASSERT_TRUE(backward.merge(*part));
    }
    expect_same(forward, whole);
    expect_same(backward, whole);
  }
}

TEST(Collector, HistogramCountsEachValueInItsBin) {
  const Tensor data = noise(5000);
  const Collector collector = collector_of(std::span(&data, 1));
  const Histogram& histogram = collector.histogram();
  std::vector<int64_t> counts(Histogram::kBins, 0);
  for (const float x : data.data<const float>()) {
    ++counts[static_cast<size_t>(std::floor(x / histogram.width()) + Histogram::kSide)];
  }
  for (int bin = -Histogram::kSide; bin < Histogram::kSide; ++bin) {
    ASSERT_EQ(histogram.count(bin), counts[static_cast<size_t>(bin + Histogram::kSide)]) << bin;
  }
  const auto [first, last] = histogram.used();
  EXPECT_GE(std::max(last + 1, -first), Histogram::kSide / 2) << "the bins are fine";
}

TEST(Collector, MemoryDoesNotGrowWithTheSamples) {
  Collector collector;
  for (int64_t i = 0; i < 3 * static_cast<int64_t>(Collector::kSamples); ++i) {
    ASSERT_TRUE(collector.observe(Tensor::scalar(static_cast<float>(i)).view()));
    ASSERT_TRUE(collector.commit(i));
  }
  EXPECT_EQ(collector.samples().size(), Collector::kSamples);
  EXPECT_EQ(collector.samples().back().sample, 3 * static_cast<int64_t>(Collector::kSamples) - 1);
}

TEST(Collector, OfALargeTensorAScatteredPartIsCounted) {
  const Tensor data = noise(1'000'000);
  const Collector collector = collector_of(std::span(&data, 1));
  const auto total = static_cast<double>(collector.histogram().total());
  EXPECT_NEAR(total, 1e6 / 64, 1e6 / 256) << "of 1,000,000 elements every 64th block";
  EXPECT_EQ(collector.range(), *finite_range(data.data<const float>())) << "extremes are of all";
  const Range range = choose(collector, {.algorithm = "percentile", .percentile = 90});
  std::vector<float> sorted(data.data<const float>().begin(), data.data<const float>().end());
  std::ranges::sort(sorted);
  EXPECT_NEAR(range.min, sorted[50'000], 0.01);
  EXPECT_NEAR(range.max, sorted[950'000], 0.01);
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
    Collector collector({.per_channel = true});
    ASSERT_TRUE(collector.observe(view));
    ASSERT_TRUE(collector.commit(0));
    ASSERT_EQ(collector.channel_ranges().size(), 3u);
    EXPECT_EQ(collector.channel_ranges()[1], (Range{10, 113}));
    EXPECT_EQ(collector.channel_ranges()[2], (Range{20, 123}));
    EXPECT_EQ(collector.range(), (Range{0, 123}));
    EXPECT_FALSE(collector.merge(Collector())) << "of other options";
  }
}

TEST(Collector, AnEmptyOneChangesNothing) {
  const Tensor values = Tensor::of<float>(Shape{2}, {3.0f, 5.0f});
  Collector collector = collector_of(std::span(&values, 1)), empty;
  ASSERT_TRUE(empty.observe(Tensor::create(DType::kF32, Shape{0})->view()));
  ASSERT_TRUE(empty.commit(0));
  EXPECT_FALSE(empty.seen());
  ASSERT_TRUE(collector.merge(empty));
  EXPECT_EQ(collector.range(), (Range{3, 5})) << "an empty range is not {0, 0}";
}

TEST(Collector, FindsNaNAndInfinityAnywhere) {
  const Tensor good = noise(100, 3);
  for (const bool per_channel : {false, true}) {
    const Shape shape = per_channel ? Shape{1, 101} : Shape{101};
    for (const int64_t at : {0, 15, 16, 99, 100}) {
      for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
        Tensor data = noise(101).reshaped(shape);
        data.data<float>()[static_cast<size_t>(at)] = bad;
        Collector collector({.per_channel = per_channel});
        const auto status = collector.observe(data.view());
        ASSERT_FALSE(status) << bad << " at " << at;
        EXPECT_EQ(status.error().code, ErrorCode::kInvalidData);
        EXPECT_EQ(status.error().message, std::isnan(bad) ? "NaN" : "infinite");
      }
    }
  }
}

TEST(Collector, ADiscardedSampleCountsForNothing) {
  const Tensor first = noise(300, 1), bad = noise(300, 2), second = noise(300, 3);
  Collector collector;
  for (const Tensor* sample : {&first, &bad, &second}) {
    ASSERT_TRUE(collector.observe(sample->view()));
    if (sample == &bad) {
      collector.discard();
    } else {
      ASSERT_TRUE(collector.commit(sample == &first ? 0 : 1));
    }
  }
  const Tensor both[] = {first, second};
  expect_same(collector, collector_of(both));
}

// Samples with extremes 1, 2, 3, 4 and -10, -20, -30, -40.
Collector four_samples(double outlier_prob = 0.0001) {
  std::vector<Tensor> samples;
  for (int i = 1; i <= 4; ++i) {
    samples.push_back(
        Tensor::of<float>(Shape{3}, {static_cast<float>(i), 0.5f, -10.0f * static_cast<float>(i)}));
  }
  return collector_of(samples, {.outlier_prob = outlier_prob});
}

TEST(ChooseRange, StatisticsOfSamples) {
  const Collector collector = four_samples();
  EXPECT_EQ(choose(collector, {.algorithm = "minmax"}), (Range{-40, 4}));
  EXPECT_EQ(choose(collector, {.algorithm = "mean_minmax"}), (Range{-25, 2.5f}));
  EXPECT_EQ(choose(collector, {.algorithm = "median_minmax"}), (Range{-25, 2.5f}));
  // 1, 1.5, 2.25, 3.125
  EXPECT_EQ(choose(collector, {.algorithm = "moving_average", .averaging_constant = 0.5}),
            (Range{-31.25f, 3.125f}));
  EXPECT_EQ(choose(collector, {.algorithm = "moving_average", .averaging_constant = 0}),
            (Range{-10, 1}));
  // Between the quantiles 0.25 and 0.75 lie 2 and 3 alone.
  EXPECT_EQ(choose(four_samples(0.25), {.algorithm = "mean_no_outliers"}), (Range{-25, 2.5f}));
  EXPECT_EQ(choose(four_samples(0.4), {.algorithm = "mean_no_outliers"}), (Range{-25, 2.5f}));
}

TEST(ChooseRange, MeanNoOutliersForgetsAnOutlyingSample) {
  std::vector<Tensor> samples;
  for (int i = 0; i < 20; ++i) {
    samples.push_back(Tensor::of<float>(Shape{2}, {i == 13 ? 1000.0f : 2.0f, -1.0f}));
  }
  const Collector collector = collector_of(samples, {.outlier_prob = 0.1});
  EXPECT_EQ(choose(collector, {.algorithm = "mean_no_outliers"}), (Range{-1, 2}));
  EXPECT_FLOAT_EQ(choose(collector, {.algorithm = "mean_minmax"}).max, 51.9f);
}

TEST(ChooseRange, MeanQuantileCutsTheTailsOfEachSample) {
  std::vector<Tensor> samples;
  for (unsigned i = 0; i < 5; ++i) {
    Tensor sample = noise(10'000, i);
    sample.data<float>()[77] = 100;  // one in 10,000
    samples.push_back(std::move(sample));
  }
  const Collector collector = collector_of(samples, {.outlier_prob = 0.01});
  const Range range = choose(collector, {.algorithm = "mean_quantile"});
  EXPECT_NEAR(range.max, 0.5 * 2.326, 0.08);  // of the normal distribution
  EXPECT_NEAR(range.min, -0.5 * 2.326, 0.08);
}

TEST(ChooseRange, PercentileHasTwoSides) {
  // 0 .. 4999 and, on the other side, 0 .. -0.5: a histogram of |x| would forget the short side.
  Tensor data = *Tensor::create(DType::kF32, Shape{10'000});
  for (int i = 0; i < 5'000; ++i) {
    data.data<float>()[static_cast<size_t>(i)] = static_cast<float>(i);
    data.data<float>()[static_cast<size_t>(5'000 + i)] = -static_cast<float>(i) / 10'000;
  }
  const Collector collector = collector_of(std::span(&data, 1));
  const Range range = choose(collector, {.algorithm = "percentile", .percentile = 99});
  EXPECT_NEAR(range.max, 4'950, 5) << "of all 10,000 values 50 are above";
  EXPECT_LE(range.min, 0);
  EXPECT_GE(range.min, -0.5f);
  EXPECT_EQ(choose(collector, {.algorithm = "percentile", .percentile = 100}),
            (Range{-0.4999f, 4999}));
}

TEST(ChooseRange, KlCutsOutliers) {
  Tensor data = noise(60'000);
  data.data<float>()[5] = 80;
  const Collector collector = collector_of(std::span(&data, 1));
  for (const Grid grid : {Grid::kSymmetric, Grid::kAsymmetric}) {
    const Range range = choose(collector, {.algorithm = "kl", .grid = grid});
    EXPECT_LT(range.max, 10);
    EXPECT_GT(range.max, 1);
    EXPECT_EQ(range.min, collector.range().min);
  }
}

TEST(ChooseRange, FinerTypesThanTheHistogramKeepTheExtremes) {
  const Tensor data = noise(1000);
  const Collector collector = collector_of(std::span(&data, 1));
  for (const char* algorithm : {"kl", "mse"}) {
    EXPECT_EQ(choose(collector, {.algorithm = algorithm, .levels = 65536}), collector.range());
  }
}

// What the histogram's range costs, computed from the values themselves.
double squared_error(std::span<const float> values, const Range& range, int levels) {
  const double scale = std::max(-range.min, range.max) / (levels / 2.0 - 1);
  double sum = 0;
  for (const float x : values) {
    const double q = std::clamp<double>(std::nearbyint(x / scale), -levels / 2, levels / 2 - 1);
    sum += (x - q * scale) * (x - q * scale);
  }
  return sum;
}

TEST(ChooseRange, MseFindsTheLeastError) {
  const Tensor data = noise(20'000, 9);
  const auto values = data.data<const float>();
  const Collector collector = collector_of(std::span(&data, 1));
  for (const int levels : {16, 256}) {
    const Range chosen =
        choose(collector, {.algorithm = "mse", .levels = levels, .grid = Grid::kSymmetric});
    double least = INFINITY;
    for (int i = 1; i <= 400; ++i) {
      const float t = collector.range().max * static_cast<float>(i) / 400;
      least = std::min(least, squared_error(values, {-t, t}, levels));
    }
    EXPECT_LT(squared_error(values, chosen, levels), 1.03 * least) << levels;
  }
}

// The divergence of P and Q as TensorRT builds them, for a threshold of n bins of |x|.
double naive_divergence(const std::vector<double>& bins, size_t n, size_t groups) {
  std::vector<double> p(bins.begin(), bins.begin() + static_cast<int64_t>(n)), q(n, 0);
  for (size_t i = n; i < bins.size(); ++i) p[n - 1] += bins[i];
  for (size_t j = 0; j < groups; ++j) {
    double sum = 0, used = 0;
    for (size_t i = j * n / groups; i < (j + 1) * n / groups; ++i) {
      sum += bins[i];
      used += bins[i] > 0;
    }
    for (size_t i = j * n / groups; i < (j + 1) * n / groups; ++i) {
      if (bins[i] > 0) q[i] = sum / used;
    }
  }
  double p_sum = 0, q_sum = 0, divergence = 0;
  for (size_t i = 0; i < n; ++i) {
    p_sum += p[i];
    q_sum += q[i];
  }
  for (size_t i = 0; i < n; ++i) {
    if (p[i] == 0) continue;
    divergence += p[i] / p_sum * std::log(p[i] / p_sum / (std::max(q[i], 1e-4) / q_sum));
  }
  return divergence;
}

TEST(ChooseRange, KlAgreesWithItsDefinition) {
  for (unsigned seed = 0; seed < 3; ++seed) {
    Tensor data = noise(50'000, seed);
    for (float& x : data.data<float>()) x = x * x * x;  // long tails
    const Collector collector = collector_of(std::span(&data, 1));
    const Histogram& histogram = collector.histogram();
    std::vector<double> bins(Histogram::kSide);
    for (int bin = 0; bin < Histogram::kSide; ++bin) {
      bins[static_cast<size_t>(bin)] =
          static_cast<double>(histogram.count(bin) + histogram.count(-1 - bin));
    }
    bins[0] = std::min(bins[0], bins[1]);
    while (bins.back() == 0) bins.pop_back();
    for (const size_t levels : {64, 128}) {
      double least = INFINITY;
      for (size_t n = levels; n <= bins.size(); n += 3) {
        least = std::min(least, naive_divergence(bins, n, levels));
      }
      const double threshold = kl_threshold(histogram, static_cast<int>(levels));
      const auto n = static_cast<size_t>(std::lround(threshold / histogram.width()));
      EXPECT_LT(n, bins.size()) << "something is cut";
      EXPECT_LT(naive_divergence(bins, n, levels), 1.1 * least) << "candidates are some bins apart";
    }
  }
}

TEST(ChooseRange, KlLevelsMatter) {
  Tensor data = noise(50'000);
  for (float& x : data.data<float>()) x = x * x * x;
  const Collector collector = collector_of(std::span(&data, 1));
  EXPECT_LT(choose(collector, {.algorithm = "kl", .kl_levels = 16}).max,
            choose(collector, {.algorithm = "kl", .kl_levels = 256}).max);
}

TEST(ChooseRange, DegenerateValues) {
  const Tensor cases[] = {
      Tensor::of<float>(Shape{3}, {0.0f, 0.0f, -0.0f}), Tensor::of<float>(Shape{2}, {5.0f, 5.0f}),
      Tensor::of<float>(Shape{2}, {-5.0f, -5.0f}), Tensor::of<float>(Shape{2}, {1e-40f, -1e-40f}),
      Tensor::of<float>(Shape{3}, {3.4e38f, -3.4e38f, 1.0f})};
  for (const Tensor& data : cases) {
    const Collector collector = collector_of(std::span(&data, 1));
    for (const char* algorithm : algorithms()) {
      for (const Grid grid : {Grid::kAsymmetric, Grid::kSymmetric, Grid::kSigned}) {
        const Range range = choose(collector, {.algorithm = algorithm, .grid = grid});
        EXPECT_GE(range.min, collector.range().min) << algorithm;
        EXPECT_LE(range.max, collector.range().max) << algorithm;
        EXPECT_LE(range.min, range.max) << algorithm;
      }
    }
  }
}

TEST(ChooseRange, WhatCannotBeChosenIsAnError) {
  const Tensor data = noise(10);
  const Collector collector = collector_of(std::span(&data, 1), {.histogram = false});
  EXPECT_FALSE(choose_range(collector, {.algorithm = "kl"})) << "no histogram was kept";
  EXPECT_FALSE(choose_range(collector, {.algorithm = "entropi"}));
  EXPECT_TRUE(choose_range(collector, {.algorithm = "moving_average"}));
}

}  // namespace
}  // namespace octavo
