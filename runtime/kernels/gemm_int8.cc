// The int8 tile of the packed matrix product. A step multiplies four bytes of A with four of each
// column of B (vpdpbusd where the CPU has it) into exact int32 sums.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/gemm_int8.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// Writes `count` rows of sums to the output: kVectors vectors of 8-bit outputs each.
template <class T, int kVectors, RequantizeEnding kEnding, bool kResidual>
HWY_NOINLINE void store_8bit(const GemmCall& call, const Panel& panel, const int32_t* acc,
                             int64_t row, int64_t count) {
  const hn::ScalableTag<float> df;
  const hn::RebindToSigned<decltype(df)> d32;
  const hn::Repartition<int16_t, decltype(df)> d16;
  // As many 8-bit lanes as the panel has columns.
  const hn::CappedTag<T, kVectors * HWY_LANES(float)> d8;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  constexpr int64_t kWidth = kVectors * kLanes;
  const PackedWeights& packed = *call.b;
  const RequantizeVectors<decltype(df), kEnding> requantize(df, call.zero_point, call.lo, call.hi);
  const float* multiplier = packed.multiplier.data() + panel.column;
  const float* bias = packed.bias.data() + panel.column;
  const int64_t left = packed.columns - panel.column;
  const auto residual_zero = hn::Set(d32, call.residual_zero_point);
  const auto residual_scale = hn::Set(df, call.residual_scale);
  const std::byte* residual = call.residual;

  for (int64_t r = 0; r < count; ++r, acc += kWidth) {
    hn::Vec<decltype(df)> y[kVectors];
    unroll<kVectors>([&](auto j) OCTAVO_INLINE {
      y[j] = requantize.scale(hn::LoadU(d32, acc + j * kLanes), multiplier + j * kLanes,
                              bias + j * kLanes);
    });
    if constexpr (kResidual) {
      const T* from =
          reinterpret_cast<const T*>(residual + (row + r) * call.c_stride) + panel.column;
      const auto bytes =
          left >= kWidth ? hn::LoadU(d8, from) : hn::LoadN(d8, from, static_cast<size_t>(left));
      // Widened in the interleaved order of the sums: see panel_column().
      hn::Vec<decltype(d32)> wide[kVectors];
      if constexpr (kVectors == 1) {
        wide[0] = hn::PromoteTo(d32, bytes);
      } else if constexpr (kVectors == 2) {
        const auto half = hn::PromoteTo(d16, bytes);
        wide[0] = hn::BitCast(d32, hn::InterleaveLower(d16, half, half));
        wide[1] = hn::BitCast(d32, hn::InterleaveUpper(d16, half, half));
        wide[0] = hn::ShiftRight<16>(wide[0]);
        wide[1] = hn::ShiftRight<16>(wide[1]);
      } else {
        const auto low = hn::BitCast(d16, hn::InterleaveLower(d8, bytes, bytes));
        const auto high = hn::BitCast(d16, hn::InterleaveUpper(d8, bytes, bytes));
        const auto widen = [&](auto v) OCTAVO_INLINE {
          // Each 32-bit lane holds the byte four times: shift one copy down, with its sign.
          const hn::RebindToUnsigned<decltype(d32)> du32;
          if constexpr (std::is_signed_v<T>) {
            return hn::ShiftRight<24>(hn::BitCast(d32, v));
          } else {
            return hn::BitCast(d32, hn::ShiftRight<24>(hn::BitCast(du32, v)));
          }
        };
        wide[0] = widen(hn::InterleaveLower(d16, low, low));
        wide[1] = widen(hn::InterleaveUpper(d16, low, low));
        wide[2] = widen(hn::InterleaveLower(d16, high, high));
        wide[3] = widen(hn::InterleaveUpper(d16, high, high));
      }
      unroll<kVectors>([&](auto j) OCTAVO_INLINE {
        const auto real = hn::ConvertTo(df, hn::Sub(wide[j], residual_zero));
        y[j] = hn::Add(y[j], hn::Mul(real, residual_scale));
      });
    }
    hn::Vec<decltype(d8)> q;
    if constexpr (kVectors == 1) {
      q = hn::DemoteTo(d8, requantize.round(y[0]));
    } else if constexpr (kVectors == 2) {
      q = hn::DemoteTo(d8,
                       hn::ReorderDemote2To(d16, requantize.round(y[0]), requantize.round(y[1])));
    } else {
      q = narrow4(d8, requantize.round(y[0]), requantize.round(y[1]), requantize.round(y[2]),
                  requantize.round(y[3]));
    }
    T* to = reinterpret_cast<T*>(call.c + (row + r) * call.c_stride) + panel.column;
    if (left >= kWidth) {
      hn::StoreU(q, d8, to);
    } else {
      hn::StoreN(q, d8, to, static_cast<size_t>(left));
    }
  }
}

template <class T, int kVectors>
HWY_INLINE void choose_store(const GemmCall& call, const Panel& panel, const int32_t* acc,
                             int64_t row, int64_t count) {
  using enum RequantizeEnding;
  if (call.residual != nullptr) {
    return store_8bit<T, kVectors, kFull, true>(call, panel, acc, row, count);
  }
  switch (call.ending) {
    case kFull: return store_8bit<T, kVectors, kFull, false>(call, panel, acc, row, count);
    case kNoClamp: return store_8bit<T, kVectors, kNoClamp, false>(call, panel, acc, row, count);
    case kPlain: return store_8bit<T, kVectors, kPlain, false>(call, panel, acc, row, count);
  }
}

