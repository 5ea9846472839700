#include "core/diagnosis/distribution.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace octavo {
namespace {

constexpr int kBins = 4096;  // of which a narrow one-sided range fills at least a quarter
// For divergences: bins narrower than the steps between integers would be empty in turns.
constexpr size_t kMergedBins = 4;
constexpr float kSmallestLimit = 0x1p-100f;

}  // namespace

double kl_divergence(const Distribution& distribution) {
  std::vector<double> a((distribution.a.size() + kMergedBins - 1) / kMergedBins, 0.5), b = a;
  for (size_t i = 0; i < distribution.a.size(); ++i) {
    a[i / kMergedBins] += static_cast<double>(distribution.a[i]);
    b[i / kMergedBins] += static_cast<double>(distribution.b[i]);
  }
  const double total_a = std::accumulate(a.begin(), a.end(), 0.0);
  const double total_b = std::accumulate(b.begin(), b.end(), 0.0);
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double p = a[i] / total_a, q = b[i] / total_b;
    sum += p * std::log(p / q);
  }
  return std::max(sum, 0.0);
}

void PairHistogram::grow(float magnitude) {
  if (a_.empty()) {
    a_.assign(kBins, 0);
    b_.assign(kBins, 0);
    limit_ = kSmallestLimit;
  }
  while (limit_ <= magnitude) {
    limit_ *= 2;
    for (std::vector<int64_t>* counts : {&a_, &b_}) {
      std::vector<int64_t> merged(kBins, 0);
      for (size_t i = 0; i < kBins; ++i) merged[kBins / 4 + i / 2] += (*counts)[i];
      *counts = std::move(merged);
    }
  }
}

void PairHistogram::add(std::span<const float> values, std::vector<int64_t>& counts) {
  if (values.empty()) return;
  const auto [low, high] = std::ranges::minmax(values);
  const float magnitude = std::max(std::fabs(low), std::fabs(high));
  if (!std::isfinite(magnitude) || magnitude >= 0x1p127f) return;
  grow(magnitude);
  min_ = seen_ ? std::min(min_, low) : low;
  max_ = seen_ ? std::max(max_, high) : high;
  seen_ = true;
  const float scale = static_cast<float>(kBins / 2) / limit_;
  for (const float x : values) {
    const int bin = static_cast<int>(std::floor(x * scale)) + kBins / 2;
    ++counts[static_cast<size_t>(std::clamp(bin, 0, kBins - 1))];
  }
}

Distribution PairHistogram::distribution(int bins) const {
  Distribution out{.min = min_, .max = max_};
  if (!seen_ || bins <= 0) return out;
  out.a.assign(static_cast<size_t>(bins), 0);
  out.b.assign(static_cast<size_t>(bins), 0);
  const double width = (out.max - out.min) / bins;
  for (int i = 0; i < kBins; ++i) {
    const double center = (i - kBins / 2 + 0.5) * (2.0 * limit_ / kBins);
    const int bin = width > 0 ? static_cast<int>(std::floor((center - out.min) / width)) : 0;
    const auto to = static_cast<size_t>(std::clamp(bin, 0, bins - 1));
    out.a[to] += a_[static_cast<size_t>(i)];
    out.b[to] += b_[static_cast<size_t>(i)];
  }
  return out;
}

}  // namespace octavo
