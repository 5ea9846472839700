// The range of the least squared error, from a histogram: each bin's count is taken to lie at its
// middle. Ranges are tried in steps of a factor, first shrinking both ends together, then each end
// by itself.
#include <algorithm>
#include <cmath>

#include "core/calibration/range.h"

namespace octavo {
namespace {

constexpr double kCoarse = 0.917004043204671232;  // 2^(-1/8)
constexpr double kFine = 0.978572062087700134;    // 2^(-1/32)
constexpr int kCoarseSteps = 48;                  // down to 1/64 of the extremes
constexpr int kRounds = 2;

class SquaredError {
 public:
  SquaredError(const Histogram& histogram, const Range& extremes, int levels, bool is_signed)
      : levels_(levels), is_signed_(is_signed) {
    const auto [first, last] = histogram.used();
    for (int bin = first; bin <= last; ++bin) {
      if (histogram.count(bin) == 0) continue;
      const double middle = (bin + 0.5) * histogram.width();
      middles_.push_back(std::clamp<double>(middle, extremes.min, extremes.max));
      counts_.push_back(static_cast<double>(histogram.count(bin)));
    }
    while (middles_.size() % kLanes != 0) {
      middles_.push_back(0);
      counts_.push_back(0);
    }
  }

  // Of values quantized to [low, high], which holds zero.
  double operator()(double low, double high) const {
    double scale, zero, first, last;
    if (is_signed_) {
      scale = std::max(-low, high) / (levels_ / 2 - 1);
      zero = 0;
      first = -levels_ / 2;
      last = levels_ / 2 - 1;
    } else {
      scale = (high - low) / (levels_ - 1);
      zero = round_half_even_double(-low / scale);
      first = 0;
      last = levels_ - 1;
    }
    const double inverse = 1 / scale;
    double sums[kLanes] = {};
    for (size_t i = 0; i < middles_.size(); i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const double x = middles_[i + lane];
        double q = round_half_even_double(x * inverse) + zero;
        q = q < first ? first : q;
        q = q > last ? last : q;
        const double error = x - (q - zero) * scale;
        sums[lane] += counts_[i + lane] * error * error;
      }
    }
    double sum = 0;
    for (const double lane : sums) sum += lane;
    return sum;
  }

 private:
  static constexpr size_t kLanes = 8;
  // Of at most 2^51; what std::nearbyint does, but not as a call.
  static double round_half_even_double(double x) {
    constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52
    return (x + kMagic) - kMagic;
  }

  int levels_;
  bool is_signed_;
  std::vector<double> middles_, counts_;
};

}  // namespace

Range mse_range(const Histogram& histogram, const Range& extremes, int levels, Grid grid) {
  const double lowest = std::min(extremes.min, 0.0f), highest = std::max(extremes.max, 0.0f);
  if (highest - lowest < std::numeric_limits<float>::min()) return extremes;
  const bool is_signed = grid == Grid::kSigned || (grid == Grid::kSymmetric && extremes.min < 0);
  const SquaredError error(histogram, extremes, levels, is_signed);
  double low = lowest, high = highest, least = error(low, high);
  const auto attempt = [&](double l, double h) {
    l = std::max(l, lowest);
    h = std::min(h, highest);
    const double e = error(l, h);
    if (e >= least) return;
    least = e;
    low = l;
    high = h;
  };
  double factor = 1;
  for (int i = 0; i < kCoarseSteps; ++i) {
    factor *= kCoarse;
    attempt(lowest * factor, highest * factor);
  }
  for (int round = 0; round < kRounds; ++round) {
    const double step = round == 0 ? kCoarse : kFine;
    const double l = low, h = high;
    double up = 1, down = 1;
    for (int i = 0; i < 8; ++i) {
      up /= step;
      down *= step;
      if (is_signed || lowest == 0 || highest == 0) {
        attempt(l * up, h * up);
        attempt(l * down, h * down);
        continue;
      }
      attempt(l * up, high);
      attempt(l * down, high);
      attempt(low, h * up);
      attempt(low, h * down);
    }
  }
  const auto clamped = [&](double x) {
    return std::clamp(static_cast<float>(x), extremes.min, extremes.max);
  };
  return {clamped(low), clamped(high)};
}

}  // namespace octavo
