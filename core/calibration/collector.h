// Collectors summarise the values that a tensor takes over the calibration data, in memory that
// does not grow with the data: extremes, a histogram, and the ranges of the last samples. One pass
// serves every algorithm that chooses a range (core/calibration/range.h). They are mergeable and
// partition-invariant: observing parts of the samples on several collectors, in any order, and
// merging gives the same result, bit for bit, as observing the whole.
#pragma once

#include <string>
#include <vector>

#include "core/calibration/histogram.h"
#include "runtime/tensor.h"

namespace octavo {

/// The real numbers that a tensor was seen to take.
struct Range {
  float min = 0, max = 0;
  bool operator==(const Range&) const = default;
};
inline Range range_union(const Range& a, const Range& b) {
  return {std::min(a.min, b.min), std::max(a.max, b.max)};
}

/// What one sample's values were.
struct SampleRange {
  int64_t sample = 0;   // its number
  Range range;          // smallest and largest
  Range without_tails;  // outlier_prob of its values lie below, and as many above
  bool operator==(const SampleRange&) const = default;
};

struct CollectorOptions {
  bool histogram = true;         // else only extremes
  bool per_channel = false;      // the extremes of each index of axis 1 too
  double outlier_prob = 0.0001;  // of SampleRange::without_tails
  bool operator==(const CollectorOptions&) const = default;
  /// What a collector of these options knows is all that one of `wanted` would.
  bool serve(const CollectorOptions& wanted) const {
    return histogram >= wanted.histogram && per_channel >= wanted.per_channel &&
           outlier_prob == wanted.outlier_prob;
  }
};

class Collector {
 public:
  /// Ranges of single samples are kept of the last so many.
  static constexpr size_t kSamples = 4096;
  /// Of a larger tensor about so many elements, scattered over it, are counted in the histogram; in
  /// other places for other values.
  /// Extremes are of all elements.
  static constexpr size_t kCounted = 1 << 14;

  explicit Collector(const CollectorOptions& options = {}) : options_(options) {}

  /// Adds the elements of an f32 tensor of any layout to the sample that commit() ends.
  /// Error kInvalidData if one is NaN or infinite: discard() the sample then.
  Status observe(const TensorView& tensor);
  /// What was observed since the last call counts, as sample number `sample`.
  Status commit(int64_t sample);
  /// What was observed since the last commit() counts for nothing.
  void discard();
  /// Adds what `other`, of the same options, has seen. The same number of a sample on both sides
  /// means parts of one sample.
  Status merge(const Collector& other);

  const CollectorOptions& options() const { return options_; }
  /// False if no element was seen.
  bool seen() const { return seen_; }
  /// Smallest and largest; {0, 0} if nothing was seen.
  Range range() const { return range_; }
  /// The range of each channel (axis 1); empty without per_channel.
  std::span<const Range> channel_ranges() const { return channels_; }
  const Histogram& histogram() const { return histogram_; }
  /// By number of the sample.
  std::span<const SampleRange> samples() const { return samples_; }

  void write(ByteWriter& out) const;
  /// Makes `in` bad if it holds no collector.
  static Collector read(ByteReader& in);

 private:
  // The sample that is being observed.
  struct Pending {
    bool seen = false;
    Range range;
    int64_t count = 0;
    int exponent = 0;
    std::vector<uint32_t> bins;    // Histogram::kBins, or empty
    std::vector<float> low, high;  // of each channel
  };
  Result<Range> observe_channels(const TensorView& tensor);
  void count(std::span<const float> values, const Range& extremes);
  Range pending_quantiles(std::pair<int, int> used) const;
  std::pair<int, int> pending_used() const;
  void add_sample(const SampleRange& sample);
  Status add_channels(std::span<const float> low, std::span<const float> high, bool first);

  CollectorOptions options_;
  bool seen_ = false;
  Range range_;
  std::vector<Range> channels_;
  Histogram histogram_;
  std::vector<SampleRange> samples_;
  Pending pending_;
};

/// Smallest and largest element. Error kInvalidData if one is NaN or infinite. {0, 0} if empty.
Result<Range> finite_range(std::span<const float> values);

}  // namespace octavo
