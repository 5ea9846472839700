// The bf16 tile of the packed matrix product, for processors with an instruction that multiplies
// two bf16 numbers of A with two of each column of B into float sums (vdpbf16ps). Elsewhere two
// float steps take as long as two of f32's own, which has Winograd's besides.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/gemm_bf16.cc"
// The instruction belongs to targets for which few kernels are compiled.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/bf16-inl.h"
#include "runtime/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

#if HWY_NATIVE_DOT_BF16
struct Bf16Product {
  using Word = int32_t;
  static constexpr bool kHalves = true;
  static const float* start(const PackedWeights& packed) { return packed.bias.data(); }
  // sums[i] + a[2i] * b[2i] + a[2i + 1] * b[2i + 1]
  template <class D, class VI>
  static HWY_INLINE hn::Vec<D> accumulate(D d, VI a, VI b, hn::Vec<D> sums) {
    const hn::Repartition<hwy::bfloat16_t, D> d16;
    return hn::ReorderWidenMulAccumulate(d, hn::BitCast(d16, a), hn::BitCast(d16, b), sums, sums);
  }
};

struct Bf16Tile {
  static constexpr int max_rows(int vectors) { return vectors == 4 ? 6 : 12; }

  // Most are ended in their registers; the rest go through memory, so that functions need not be
  // compiled for every tile height.
  using Sum = float;
  template <int kVectors, int64_t kRows>
  struct Sums : StoredSums<Sum, kVectors, kRows> {
    HWY_INLINE void finish(const GemmCall& call, const Panel& panel, int64_t row, int64_t count) {
      if (ends_in_registers(call, panel)) return;
      end_rows(call, panel, this->data, this->kWidth, row, count);
    }
  };

  template <int kRows, int kVectors, int kSums>
  static HWY_NOINLINE void run(const GemmCall& call, const Panel& panel,
                               const std::byte* const* rows, int64_t row, int64_t count,
                               float* to) {
    const hn::ScalableTag<float> d;
    using V = hn::Vec<decltype(d)>;
    constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
    V sums[kSums][kRows][kVectors];
    sum_tile<Bf16Product>(call, panel, 0, rows, row, sums);
    auto& acc = sums[0];
    if (!ends_in_registers(call, panel)) {
      unroll<kRows>([&](auto r) OCTAVO_INLINE {
        unroll<kVectors>([&](auto j) OCTAVO_INLINE {
          hn::Store(acc[r][j], d, to + (r * kVectors + j) * kLanes);
        });
      });
      return;
    }
    const V lo = hn::Set(d, call.lo), hi = hn::Set(d, call.hi);
    std::byte* c = call.c + row * call.c_stride;
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      if (r >= count) return;
      auto* y = reinterpret_cast<uint16_t*>(c + r * call.c_stride) + panel.column;
      unroll<kVectors>([&](auto j) OCTAVO_INLINE {
        hn::StoreU(narrow_sums(d, hn::Min(hn::Max(acc[r][j], lo), hi)), Bf16Bits<decltype(d)>(),
                   y + j * kLanes);
      });
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
    // fn(sums, bits, n) for all vectors of the rows, where the first row's bits begin at `bits`.
    const auto for_all = [&](auto* bits, int64_t stride_bytes, const auto& fn) OCTAVO_INLINE {
      for (int64_t r = 0; r < count; ++r, bits += stride_bytes / 2) {
        for_each_vector(d, columns, [&](int64_t i, size_t n) OCTAVO_INLINE {
          fn(sums + r * width + i, bits + i, n);
        });
      }
    };
    if (call.residual != nullptr) {
      const auto* first =
          reinterpret_cast<const uint16_t*>(call.residual + row * call.residual_stride);
      for_all(first + panel.column, call.residual_stride,
              [&](float* x, const uint16_t* residual, size_t n) OCTAVO_INLINE {
                hn::Store(hn::Add(hn::Load(d, x), widen_bf16(d, load(d16, residual, n))), d, x);
              });
    }
    auto* first = reinterpret_cast<uint16_t*>(call.c + row * call.c_stride) + panel.column;
    with_ending(call.function, call.lo, call.hi, sums, count * width, [&](auto end) OCTAVO_INLINE {
      for_all(first, call.c_stride, [&](const float* x, uint16_t* c, size_t n) OCTAVO_INLINE {
        store(narrow_sums(d, end(hn::Load(d, x))), d16, c, n);
      });
    });
  }
};

void run_gemm_bf16(const GemmCall& call, int64_t row_begin, int64_t row_end, int64_t panel_begin,
                   int64_t panel_end) {
  run_tiles<Bf16Tile>(call, row_begin, row_end, panel_begin, panel_end);
}
#else
void run_gemm_bf16(const GemmCall&, int64_t, int64_t, int64_t, int64_t) {}
#endif

bool has_gemm_bf16() { return HWY_NATIVE_DOT_BF16; }
GemmTarget gemm_bf16_target() {
  return {static_cast<int64_t>(HWY_LANES(float)), kPanelVectors, run_gemm_bf16, nullptr};
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
HWY_EXPORT(has_gemm_bf16);
HWY_EXPORT(gemm_bf16_target);
bool has_gemm_bf16() { return HWY_DYNAMIC_DISPATCH(has_gemm_bf16)(); }
GemmTarget gemm_bf16_target() { return HWY_DYNAMIC_DISPATCH(gemm_bf16_target)(); }
}  // namespace octavo::kernels
#endif
