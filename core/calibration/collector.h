// Collectors summarise the values that a tensor takes over the calibration data. They are mergeable
// and partition-invariant: observing chunks in any order, on any collector, and merging gives the
// same result as observing the whole.
#pragma once

#include <memory>
#include <string_view>

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

class Collector {
 public:
  virtual ~Collector() = default;
  /// Adds the elements of an f32 tensor of any layout. Error kInvalidData if one is NaN or
  /// infinite; the collector is unchanged then.
  virtual Status observe(const TensorView& tensor) = 0;
  /// Adds what `other`, a collector of the same algorithm, has seen.
  virtual Status merge(const Collector& other) = 0;
  /// False if no element was seen.
  virtual bool seen() const = 0;
  /// The range to quantize; {0, 0} if nothing was seen.
  virtual Range range() const = 0;
  /// The range of each channel (axis 1), if the collector was made to keep them; else empty.
  virtual std::span<const Range> channel_ranges() const = 0;
};

/// `algorithm`: an act_algorithm of StaticQuantConfig.
Result<std::unique_ptr<Collector>> make_collector(std::string_view algorithm,
                                                  bool per_channel = false);

/// Smallest and largest element. Error kInvalidData if one is NaN or infinite. {0, 0} if empty.
Result<Range> finite_range(std::span<const float> values);

}  // namespace octavo
