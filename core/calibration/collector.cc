#include "core/calibration/collector.h"

#include <algorithm>
#include <bit>

namespace octavo {

Result<Range> finite_range(std::span<const float> values) {
  if (values.empty()) return Range{};
  // Independent lanes, so that the compiler may use vector instructions.
  constexpr size_t kLanes = 16;
  float low[kLanes], high[kLanes];
  uint32_t magnitude[kLanes] = {};
  std::fill_n(low, kLanes, values[0]);
  std::fill_n(high, kLanes, values[0]);
  const auto take = [&](size_t lane, float x) {
    low[lane] = x < low[lane] ? x : low[lane];
    high[lane] = x > high[lane] ? x : high[lane];
    const uint32_t bits = std::bit_cast<uint32_t>(x) & 0x7FFFFFFF;
    magnitude[lane] = bits > magnitude[lane] ? bits : magnitude[lane];
  };
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) take(lane, values[i + lane]);
  }
  for (; i < values.size(); ++i) take(0, values[i]);

  constexpr uint32_t kInfinityBits = 0x7F800000;
  const uint32_t largest = *std::max_element(magnitude, magnitude + kLanes);
  if (largest >= kInfinityBits) {
    return fail(ErrorCode::kInvalidData, largest == kInfinityBits ? "infinite" : "NaN");
  }
  return Range{*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes)};
}

namespace {

class MinMaxCollector : public Collector {
 public:
  explicit MinMaxCollector(bool per_channel) : per_channel_(per_channel) {}

  Status observe(const TensorView& tensor) override {
    if (tensor.dtype != DType::kF32) {
      return fail(ErrorCode::kInternal, "a ", dtype_name(tensor.dtype),
                  " tensor is not calibrated");
    }
    if (tensor.elements() == 0) return {};
    OCTAVO_ASSIGN(const Range range, finite_range(tensor.span<const float>()));
    if (per_channel_) {
      OCTAVO_ASSIGN(const std::vector<Range> channels, ranges_by_channel(tensor));
      OCTAVO_TRY(add_channels(channels));
    }
    add(range);
    return {};
  }

  Status merge(const Collector& other) override {
    const auto* same = dynamic_cast<const MinMaxCollector*>(&other);
    if (same == nullptr || same->per_channel_ != per_channel_) {
      return fail(ErrorCode::kInternal, "collectors of different algorithms");
    }
    if (!same->seen_) return {};
    if (per_channel_) OCTAVO_TRY(add_channels(same->channels_));
    add(same->range_);
    return {};
  }

  bool seen() const override { return seen_; }
  Range range() const override { return range_; }
  std::span<const Range> channel_ranges() const override { return channels_; }

 private:
  // Of a tensor whose elements are finite.
  static Result<std::vector<Range>> ranges_by_channel(const TensorView& tensor) {
    if (tensor.shape.rank() < 2) {
      return fail(ErrorCode::kInternal, "a tensor of rank ", tensor.shape.rank(),
                  " has no channels");
    }
    const auto channels = static_cast<size_t>(tensor.shape[1]);
    const Shape stored = physical_shape(tensor.shape, tensor.layout);
    const int axis = physical_axis(1, stored.rank(), tensor.layout);
    const auto inner = static_cast<size_t>(stored.elements(axis + 1, stored.rank()));
    const float* data = tensor.as<const float>();
    std::vector<float> low(channels), high(channels);
    for (size_t c = 0; c < channels; ++c) low[c] = high[c] = data[c * inner];
    for (size_t at = 0; at < static_cast<size_t>(tensor.elements()); at += channels * inner) {
      const float* block = data + at;
      if (inner == 1) {
        for (size_t c = 0; c < channels; ++c) {
          low[c] = block[c] < low[c] ? block[c] : low[c];
          high[c] = block[c] > high[c] ? block[c] : high[c];
        }
        continue;
      }
      for (size_t c = 0; c < channels; ++c) {
        OCTAVO_ASSIGN(const Range range, finite_range({block + c * inner, inner}));
        low[c] = std::min(low[c], range.min);
        high[c] = std::max(high[c], range.max);
      }
    }
    std::vector<Range> ranges(channels);
    for (size_t c = 0; c < channels; ++c) ranges[c] = {low[c], high[c]};
    return ranges;
  }

  void add(const Range& range) {
    range_ = seen_ ? range_union(range_, range) : range;
    seen_ = true;
  }
  Status add_channels(std::span<const Range> ranges) {
    if (!seen_) {
      channels_.assign(ranges.begin(), ranges.end());
      return {};
    }
    if (ranges.size() != channels_.size()) {
      return fail(ErrorCode::kShapeMismatch, "the number of channels changes from ",
                  channels_.size(), " to ", ranges.size());
    }
    for (size_t c = 0; c < ranges.size(); ++c) channels_[c] = range_union(channels_[c], ranges[c]);
    return {};
  }

  const bool per_channel_;
  Range range_;
  std::vector<Range> channels_;
  bool seen_ = false;
};

}  // namespace

Result<std::unique_ptr<Collector>> make_collector(std::string_view algorithm, bool per_channel) {
  if (algorithm == "minmax") return std::make_unique<MinMaxCollector>(per_channel);
  return fail(ErrorCode::kInvalidArgument, "there is no calibration algorithm '", algorithm,
              "'; use 'minmax'");
}

}  // namespace octavo
