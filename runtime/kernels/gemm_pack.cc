// What packs bytes at each run, for products of two activations.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/gemm_pack.cc"
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
      for (int64_t k = 0; k < packed.segments * packed.steps; ++k) {
        sum = hn::SumOfMulQuadAccumulate(d, ones,
                                         hn::LoadU(d8, data + (k * width + i) * kWordBytes), sum);
      }
      hn::StoreU(hn::Mul(sum, factor), d, packed.start.data() + panel.column + i);
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
}  // namespace

void pack_matrix(PackedWeights& packed, const uint8_t* b, int64_t depth, uint8_t flip) {
  HWY_DYNAMIC_DISPATCH(pack_matrix)(packed, b, depth, flip);
}
void fill_start(PackedWeights& packed, int32_t zero_point) {
  if (zero_point != 0) HWY_DYNAMIC_DISPATCH(fill_start)(packed, zero_point);
}
}  // namespace octavo::kernels
#endif
