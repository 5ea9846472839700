#include "core/calibration/range.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace octavo {
namespace {

// kl and mse look at bins, of which there are too few for finer types.
constexpr int kMaxLevels = 256;

// One end of the samples' ranges, in the samples' order.
std::vector<double> ends(std::span<const SampleRange> samples, Range SampleRange::* which,
                         float Range::* end) {
  std::vector<double> values;
  values.reserve(samples.size());
  for (const SampleRange& sample : samples) values.push_back(sample.*which.*end);
  return values;
}

double mean(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double moving_average(std::span<const double> values, double constant) {
  double average = values.front();
  for (const double value : values.subspan(1)) average += constant * (value - average);
  return average;
}

// Between neighbours by linear interpolation. `values` are sorted.
double sorted_quantile(std::span<const double> values, double share) {
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return sorted_quantile(values, 0.5);
}

double mean_no_outliers(std::span<const double> values, double outlier_prob) {
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  const double low = sorted_quantile(sorted, outlier_prob);
  const double high = sorted_quantile(sorted, 1 - outlier_prob);
  std::vector<double> kept;
  for (const double value : values) {
    if (value >= low && value <= high) kept.push_back(value);
  }
  return kept.empty() ? median(sorted) : mean(kept);
}

Range within(const Range& extremes, double low, double high) {
  const auto clamped = [&](double x) {
    return std::clamp(static_cast<float>(x), extremes.min, extremes.max);
  };
  return {clamped(low), clamped(high)};
}

}  // namespace

bool needs_histogram(std::string_view algorithm) {
  constexpr std::array<std::string_view, 4> kNeeding = {"percentile", "kl", "mse", "mean_quantile"};
  return std::ranges::find(kNeeding, algorithm) != kNeeding.end();
}

Result<Range> choose_range(const Collector& collector, const RangeOptions& options) {
  const Range extremes = collector.range();
  const std::string_view algorithm = options.algorithm;
  if (!collector.seen() || algorithm == "minmax") return extremes;
  if (needs_histogram(algorithm) && !collector.options().histogram) {
    return fail(ErrorCode::kInvalidArgument, "the calibration kept no histograms, which ",
                algorithm, " needs; calibrate again");
  }
  const auto of_samples = [&](Range SampleRange::* which, const auto& statistic) {
    const auto samples = collector.samples();
    return within(extremes, statistic(ends(samples, which, &Range::min)),
                  statistic(ends(samples, which, &Range::max)));
  };
  const double outlier_prob = collector.options().outlier_prob;
  if (algorithm == "moving_average") {
    return of_samples(&SampleRange::range, [&](const auto& values) {
      return moving_average(values, options.averaging_constant);
    });
  }
  if (algorithm == "mean_minmax") return of_samples(&SampleRange::range, mean);
  if (algorithm == "median_minmax") return of_samples(&SampleRange::range, median);
  if (algorithm == "mean_no_outliers") {
    return of_samples(&SampleRange::range,
                      [&](const auto& values) { return mean_no_outliers(values, outlier_prob); });
  }
  if (algorithm == "mean_quantile") return of_samples(&SampleRange::without_tails, mean);
  const Histogram& histogram = collector.histogram();
  if (algorithm == "percentile") {
    const double tail = (100 - options.percentile) / 200;
    if (tail <= 0) return extremes;  // of which the histogram may not have counted all
    return within(extremes, histogram.quantile(tail), histogram.quantile(1 - tail));
  }
  if (algorithm == "kl") {
    if (options.levels > kMaxLevels) return extremes;
    const bool is_signed = options.grid == Grid::kSigned || (extremes.min < 0 && extremes.max > 0);
    int levels = options.kl_levels;
    if (levels == 0) levels = is_signed ? options.levels / 2 : options.levels;
    const double threshold = kl_threshold(histogram, levels);
    return within(extremes, -threshold, threshold);
  }
  if (algorithm == "mse") {
    if (options.levels > kMaxLevels) return extremes;
    return mse_range(histogram, extremes, options.levels, options.grid);
  }
  return fail(ErrorCode::kInvalidArgument, "there is no calibration algorithm '", algorithm, "'");
}

}  // namespace octavo
