// What packs bytes at each run: for products of two activations, and rests of segments.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/gemm_pack.cc"
#include <algorithm>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

void pack_matrix(PackedWeights& packed, const uint8_t* b, int64_t depth, uint8_t flip) {
  const hn::ScalableTag<uint8_t> d;           // no fewer than a panel's columns
  constexpr int64_t kBlock = 4 * kWordBytes;  // of columns that stay together
  HWY_ALIGN uint8_t words[kWordBytes * hn::MaxLanes(d)];
  const auto flips = hn::Set(d, flip);
  for (const Panel& panel : packed.panels) {
    const int64_t width = panel.vectors * packed.lanes;
    const auto count = static_cast<size_t>(std::min(width, packed.columns - panel.column));
    auto* to = reinterpret_cast<uint8_t*>(packed.data.data() + panel.offset);
    for (int64_t k = 0; k < depth; k += kWordBytes, to += width * kWordBytes) {
      const auto row = [&](int64_t r) OCTAVO_INLINE {
        if (k + r >= depth) return hn::Zero(d);
        return hn::Xor(load(d, b + (k + r) * packed.columns + panel.column, count), flips);
      };
      hn::StoreInterleaved4(row(0), row(1), row(2), row(3), d, words);
      if (!packed.interleaved) {
        std::memcpy(to, words, static_cast<size_t>(width * kWordBytes));
        continue;
      }
      for (int64_t v = 0; v < panel.vectors; ++v) {
        for (int64_t i = 0; i < packed.lanes / 4; ++i) {
          std::memcpy(to + (v * packed.lanes / 4 + i) * kBlock,
                      words + (i * panel.vectors + v) * kBlock, kBlock);
        }
      }
    }
  }
}

void fill_start(PackedWeights& packed, int32_t zero_point) {
  const hn::ScalableTag<int32_t> d;
  const hn::Repartition<int8_t, decltype(d)> d8;
  const hn::Repartition<uint8_t, decltype(d)> du8;
  const auto ones = hn::Set(du8, uint8_t{1});
  const auto factor = hn::Set(d, static_cast<int32_t>(0 - static_cast<uint32_t>(zero_point)));
  for (const Panel& panel : packed.panels) {
    const auto* data = reinterpret_cast<const int8_t*>(packed.data.data() + panel.offset);
    const int64_t width = panel.vectors * packed.lanes;
    for (int64_t i = 0; i < width; i += packed.lanes) {
      auto sum = hn::Zero(d);  // wraps, as the accumulators do
      for (int64_t k = 0; k < packed.words(); ++k) {
        sum = hn::SumOfMulQuadAccumulate(d, ones,
                                         hn::LoadU(d8, data + (k * width + i) * kWordBytes), sum);
      }
      hn::StoreU(hn::Mul(sum, factor), d, packed.start.data() + panel.column + i);
    }
  }
}

// One pixel after the other, or, where a byte is looked up in 128 at once, sixteen.
void collect_tails(const Tails& tails, const std::byte* first,
                   [[maybe_unused]] const std::byte* end, int64_t count, std::byte* to) {
  int64_t i = 0;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL
  const hn::FixedTag<uint8_t, 64> d;
  const int64_t last = std::ranges::max(tails.offsets);
  for (; i < count && first + i * tails.column_step + last + Tails::kRead <= end;
       i += Tails::kPixels) {
    const auto* x = reinterpret_cast<const uint8_t*>(first + i * tails.column_step);
    auto* y = reinterpret_cast<uint8_t*>(to + i * tails.bytes);
    const uint8_t* order = tails.order.data();
    const int64_t left = (count - i) * tails.bytes;
    for (int64_t b = 0; b < std::min(left, Tails::kPixels * tails.bytes); b += 64) {
      auto tail = hn::Zero(d);
      for (const int64_t offset : tails.offsets) {
        const auto from = hn::LoadU(d, order);
        const auto index = hn::IndicesFromVec(d, hn::And(from, hn::Set(d, Tails::kRead - 1)));
        const auto found = hn::TwoTablesLookupLanes(d, hn::LoadU(d, x + offset),
                                                    hn::LoadU(d, x + offset + 64), index);
        tail = hn::IfThenElse(hn::Eq(from, hn::Set(d, Tails::kNone)), tail, found);
        order += 64;
      }
      store(tail, d, y + b, static_cast<size_t>(left - b));
    }
  }
#endif
  for (; i < count; ++i) {
    std::byte* tail = to + i * tails.bytes;
    for (const int64_t offset : tails.offsets) {
      std::memcpy(tail, first + i * tails.column_step + offset, static_cast<size_t>(tails.rest));
      tail += tails.rest;
    }
  }
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(pack_matrix);
HWY_EXPORT(fill_start);
HWY_EXPORT(collect_tails);
}  // namespace

void pack_matrix(PackedWeights& packed, const uint8_t* b, int64_t depth, uint8_t flip) {
  HWY_DYNAMIC_DISPATCH(pack_matrix)(packed, b, depth, flip);
}
void collect_tails(const Tails& tails, const std::byte* first, const std::byte* end, int64_t count,
                   std::byte* to) {
  HWY_DYNAMIC_DISPATCH(collect_tails)(tails, first, end, count, to);
}
void fill_start(PackedWeights& packed, int32_t zero_point) {
  if (zero_point != 0) HWY_DYNAMIC_DISPATCH(fill_start)(packed, zero_point);
}
}  // namespace octavo::kernels
#endif
