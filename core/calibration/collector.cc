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
  Status observe(const TensorView& tensor) override {
    if (tensor.dtype != DType::kF32) {
      return fail(ErrorCode::kInternal, "a ", dtype_name(tensor.dtype),
                  " tensor is not calibrated");
    }
    if (tensor.elements() == 0) return {};
    OCTAVO_ASSIGN(const Range range, finite_range(tensor.span<const float>()));
    add(range);
    return {};
  }

  Status merge(const Collector& other) override {
    const auto* same = dynamic_cast<const MinMaxCollector*>(&other);
    if (same == nullptr) return fail(ErrorCode::kInternal, "collectors of different algorithms");
    if (same->seen_) add(same->range_);
    return {};
  }

  bool seen() const override { return seen_; }
  Range range() const override { return range_; }

 private:
  void add(const Range& range) {
    range_ = seen_ ? range_union(range_, range) : range;
    seen_ = true;
  }

  Range range_;
  bool seen_ = false;
};

}  // namespace

Result<std::unique_ptr<Collector>> make_collector(std::string_view algorithm) {
  if (algorithm == "minmax") return std::make_unique<MinMaxCollector>();
  return fail(ErrorCode::kInvalidArgument, "there is no calibration algorithm '", algorithm,
              "'; use 'minmax'");
}

}  // namespace octavo
