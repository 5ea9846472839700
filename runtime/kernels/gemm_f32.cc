// The float tile of the packed matrix product: all accumulators of rows x vectors in registers.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/gemm_f32.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

HWY_INLINE float* sums_at(const GemmCall& call, int64_t column, int64_t row) {
  return reinterpret_cast<float*>(call.c + row * call.c_stride) + column;
}
HWY_INLINE const float* residual_at(const GemmCall& call, int64_t column, int64_t row) {
  return reinterpret_cast<const float*>(call.residual + row * call.residual_stride) + column;
}

// Writes `count` rows of sums, of `width` columns each, of the last and narrower panel.
HWY_NOINLINE void store_partial(const GemmCall& call, int64_t column, const float* sums,
                                int64_t width, int64_t row, int64_t count) {
  const hn::ScalableTag<float> d;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  const auto lo = hn::Set(d, call.lo);
  const auto hi = hn::Set(d, call.hi);
  for (int64_t r = 0; r < count; ++r, sums += width) {
    const auto* residual = residual_at(call, column, row + r);
    auto* c = sums_at(call, column, row + r);
    for (int64_t j = 0; j < call.b->columns - column; j += kLanes) {
      const auto n = static_cast<size_t>(call.b->columns - column - j);
      auto y = hn::LoadU(d, sums + j);
      if (call.residual != nullptr) y = hn::Add(y, hn::LoadN(d, residual + j, n));
      hn::StoreN(hn::Min(hn::Max(y, lo), hi), d, c + j, n);
    }
  }
}

struct F32Product {
  using Word = float;
  static constexpr bool kHalves = false;
  static const float* start(const PackedWeights& packed) { return packed.bias.data(); }
  template <class D, class V>
  static HWY_INLINE V accumulate(D, V a, V b, V sums) {
    return mul_add(a, b, sums);
  }
};

// A step loads `vectors` of B, broadcasts `rows` values of A and does rows * vectors multiply-adds:
// with 6 x 4 (32 registers) or 6 x 2 (16 registers) the two load ports keep up with the two
// multipliers. Without fused multiply-adds the products need registers too.
struct F32Tile {
  static constexpr int max_rows(int vectors) {
    if (kHas32Registers) return vectors == 4 ? 6 : 12;
    return vectors == 1 ? 8 : HWY_ARCH_WASM && !kRelaxedSimd ? 4 : 6;
  }

  struct Sum;  // are ended in their registers
  template <int kVectors, int64_t kRows>
  struct Sums {
    static Sum* at(int64_t) { return nullptr; }
    static void finish(const GemmCall&, const Panel&, int64_t, int64_t) {}
  };

  template <int kRows, int kVectors, int kSums>
  static HWY_NOINLINE void run(const GemmCall& call, const Panel& panel,
                               const std::byte* const* rows, int64_t row, int64_t count, Sum*) {
    for_each_part<kVectors>(panel, [&](int64_t first) OCTAVO_INLINE {
      run_part<kRows, kVectors, kSums>(call, panel, first, rows, row, count);
    });
  }

 private:
  template <int kRows, int kVectors, int kSums>
  static HWY_INLINE void run_part(const GemmCall& call, const Panel& panel, int64_t first,
                                  const std::byte* const* rows, int64_t row, int64_t count) {
    const hn::ScalableTag<float> d;
    using V = hn::Vec<decltype(d)>;
    constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
    const int64_t column = panel.column + first * kLanes;
    V sums[kSums][kRows][kVectors];
    sum_tile<F32Product>(call, panel, first, rows, row, sums);
    auto& acc = sums[0];

    if (call.b->columns - column < kVectors * kLanes) {
      alignas(64) float partial[kRows * kVectors * kLanes];
      unroll<kRows>([&](auto r) OCTAVO_INLINE {
        unroll<kVectors>([&](auto j) OCTAVO_INLINE {
          hn::Store(acc[r][j], d, partial + (r * kVectors + j) * kLanes);
        });
      });
      return store_partial(call, column, partial, kVectors * kLanes, row, count);
    }
    const V lo = hn::Set(d, call.lo);
    const V hi = hn::Set(d, call.hi);
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      if (r >= count) return;
      if (call.residual != nullptr) {
        const auto* residual = residual_at(call, column, row + r);
        unroll<kVectors>([&](auto j) OCTAVO_INLINE {
          acc[r][j] = hn::Add(acc[r][j], hn::LoadU(d, residual + j * kLanes));
        });
      }
      auto* c = sums_at(call, column, row + r);
      unroll<kVectors>([&](auto j) OCTAVO_INLINE {
        hn::StoreU(hn::Min(hn::Max(acc[r][j], lo), hi), d, c + j * kLanes);
      });
    });
  }
};

void run_gemm_f32(const GemmCall& call, int64_t row_begin, int64_t row_end, int64_t panel_begin,
                  int64_t panel_end) {
  run_tiles<F32Tile>(call, row_begin, row_end, panel_begin, panel_end);
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
HWY_EXPORT(run_gemm_f32);
GemmRun gemm_f32_target() { return HWY_DYNAMIC_POINTER(run_gemm_f32); }
}  // namespace octavo::kernels
#endif
