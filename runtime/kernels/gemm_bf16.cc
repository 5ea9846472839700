// The bf16 tile of the packed matrix product. A step multiplies two bf16 numbers of A with two of
// each column of B into float sums (vdpbf16ps); without that instruction, as two float steps.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/gemm_bf16.cc"
// The instruction belongs to targets for which nothing else is compiled.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/bf16-inl.h"
#include "runtime/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

struct Bf16Product {
  using Word = int32_t;
  using Sum = float;
  static constexpr bool kHalves = true;
  static const float* start(const PackedWeights& packed) { return packed.bias.data(); }
  // sums[i] + a[2i] * b[2i] + a[2i + 1] * b[2i + 1]
  template <class D, class VI>
  static HWY_INLINE hn::Vec<D> accumulate(D d, VI a, VI b, hn::Vec<D> sums) {
#if HWY_NATIVE_DOT_BF16
    const hn::Repartition<hwy::bfloat16_t, D> d16;
    return hn::ReorderWidenMulAccumulate(d, hn::BitCast(d16, a), hn::BitCast(d16, b), sums, sums);
#else
    const auto upper = [&](VI v) OCTAVO_INLINE {
      return hn::BitCast(d, hn::And(v, hn::Set(hn::DFromV<VI>(), ~0xFFFF)));
    };
    const auto lower = [&](VI v) OCTAVO_INLINE { return hn::BitCast(d, hn::ShiftLeft<16>(v)); };
    return mul_add(upper(a), upper(b), mul_add(lower(a), lower(b), sums));
#endif
  }
};

struct Bf16Tile {
  static constexpr int max_rows(int vectors) {
    if (kHas32Registers) return vectors == 4 ? 6 : 12;
    return vectors == 1 ? 6 : 4;
  }

  using Sum = float;
  // Most are ended in their registers; the rest go through memory, so that functions need not be
  // compiled for every tile height.
  template <int kVectors, int64_t kRows>
  struct Sums {
    static constexpr int64_t kWidth = kVectors * static_cast<int64_t>(HWY_LANES(float));
    alignas(64) float data[kRows * kWidth];
    float* at(int64_t row) { return data + row * kWidth; }
    HWY_INLINE void finish(const GemmCall& call, const Panel& panel, int64_t row, int64_t count) {
      if (!ends_in_registers(call, panel)) end_rows(call, panel, data, kWidth, row, count);
    }
  };

  template <int kRows, int kVectors, int kSums>
  static HWY_NOINLINE void run(const GemmCall& call, const Panel& panel,
                               const std::byte* const* rows, int64_t row, int64_t count,
                               float* to) {
    for_each_part<kVectors>(panel, [&](int64_t first) OCTAVO_INLINE {
      run_part<kRows, kVectors, kSums>(call, panel, first, rows, row, count, to);
    });
  }

 private:
  static HWY_INLINE bool ends_in_registers(const GemmCall& call, const Panel& panel) {
    return call.function == nullptr && call.residual == nullptr &&
           call.b->columns - panel.column >= panel.vectors * call.b->lanes;
  }
  static HWY_NOINLINE void end_rows(const GemmCall& call, const Panel& panel, float* sums,
                                    int64_t width, int64_t row, int64_t count) {
    const hn::ScalableTag<float> d;
    const Bf16Bits<decltype(d)> d16;
    const int64_t columns = std::min(width, call.b->columns - panel.column);
    const auto at = [&](auto* base, int64_t stride, int64_t r) OCTAVO_INLINE {
      return reinterpret_cast<
                 std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(base)>>,
                                    const uint16_t, uint16_t>*>(base + (row + r) * stride) +
             panel.column;
    };
    if (call.residual != nullptr) {
      for (int64_t r = 0; r < count; ++r) {
        const uint16_t* residual = at(call.residual, call.residual_stride, r);
        float* x = sums + r * width;
        for_each_vector(d, columns, [&](int64_t i, size_t n) OCTAVO_INLINE {
          hn::Store(hn::Add(hn::Load(d, x + i), widen_bf16(d, load(d16, residual + i, n))), d,
                    x + i);
        });
      }
    }
    with_ending(call.function, call.lo, call.hi, sums, count * width, [&](auto fn) OCTAVO_INLINE {
      for (int64_t r = 0; r < count; ++r) {
        const float* x = sums + r * width;
        uint16_t* c = at(call.c, call.c_stride, r);
        for_each_vector(d, columns, [&](int64_t i, size_t n) OCTAVO_INLINE {
          store(narrow_sums(d, fn(hn::Load(d, x + i))), d16, c + i, n);
        });
      }
    });
  }

  template <int kRows, int kVectors, int kSums>
  static HWY_INLINE void run_part(const GemmCall& call, const Panel& panel, int64_t first,
                                  const std::byte* const* rows, int64_t row, int64_t count,
                                  float* to) {
    const hn::ScalableTag<float> d;
    using V = hn::Vec<decltype(d)>;
    constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
    const int64_t width = panel_width<kVectors>(panel) * kLanes;
    V sums[kSums][kRows][kVectors];
    sum_tile<Bf16Product>(call, panel, first, rows, row, sums);
    auto& acc = sums[0];
    if (ends_in_registers(call, panel)) {
      const Bf16Bits<decltype(d)> d16;
      const V lo = hn::Set(d, call.lo), hi = hn::Set(d, call.hi);
      auto* c = call.c + row * call.c_stride + (panel.column + first * kLanes) * 2;
      unroll<kRows>([&](auto r) OCTAVO_INLINE {
        if (r >= count) return;
        unroll<kVectors>([&](auto j) OCTAVO_INLINE {
          hn::StoreU(narrow_sums(d, hn::Min(hn::Max(acc[r][j], lo), hi)), d16,
                     reinterpret_cast<uint16_t*>(c + r * call.c_stride) + j * kLanes);
        });
      });
      return;
    }
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      unroll<kVectors>([&](auto j) OCTAVO_INLINE {
        hn::Store(acc[r][j], d, to + r * width + (first + j) * kLanes);
      });
    });
  }
};

void run_gemm_bf16(const GemmCall& call, int64_t row_begin, int64_t row_end, int64_t panel_begin,
                   int64_t panel_end) {
  run_tiles<Bf16Tile>(call, row_begin, row_end, panel_begin, panel_end);
}
int64_t bf16_lanes() { return static_cast<int64_t>(HWY_LANES(float)); }
int64_t bf16_panel_vectors() { return kPanelVectors; }

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
HWY_EXPORT(run_gemm_bf16);
HWY_EXPORT(bf16_lanes);
HWY_EXPORT(bf16_panel_vectors);
GemmTarget gemm_bf16_target() {
  return {HWY_DYNAMIC_DISPATCH(bf16_lanes)(), HWY_DYNAMIC_DISPATCH(bf16_panel_vectors)(),
          HWY_DYNAMIC_POINTER(run_gemm_bf16), nullptr};
}
}  // namespace octavo::kernels
#endif