template <int kVectors>
HWY_NOINLINE void store_f32(const GemmCall& call, const Panel& panel, const int32_t* acc,
                            int64_t row, int64_t count) {
  const hn::ScalableTag<float> df;
  const hn::RebindToSigned<decltype(df)> d32;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  const PackedWeights& packed = *call.b;
  const RequantizeVectors<decltype(df)> requantize(df, call.zero_point, call.lo, call.hi);
  for (int64_t r = 0; r < count; ++r) {
    float* to = reinterpret_cast<float*>(call.c + (row + r) * call.c_stride) + panel.column;
    for (int j = 0; j < kVectors; ++j, acc += kLanes) {
      const int64_t position = panel.column + j * kLanes;
      const auto y = requantize.finish(requantize.scale(
          hn::LoadU(d32, acc), packed.multiplier.data() + position, packed.bias.data() + position));
      const int64_t left = packed.columns - position;
      if (left >= kLanes) {
        hn::StoreU(y, df, to + j * kLanes);
      } else if (left > 0) {
        hn::StoreN(y, df, to + j * kLanes, static_cast<size_t>(left));
      }
    }
  }
}

struct Int8Tile {
  static constexpr int max_rows(int vectors) {
    if (kHas32Registers) return vectors == 4 ? 6 : 12;
    return vectors == 2 ? 4 : 6;  // without vpdpbusd a product needs registers for its halves
  }

  template <int kRows, int kVectors>
  static HWY_NOINLINE void run(const GemmCall& call, const Panel& panel,
                               const std::byte* const* rows, int64_t row, int64_t count) {
    const hn::ScalableTag<int32_t> d32;
    const hn::Repartition<int8_t, decltype(d32)> di8;
    const hn::Repartition<uint8_t, decltype(d32)> du8;
    using V = hn::Vec<decltype(d32)>;
    constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(int32_t));
    const PackedWeights& packed = *call.b;

    V acc[kRows][kVectors];
    unroll<kVectors>([&](auto j) OCTAVO_INLINE {
      const V start = hn::LoadU(d32, packed.start.data() + panel.column + j * kLanes);
      unroll<kRows>([&](auto r) OCTAVO_INLINE { acc[r][j] = start; });
    });
    const auto* b = reinterpret_cast<const int8_t*>(packed.data.data() + panel.offset);
    for (int64_t s = 0; s < packed.segments; ++s) {
      const std::byte* a[kRows];
      unroll<kRows>([&](auto r) OCTAVO_INLINE { a[r] = rows[r] + call.a.offsets[s]; });
      const auto step = [&](int64_t k) OCTAVO_INLINE {
        hn::Vec<decltype(di8)> w[kVectors];
        unroll<kVectors>([&](auto j)
                             OCTAVO_INLINE { w[j] = hn::LoadU(di8, b + j * kLanes * kInt8Step); });
        unroll<kRows>([&](auto r) OCTAVO_INLINE {
          int32_t four;
          std::memcpy(&four, a[r] + k * kInt8Step, sizeof(four));
          const auto x = hn::BitCast(du8, hn::Set(d32, four));
          unroll<kVectors>([&](auto j) OCTAVO_INLINE {
            acc[r][j] = hn::SumOfMulQuadAccumulate(d32, x, w[j], acc[r][j]);
          });
        });
        b += kVectors * kLanes * kInt8Step;
      };
      int64_t k = 0;
      for (; k + 4 <= packed.steps; k += 4) {
        unroll<4>([&](auto i) OCTAVO_INLINE { step(k + i); });
      }
      for (; k < packed.steps; ++k) step(k);
    }

    // Through memory, so that the many endings need not be compiled for every tile height; the
    // stores hide behind the arithmetic of the ending.
    alignas(64) int32_t sums[kRows * kVectors * kLanes];
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      unroll<kVectors>([&](auto j) OCTAVO_INLINE {
        hn::Store(acc[r][j], d32, sums + (r * kVectors + j) * kLanes);
      });
    });
    if (call.output == GemmOutput::kF32) {
      store_f32<kVectors>(call, panel, sums, row, count);
    } else if (call.output == GemmOutput::kU8) {
      choose_store<uint8_t, kVectors>(call, panel, sums, row, count);
    } else {
      choose_store<int8_t, kVectors>(call, panel, sums, row, count);
    }
  }
};

void run_gemm_int8(const GemmCall& call, int64_t row_begin, int64_t row_end, int64_t panel_begin,
                   int64_t panel_end) {
  run_tiles<Int8Tile>(call, row_begin, row_end, panel_begin, panel_end);
}

int64_t gemm_lanes() { return static_cast<int64_t>(HWY_LANES(float)); }
int64_t gemm_panel_vectors() { return kPanelVectors; }

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
HWY_EXPORT(run_gemm_int8);
HWY_EXPORT(gemm_lanes);
HWY_EXPORT(gemm_panel_vectors);

GemmTarget gemm_target() {
  return {HWY_DYNAMIC_DISPATCH(gemm_lanes)(), HWY_DYNAMIC_DISPATCH(gemm_panel_vectors)(),
          gemm_f32_target(), HWY_DYNAMIC_POINTER(run_gemm_int8)};
}
}  // namespace octavo::kernels
#endif
