// The float tile of the packed matrix product: all accumulators of rows x vectors in registers.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/gemm_f32.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// A step loads `vectors` of B, broadcasts `rows` values of A and does rows * vectors multiply-adds:
// with 6 x 4 (32 registers) or 6 x 2 (16 registers) the two load ports keep up with the two
// multipliers. Without fused multiply-adds the products need registers too.
struct F32Tile {
  static constexpr int max_rows(int vectors) {
    if (kHas32Registers) return vectors == 4 ? 6 : 12;
    if (vectors == 4) return 3;
    return vectors == 1 ? 8 : HWY_ARCH_WASM && !kRelaxedSimd ? 4 : 6;
  }

  template <int kRows, int kVectors>
  static HWY_NOINLINE void run(const GemmCall& call, const Panel& panel,
                               const std::byte* const* rows, int64_t row, int64_t count) {
    const hn::ScalableTag<float> d;
    using V = hn::Vec<decltype(d)>;
    constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
    const PackedWeights& packed = *call.b;

    V acc[kRows][kVectors];
    unroll<kVectors>([&](auto j) OCTAVO_INLINE {
      const V bias = hn::LoadU(d, packed.bias.data() + panel.column + j * kLanes);
      unroll<kRows>([&](auto r) OCTAVO_INLINE { acc[r][j] = bias; });
    });
    const auto* b = reinterpret_cast<const float*>(packed.data.data() + panel.offset);
    const auto steps = static_cast<ptrdiff_t>(packed.steps);
    for (int64_t s = 0; s < packed.segments; ++s) {
      const float* a[kRows];
      unroll<kRows>([&](auto r) OCTAVO_INLINE {
        a[r] = reinterpret_cast<const float*>(rows[r] + call.a.offsets[s]);
      });
      const auto step = [&](ptrdiff_t k) OCTAVO_INLINE {
        V w[kVectors];
        unroll<kVectors>([&](auto j) OCTAVO_INLINE { w[j] = hn::LoadU(d, b + j * kLanes); });
        unroll<kRows>([&](auto r) OCTAVO_INLINE {
          const V x = hn::Set(d, a[r][k]);
          unroll<kVectors>([&](auto j) OCTAVO_INLINE { acc[r][j] = mul_add(x, w[j], acc[r][j]); });
        });
        b += kVectors * kLanes;
      };
      ptrdiff_t k = 0;
      for (; k + 4 <= steps; k += 4) {
        unroll<4>([&](auto i) OCTAVO_INLINE { step(k + i); });
      }
      for (; k < steps; ++k) step(k);
    }

    const V lo = hn::Set(d, call.lo);
    const V hi = hn::Set(d, call.hi);
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      if (r >= count) return;
      auto* c = reinterpret_cast<float*>(call.c + (row + r) * call.c_stride) + panel.column;
      const auto* residual =
          call.residual == nullptr
              ? nullptr
              : reinterpret_cast<const float*>(call.residual + (row + r) * call.c_stride) +
                    panel.column;
      unroll<kVectors>([&](auto j) OCTAVO_INLINE {
        const int64_t left = packed.columns - panel.column - j * kLanes;
        V y = acc[r][j];
        if (left >= kLanes) {
          if (residual != nullptr) y = hn::Add(y, hn::LoadU(d, residual + j * kLanes));
          hn::StoreU(hn::Min(hn::Max(y, lo), hi), d, c + j * kLanes);
        } else if (left > 0) {
          const auto n = static_cast<size_t>(left);
          if (residual != nullptr) y = hn::Add(y, hn::LoadN(d, residual + j * kLanes, n));
          hn::StoreN(hn::Min(hn::Max(y, lo), hi), d, c + j * kLanes, n);
        }
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
