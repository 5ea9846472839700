// The entropy calibration of TensorRT and MXNet, with the histogram's bins as they are and a
// fractional Q. For a threshold of n bins:
//
//   P    bins 0 .. n-1 of |x|; what lies beyond is added to the last
//   Q    the same bins without what lies beyond, merged into `levels` groups; each group's count is
//        spread evenly over its bins that are not empty
//   D    = sum P/|P| log((P/|P|) / (Q/|Q|))
//
// As Q is constant on a group, D follows from sums over groups: of P, of P log P and of the number
// of bins, which prefix sums give. A threshold then costs O(levels).
#include <algorithm>
#include <bit>
#include <cmath>

#include "core/calibration/range.h"

namespace octavo {
namespace {

// Thresholds that are compared first; then those around the best, in finer steps.
constexpr size_t kCandidates = 128;
constexpr size_t kFiner = 8;
// Counts standing for an empty bin where P is not (MXNet's smoothing).
constexpr double kEpsilon = 1e-4;

// The natural logarithm of a positive normal number to about 1e-9, the same on every machine:
// log(m 2^e) = e log 2 + 2 artanh((m - 1) / (m + 1)), with m in [1/sqrt(2), sqrt(2)).
double log_of(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double t = (m - 1) / (m + 1), t2 = t * t;
  const double series = 1 + t2 * (1.0 / 3 + t2 * (1.0 / 5 + t2 * (1.0 / 7 + t2 * (1.0 / 9))));
  return exponent * 0.6931471805599453 + 2 * t * series;
}

struct Sums {
  double count = 0, count_log = 0, bins = 0;  // of bins that are not empty
};

}  // namespace

double kl_threshold(const Histogram& histogram, int levels) {
  constexpr int kSide = Histogram::kSide;
  std::vector<double> p(kSide);
  for (int bin = 0; bin < kSide; ++bin) {
    p[static_cast<size_t>(bin)] =
        static_cast<double>(histogram.count(bin) + histogram.count(-1 - bin));
  }
  // The first bin holds the zeros behind a Relu, which no quantization changes.
  p[0] = std::min(p[0], p[1]);
  size_t used = p.size();
  while (used > 1 && p[used - 1] == 0) --used;
  const auto group_count = static_cast<size_t>(std::max(levels, 2));
  if (used <= group_count) return static_cast<double>(used) * histogram.width();

  std::vector<Sums> before(used + 1);  // of bins 0 .. n-1
  for (size_t n = 0; n < used; ++n) {
    before[n + 1] = before[n];
    if (p[n] == 0) continue;
    before[n + 1].count += p[n];
    before[n + 1].count_log += p[n] * log_of(p[n]);
    before[n + 1].bins += 1;
  }
  const double total = before[used].count;
  if (total == 0) return static_cast<double>(used) * histogram.width();

  const auto divergence = [&](size_t n) {
    const double inside = before[n].count, outside = total - inside;
    if (inside == 0) return std::numeric_limits<double>::infinity();
    double sum = before[n].count_log;  // of P log P - P log Q
    for (size_t j = 0; j < group_count; ++j) {
      const Sums &from = before[j * n / group_count], &to = before[(j + 1) * n / group_count];
      const double count = to.count - from.count;
      if (count > 0) sum -= count * log_of(count / (to.bins - from.bins));
    }
    if (outside > 0) {
      // The last bin of P is larger than it was in the sum; its Q is its group's.
      const double last = p[n - 1], clipped = last + outside;
      const Sums& from = before[(group_count - 1) * n / group_count];
      const double group = before[n].count - from.count, bins = before[n].bins - from.bins;
      const double q = last > 0 ? group / bins : kEpsilon;
      sum += clipped * log_of(clipped) - (last > 0 ? last * log_of(last) : 0);
      sum -= outside * log_of(q);
    }
    // log(|Q| / |P|): the normalization of both.
    return sum / total + log_of(inside / total);
  };

  size_t best = used;
  double least = divergence(used);
  const auto attempt = [&](size_t n) {
    const double d = divergence(n);
    if (d >= least) return;
    least = d;
    best = n;
  };
  const size_t step = (used - group_count + kCandidates - 1) / kCandidates;
  for (size_t n = group_count; n < used; n += step) attempt(n);
  const size_t fine = std::max<size_t>(1, step / kFiner), around = best;
  for (size_t n = around - std::min(step, around - group_count); n < std::min(around + step, used);
       n += fine) {
    attempt(n);
  }
  return static_cast<double>(best) * histogram.width();
}

}  // namespace octavo
