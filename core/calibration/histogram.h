// Histograms whose bins are [i w, (i + 1) w) for integers i and a width w that is a power of two.
// When values outgrow the bins, the width doubles and pairs of bins merge, exactly: the result
// depends on the values alone, not on their order or on how they were divided.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/byte_io.h"
#include "runtime/status.h"

namespace octavo {

class Histogram {
 public:
  /// Bins on each side of zero. The largest magnitude lies in the upper half of them.
  static constexpr int kSide = 4096;
  static constexpr int kBins = 2 * kSide;

  /// Width of a bin: 2^exponent().
  int exponent() const { return exponent_; }
  double width() const;
  bool empty() const { return counts_.empty(); }
  int64_t total() const { return total_; }
  /// Of bin i, in [-kSide, kSide).
  int64_t count(int bin) const { return counts_[static_cast<size_t>(bin + kSide)]; }
  /// The bins that hold anything: [first, last]. {0, -1} if none does.
  std::pair<int, int> used() const;

  /// The exponent for values of at most this magnitude (finite).
  static int exponent_for(float magnitude);

  /// Adds counts (kBins of them, `total` in sum) of bins of width 2^exponent, and leaves zeros;
  /// others than those of bins [used.first, used.second] are zero already.
  void take(std::span<uint32_t> counts, int64_t total, int exponent, std::pair<int, int> used);
  void add(const Histogram& other);

  /// The value below which `share` of the elements lie, interpolated within its bin. For 0 and 1
  /// the outer edges of the outermost bins. Not empty.
  double quantile(double share) const;

  void write(ByteWriter& out) const;
  /// Makes `in` bad if it holds no histogram.
  static Histogram read(ByteReader& in);

 private:
  void widen(int exponent);

  int exponent_ = kMinExponent;
  int64_t total_ = 0;
  std::vector<int64_t> counts_;  // kBins, or empty

  static constexpr int kMinExponent = -120;  // the width's inverse is a normal float
  static constexpr int kMaxExponent = 127;
};

}  // namespace octavo
