// How the values of one tensor are distributed in two models, counted while they stream by.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace octavo {

/// Counts of two sets of values in equal bins from `min` to `max`.
struct Distribution {
  double min = 0, max = 0;
  std::vector<int64_t> a, b;
};

/// Kullback-Leibler divergence of b from a in nats, over groups of four bins, each given half a
/// count more so that empty ones stay finite.
double kl_divergence(const Distribution& distribution);

/// Both histograms over [-limit, limit), limit a power of two that doubles (bins merge in pairs)
/// as larger values come: the result does not depend on the order of the values.
class PairHistogram {
 public:
  /// Values must be finite.
  void add_a(std::span<const float> values) { add(values, a_); }
  void add_b(std::span<const float> values) { add(values, b_); }
  /// `bins` equal bins over the values seen.
  Distribution distribution(int bins) const;

 private:
  void add(std::span<const float> values, std::vector<int64_t>& counts);
  void grow(float magnitude);

  float limit_ = 0;
  float min_ = 0, max_ = 0;
  bool seen_ = false;
  std::vector<int64_t> a_, b_;
};

}  // namespace octavo
