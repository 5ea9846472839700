// Chooses the range to quantize from what a collector has seen.
//
//   minmax              smallest and largest value
//   moving_average      of samples' extremes: v += averaging_constant * (x - v), in the samples'
//                       order, from the first on (PyTorch's MovingAverageMinMaxObserver, ONNX
//                       Runtime's CalibMovingAverage)
//   mean_minmax         mean of samples' extremes (NNCF)
//   median_minmax       median of them (NNCF)
//   mean_no_outliers    mean of those that lie within their own outlier_prob quantiles (NNCF)
//   mean_quantile       mean over samples of the quantiles outlier_prob and 1 - outlier_prob of
//                       their values (NNCF)
//   percentile          (100 - percentile) / 2 percent of all values lie below, and as many above
//   kl                  the threshold whose clipped histogram P and its quantized form Q have the
//                       least Kullback-Leibler divergence (TensorRT, MXNet): histograms of |x| of
//                       at least 2,048 bins, as many levels as the type has for them, Q in floating
//                       point
//   mse                 the range with the least mean squared error of quantized values
//
// "samples": the last Collector::kSamples. Every result lies within the extremes and is the same on
// every machine: only +, -, *, / and comparisons of doubles, in a fixed order.
#pragma once

#include "core/calibration/collector.h"

namespace octavo {

/// Which integers the range will have.
enum class Grid : uint8_t {
  kAsymmetric,  // low to high
  kSymmetric,   // -t to t; 0 to t if there are no negative values
  kSigned,      // -t to t
};

struct RangeOptions {
  std::string algorithm = "minmax";
  double percentile = 99.999;
  double averaging_constant = 0.01;
  int levels = 256;  // of the integer type
  Grid grid = Grid::kAsymmetric;
  int kl_levels = 0;  // for kl; 0: `levels`, half of them if there are negative values
};

/// Error kInvalidArgument if there is no such algorithm or the collector lacks what it needs.
Result<Range> choose_range(const Collector& collector, const RangeOptions& options);

/// Whether the algorithm needs CollectorOptions::histogram.
bool needs_histogram(std::string_view algorithm);

/// The divergence-minimizing threshold of |x|. Not empty.
double kl_threshold(const Histogram& histogram, int levels);
/// The range within `extremes` of the least squared error. Not empty.
Range mse_range(const Histogram& histogram, const Range& extremes, int levels, Grid grid);

}  // namespace octavo
