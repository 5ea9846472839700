#include "core/calibration/collector.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/kernels/histogram.h"

namespace octavo {

namespace {

Result<Range> check_finite(const kernels::Extent& extent) {
  constexpr uint32_t kInfinityBits = 0x7F800000;
  if (extent.magnitude_bits >= kInfinityBits) {
    return fail(ErrorCode::kInvalidData,
                extent.magnitude_bits == kInfinityBits ? "infinite" : "NaN");
  }
  return Range{extent.min, extent.max};
}

std::unexpected<Error> changed_channels(size_t before, size_t now) {
  return fail(ErrorCode::kShapeMismatch, "the number of channels changes from ", before, " to ",
              now);
}

}  // namespace

Result<Range> finite_range(std::span<const float> values) {
  if (values.empty()) return Range{};
  return check_finite(kernels::find_extent(values.data(), values.size()));
}

Status Collector::observe(const TensorView& tensor) {
  if (tensor.dtype != DType::kF32) {
    return fail(ErrorCode::kInternal, "a ", dtype_name(tensor.dtype), " tensor is not calibrated");
  }
  if (tensor.elements() == 0) return {};
  const auto values = tensor.span<const float>();
  OCTAVO_ASSIGN(const Range extremes,
                options_.per_channel ? observe_channels(tensor) : finite_range(values));
  if (options_.histogram) count(values, extremes);
  pending_.range = pending_.seen ? range_union(pending_.range, extremes) : extremes;
  pending_.seen = true;
  return {};
}

void Collector::count(std::span<const float> values, const Range& extremes) {
  const float magnitude = std::max(std::fabs(extremes.min), std::fabs(extremes.max));
  const int exponent = Histogram::exponent_for(magnitude);
  std::vector<uint32_t>& bins = pending_.bins;
  if (bins.empty()) bins.assign(Histogram::kBins, 0);
  if (!pending_.seen) {
    pending_.exponent = exponent;
  } else if (exponent > pending_.exponent) {
    // A second tensor of the same sample, with larger values.
    const int shift = std::min(exponent - pending_.exponent, 31);
    std::vector<uint32_t> wider(Histogram::kBins, 0);
    for (int bin = -Histogram::kSide; bin < Histogram::kSide; ++bin) {
      wider[static_cast<size_t>((bin >> shift) + Histogram::kSide)] +=
          bins[static_cast<size_t>(bin + Histogram::kSide)];
    }
    bins = std::move(wider);
    pending_.exponent = exponent;
  }
  const auto inverse_width = std::ldexp(1.0f, -pending_.exponent);
  uint32_t* zero_bin = bins.data() + Histogram::kSide;
  // One block in 2^skip, chosen by a hash so that no pattern of the tensor's fits it, and others in
  // another sample.
  constexpr size_t kBlock = 512;
  int skip = 0;
  while (values.size() >> skip > kCounted) ++skip;
  const uint64_t mask = (uint64_t{1} << skip) - 1;
  const uint64_t key = uint64_t{std::bit_cast<uint32_t>(extremes.min)} << 32 ^
                       uint64_t { std::bit_cast<uint32_t>(extremes.max) } * 0x9E3779B97F4A7C15ull;
  for (size_t block = 0; block * kBlock < values.size(); ++block) {
    if (((block * 0x9E3779B97F4A7C15ull + key) >> 32 & mask) != 0) continue;
    const auto part =
        values.subspan(block * kBlock).first(std::min(kBlock, values.size() - block * kBlock));
    kernels::count_bins(part.data(), part.size(), inverse_width, zero_bin);
    pending_.count += static_cast<int64_t>(part.size());
  }
}

Result<Range> Collector::observe_channels(const TensorView& tensor) {
  if (tensor.shape.rank() < 2) {
    return fail(ErrorCode::kInternal, "a tensor of rank ", tensor.shape.rank(), " has no channels");
  }
  const auto channels = static_cast<size_t>(tensor.shape[1]);
  const Shape stored = physical_shape(tensor.shape, tensor.layout);
  const int axis = physical_axis(1, stored.rank(), tensor.layout);
  const auto inner = static_cast<size_t>(stored.elements(axis + 1, stored.rank()));
  const auto values = tensor.span<const float>();
  std::vector<float>&low = pending_.low, &high = pending_.high;
  if (!pending_.seen) {
    low.resize(channels);
    for (size_t c = 0; c < channels; ++c) low[c] = values[c * inner];
    high = low;
  } else if (low.size() != channels) {
    return changed_channels(low.size(), channels);
  }
  kernels::Extent whole;
  if (inner == 1) {
    whole.magnitude_bits = kernels::widen_columns(values.data(), values.size() / channels, channels,
                                                  low.data(), high.data());
  } else {
    for (size_t run = 0; run < values.size() / inner; ++run) {
      const kernels::Extent extent = kernels::find_extent(values.data() + run * inner, inner);
      low[run % channels] = std::min(low[run % channels], extent.min);
      high[run % channels] = std::max(high[run % channels], extent.max);
      whole.magnitude_bits = std::max(whole.magnitude_bits, extent.magnitude_bits);
    }
  }
  // Of this tensor and the sample's earlier ones.
  whole.min = kernels::find_extent(low.data(), channels).min;
  whole.max = kernels::find_extent(high.data(), channels).max;
  return check_finite(whole);
}

Status Collector::add_channels(std::span<const float> low, std::span<const float> high,
                               bool first) {
  if (first) channels_.assign(low.size(), {INFINITY, -INFINITY});
  if (channels_.size() != low.size()) return changed_channels(channels_.size(), low.size());
  for (size_t c = 0; c < low.size(); ++c) {
    channels_[c] = range_union(channels_[c], {low[c], high[c]});
  }
  return {};
}

std::pair<int, int> Collector::pending_used() const {
  const double width = std::ldexp(1.0, pending_.exponent);
  return {static_cast<int>(std::floor(pending_.range.min / width)),
          static_cast<int>(std::floor(pending_.range.max / width))};
}

// Each end is moved inwards over the bins that outlier_prob of the values fill, to an outer edge.
Range Collector::pending_quantiles(std::pair<int, int> used) const {
  const auto allowed =
      static_cast<int64_t>(options_.outlier_prob * static_cast<double>(pending_.count));
  const uint32_t* bins = pending_.bins.data() + Histogram::kSide;
  const float width = std::ldexp(1.0f, pending_.exponent);
  const auto from = [&](int bin, int step) {
    int64_t cut = 0;
    while (cut + bins[bin] <= allowed) {
      cut += bins[bin];
      bin += step;
    }
    return bin;
  };
  const auto low = static_cast<float>(from(used.first, 1)) * width;
  const auto high = static_cast<float>(from(used.second, -1) + 1) * width;
  return {std::max(low, pending_.range.min), std::min(high, pending_.range.max)};
}

Status Collector::commit(int64_t sample) {
  if (!pending_.seen) return {};
  if (options_.per_channel) {
    if (auto status = add_channels(pending_.low, pending_.high, !seen_); !status) {
      discard();
      return status;
    }
  }
  SampleRange made{sample, pending_.range, pending_.range};
  if (options_.histogram) {
    const std::pair<int, int> used = pending_used();
    made.without_tails = pending_quantiles(used);
    histogram_.take(pending_.bins, pending_.count, pending_.exponent, used);
  }
  add_sample(made);
  range_ = seen_ ? range_union(range_, pending_.range) : pending_.range;
  seen_ = true;
  pending_.seen = false;
  pending_.count = 0;
  return {};
}

void Collector::discard() {
  if (pending_.seen && !pending_.bins.empty()) {
    const auto [first, last] = pending_used();
    std::fill(pending_.bins.begin() + first + Histogram::kSide,
              pending_.bins.begin() + last + 1 + Histogram::kSide, 0);
  }
  pending_.seen = false;
  pending_.count = 0;
}

void Collector::add_sample(const SampleRange& sample) {
  const auto at = std::ranges::lower_bound(samples_, sample.sample, {}, &SampleRange::sample);
  if (at != samples_.end() && at->sample == sample.sample) {
    at->range = range_union(at->range, sample.range);
    at->without_tails = range_union(at->without_tails, sample.without_tails);
    return;
  }
  samples_.insert(at, sample);
  if (samples_.size() > kSamples) samples_.erase(samples_.begin());
}

Status Collector::merge(const Collector& other) {
  if (other.options_ != options_) {
    return fail(ErrorCode::kInternal, "collectors of different options");
  }
  if (!other.seen_) return {};
  if (options_.per_channel) {
    std::vector<float> low, high;
    for (const Range& range : other.channels_) {
      low.push_back(range.min);
      high.push_back(range.max);
    }
    OCTAVO_TRY(add_channels(low, high, !seen_));
  }
  range_ = seen_ ? range_union(range_, other.range_) : other.range_;
  seen_ = true;
  histogram_.add(other.histogram_);
  for (const SampleRange& sample : other.samples_) add_sample(sample);
  return {};
}

namespace {

void write_range(const Range& range, ByteWriter& out) {
  out.add(range.min);
  out.add(range.max);
}

// Finite, and with min <= max.
Range read_range(ByteReader& in) {
  const Range range{in.f32(), in.f32()};
  if (!std::isfinite(range.min) || !std::isfinite(range.max) || range.min > range.max) {
    in.set_bad();
    return {};
  }
  return range;
}

}  // namespace

void Collector::write(ByteWriter& out) const {
  out.add(static_cast<uint64_t>(options_.histogram) |
          static_cast<uint64_t>(options_.per_channel) << 1 | static_cast<uint64_t>(seen_) << 2);
  out.add(options_.outlier_prob);
  write_range(range_, out);
  out.add(uint64_t{channels_.size()});
  for (const Range& range : channels_) write_range(range, out);
  histogram_.write(out);
  out.add(uint64_t{samples_.size()});
  for (const SampleRange& sample : samples_) {
    out.add_signed(sample.sample);
    write_range(sample.range, out);
    write_range(sample.without_tails, out);
  }
}

Collector Collector::read(ByteReader& in) {
  const uint64_t flags = in.number();
  CollectorOptions options{.histogram = (flags & 1) != 0, .per_channel = (flags & 2) != 0};
  options.outlier_prob = in.f64();
  Collector made(options);
  made.seen_ = (flags & 4) != 0;
  made.range_ = read_range(in);
  made.channels_.resize(in.count());
  for (Range& range : made.channels_) range = read_range(in);
  made.histogram_ = Histogram::read(in);
  made.samples_.resize(in.count());
  for (SampleRange& sample : made.samples_) {
    sample.sample = in.signed_number();
    sample.range = read_range(in);
    sample.without_tails = read_range(in);
  }
  // What choose_range relies on.
  if (made.seen_ && (made.samples_.empty() || (options.histogram && made.histogram_.empty()))) {
    in.set_bad();
  }
  return made;
}

}  // namespace octavo
