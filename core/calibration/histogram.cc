#include "core/calibration/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "runtime/kernels/histogram.h"

namespace octavo {

double Histogram::width() const { return std::ldexp(1.0, exponent_); }

int Histogram::exponent_for(float magnitude) {
  constexpr int kLogSide = std::countr_zero(static_cast<unsigned>(kSide));
  // Smallest e with magnitude < kSide * 2^e; of -magnitude, floor(-magnitude / 2^e) >= -kSide.
  const auto biased = static_cast<int>(std::bit_cast<uint32_t>(std::fabs(magnitude)) >> 23);
  return std::max(biased - 127 + 1 - kLogSide, kMinExponent);
}

std::pair<int, int> Histogram::used() const {
  const auto is_used = [](int64_t count) { return count != 0; };
  const auto first = std::ranges::find_if(counts_, is_used);
  if (first == counts_.end()) return {0, -1};
  const auto last = std::find_if(counts_.rbegin(), counts_.rend(), is_used);
  return {static_cast<int>(first - counts_.begin()) - kSide,
          static_cast<int>(counts_.rend() - last) - 1 - kSide};
}

void Histogram::widen(int exponent) {
  if (exponent <= exponent_) return;
  if (total_ > 0) {
    const int shift = std::min(exponent - exponent_, 31);
    std::vector<int64_t> wider(kBins, 0);
    for (int bin = -kSide; bin < kSide; ++bin) {
      wider[static_cast<size_t>((bin >> shift) + kSide)] += count(bin);
    }
    counts_ = std::move(wider);
  }
  exponent_ = exponent;
}

void Histogram::take(std::span<uint32_t> counts, int64_t total, int exponent,
                     std::pair<int, int> used) {
  if (counts_.empty()) counts_.assign(kBins, 0);
  widen(exponent);
  const int shift = std::min(exponent_ - exponent, 31);
  int64_t* to = counts_.data() + kSide;
  uint32_t* from = counts.data() + kSide;
  const int first = used.first >> shift, last = used.second >> shift;  // of this histogram's bins
  if (shift <= 1) {
    kernels::move_counts(from + (first << shift), static_cast<size_t>(last + 1 - first), to + first,
                         shift);
  } else {
    for (int bin = used.first; bin <= used.second; ++bin) {
      to[bin >> shift] += std::exchange(from[bin], 0);
    }
  }
  total_ += total;
}

void Histogram::add(const Histogram& other) {
  if (other.empty()) return;
  if (counts_.empty()) counts_.assign(kBins, 0);
  widen(other.exponent_);
  const int shift = std::min(exponent_ - other.exponent_, 31);
  for (int bin = -kSide; bin < kSide; ++bin) {
    counts_[static_cast<size_t>((bin >> shift) + kSide)] += other.count(bin);
  }
  total_ += other.total_;
}

double Histogram::quantile(double share) const {
  const double wanted = share * static_cast<double>(total_);
  const auto [first, last] = used();
  int64_t below = 0;
  for (int bin = first; bin <= last; ++bin) {
    const int64_t here = count(bin);
    if (here > 0 && static_cast<double>(below + here) >= wanted) {
      const double part = (wanted - static_cast<double>(below)) / static_cast<double>(here);
      return (bin + std::clamp(part, 0.0, 1.0)) * width();
    }
    below += here;
  }
  return (last + 1) * width();
}

void Histogram::write(ByteWriter& out) const {
  const auto [first, last] = used();
  out.add_signed(exponent_);
  out.add(static_cast<uint64_t>(last - first + 1));
  out.add_signed(first);
  for (int bin = first; bin <= last; ++bin) out.add(static_cast<uint64_t>(count(bin)));
}

Histogram Histogram::read(ByteReader& in) {
  constexpr int64_t kMostCount = int64_t{1} << 40;  // of a bin
  Histogram made;
  const int64_t exponent = in.signed_number();
  const auto bins = static_cast<int64_t>(in.count());
  const int64_t first = in.signed_number();
  if (exponent < kMinExponent || exponent > kMaxExponent || first < -kSide || first > kSide ||
      first + bins > kSide) {
    in.set_bad();
    return made;
  }
  made.exponent_ = static_cast<int>(exponent);
  if (bins == 0) return made;
  made.counts_.assign(kBins, 0);
  for (int64_t bin = first; bin < first + bins; ++bin) {
    const auto count = static_cast<int64_t>(in.number());
    if (count < 0 || count > kMostCount) in.set_bad();
    made.counts_[static_cast<size_t>(bin + kSide)] = count;
    made.total_ += count;
  }
  return made;
}

}  // namespace octavo
