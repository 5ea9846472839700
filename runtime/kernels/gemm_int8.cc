// The int8 tile of the packed matrix product. A step multiplies four bytes of A with four of each
// column of B (vpdpbusd, relaxed dot products) into exact int32 sums; without such an instruction,
// two int16 with two.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/gemm_int8.cc"
#include <array>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// What is left of a row, of the last panel.
template <class D8>
HWY_NOINLINE void store_left(D8 d8, hn::Vec<D8> v, uint8_t* to, int64_t left) {
  if constexpr (kSmallCode) {
    HWY_ALIGN uint8_t bytes[hn::MaxLanes(d8)];
    hn::Store(v, d8, bytes);
    for (int64_t i = 0; i < left; ++i) to[i] = bytes[i];
  } else {
    hn::StoreN(v, d8, to, static_cast<size_t>(left));
  }
}

// Writes `count` rows of sums to the output: kVectors vectors of 8-bit outputs each.
template <int kVectors, RequantizeEnding kEnding, bool kResidual>
HWY_NOINLINE void store_8bit(const GemmCall& call, const Panel& panel, const int32_t* acc,
                             int64_t row, int64_t count) {
  const hn::ScalableTag<float> df;
  const hn::RebindToSigned<decltype(df)> d32;
  const hn::RebindToUnsigned<decltype(df)> du32;
  const hn::Repartition<uint16_t, decltype(df)> d16;
  // As many 8-bit lanes as the panel has columns.
  const hn::CappedTag<uint8_t, kVectors * HWY_LANES(float)> d8;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  constexpr int64_t kWidth = kVectors * kLanes;
  const PackedWeights& packed = *call.b;
  const RequantizeVectors<decltype(df), kEnding> requantize(df, call.zero_point, call.lo, call.hi);
  const ByteVectors<decltype(d8)> bytes(d8, call.bytes);
  hn::Vec<decltype(df)> multiplier[kVectors], bias[kVectors];
  unroll<kVectors>([&](auto j) OCTAVO_INLINE {
    multiplier[j] = hn::LoadU(df, packed.multiplier.data() + panel.column + j * kLanes);
    bias[j] = hn::LoadU(df, packed.bias.data() + panel.column + j * kLanes);
  });
  const int64_t left = packed.columns - panel.column;
  // Signed residuals have their sign bit flipped, which adds 128.
  const auto residual_zero =
      hn::Set(d32, call.residual_zero_point + (call.bytes.is_signed ? 128 : 0));
  const auto residual_scale = hn::Set(df, call.residual_scale);
  const auto* residual =
      reinterpret_cast<const uint8_t*>(call.residual) + row * call.residual_stride + panel.column;
  auto* to = reinterpret_cast<uint8_t*>(call.c) + row * call.c_stride + panel.column;

  for (int64_t r = 0; r < count; ++r, acc += kWidth) {
    hn::Vec<decltype(df)> y[kVectors];
    unroll<kVectors>([&](auto j) OCTAVO_INLINE {
      y[j] = requantize.scale(hn::LoadU(d32, acc + j * kLanes), multiplier[j], bias[j]);
    });
    if constexpr (kResidual) {
      const auto from = hn::Xor(left >= kWidth ? hn::LoadU(d8, residual)
                                               : hn::LoadN(d8, residual, static_cast<size_t>(left)),
                                bytes.flip);
      // Widened in the interleaved order of the sums: see panel_column().
      hn::Vec<decltype(du32)> wide[kVectors];
      if constexpr (kVectors == 1) {
        wide[0] = hn::PromoteTo(du32, from);
      } else if constexpr (kVectors == 2) {
        const auto half = hn::PromoteTo(d16, from);
        wide[0] = hn::BitCast(du32, hn::InterleaveLower(d16, half, half));
        wide[1] = hn::BitCast(du32, hn::InterleaveUpper(d16, half, half));
        unroll<2>([&](auto j) OCTAVO_INLINE { wide[j] = hn::ShiftRight<16>(wide[j]); });
      } else {
        const auto low = hn::BitCast(d16, hn::InterleaveLower(d8, from, from));
        const auto high = hn::BitCast(d16, hn::InterleaveUpper(d8, from, from));
        wide[0] = hn::BitCast(du32, hn::InterleaveLower(d16, low, low));
        wide[1] = hn::BitCast(du32, hn::InterleaveUpper(d16, low, low));
        wide[2] = hn::BitCast(du32, hn::InterleaveLower(d16, high, high));
        wide[3] = hn::BitCast(du32, hn::InterleaveUpper(d16, high, high));
        unroll<4>([&](auto j) OCTAVO_INLINE { wide[j] = hn::ShiftRight<24>(wide[j]); });
      }
      unroll<kVectors>([&](auto j) OCTAVO_INLINE {
        const auto real = hn::ConvertTo(df, hn::Sub(hn::BitCast(d32, wide[j]), residual_zero));
        y[j] = hn::Add(y[j], hn::Mul(real, residual_scale));
      });
      residual += call.residual_stride;
    }
    hn::Vec<decltype(d32)> rounded[kVectors];
    unroll<kVectors>([&](auto j) OCTAVO_INLINE { rounded[j] = requantize.round(y[j]); });
    const auto q = look_up(d8, bytes.narrow(rounded), call.table);
    if (left >= kWidth) {
      hn::StoreU(q, d8, to);
    } else {
      store_left(d8, q, to, left);
    }
    to += call.c_stride;
  }
}

template <int kVectors>
HWY_INLINE void choose_store(const GemmCall& call, const Panel& panel, const int32_t* acc,
                             int64_t row, int64_t count) {
  using enum RequantizeEnding;
  if (call.residual != nullptr) {
    return store_8bit<kVectors, kFull, true>(call, panel, acc, row, count);
  }
  switch (call.ending) {
    case kFull: return store_8bit<kVectors, kFull, false>(call, panel, acc, row, count);
    case kSmall: return store_8bit<kVectors, kSmall, false>(call, panel, acc, row, count);
    case kPlain: return store_8bit<kVectors, kPlain, false>(call, panel, acc, row, count);
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
      const auto y = requantize.finish(
          requantize.scale(hn::LoadU(d32, acc), hn::LoadU(df, packed.multiplier.data() + position),
                           hn::LoadU(df, packed.bias.data() + position)));
      const int64_t left = packed.columns - position;
      if (left >= kLanes) {
        hn::StoreU(y, df, to + j * kLanes);
      } else if (left > 0) {
        hn::StoreN(y, df, to + j * kLanes, static_cast<size_t>(left));
      }
    }
  }
}

// What a word of A meets a vector of B with.
struct Int8Product {
  using Word = int32_t;
  static constexpr bool kHalves = false;
  static const int32_t* start(const PackedWeights& packed) { return packed.start.data(); }
};
struct Dot4 : Int8Product {
  static constexpr int max_rows(int vectors) {
    if (kHas32Registers) return vectors == 4 ? 6 : 12;
    if (vectors == 4) return 3;
    if (kHasDot4) return vectors == 2 ? 6 : 8;
    return vectors == 2 ? 4 : 6;
  }
  template <class DI>
  static HWY_INLINE hn::Vec<DI> accumulate(DI d32, hn::Vec<DI> a, hn::Vec<DI> b, hn::Vec<DI> sums) {
    return dot4(d32, hn::BitCast(hn::Repartition<uint8_t, DI>(), a),
                hn::BitCast(hn::Repartition<int8_t, DI>(), b), sums);
  }
};
struct Dot2 : Int8Product {
  static constexpr int max_rows(int vectors) {
    if (kHas32Registers) return vectors == 4 ? 6 : 12;
    if (vectors == 4) return 3;
    return vectors == 2 ? 4 : 8;  // the products need registers too
  }
  template <class DI>
  static HWY_INLINE hn::Vec<DI> accumulate(DI d32, hn::Vec<DI> a, hn::Vec<DI> b, hn::Vec<DI> sums) {
    const hn::Repartition<int16_t, DI> d16;
    return dot2(d32, hn::BitCast(d16, a), hn::BitCast(d16, b), sums);
  }
};

// Whether a tile is ended in its registers: where code need not be small, without the rare endings.
HWY_INLINE bool ends_in_registers(const GemmCall& call) {
  return !HWY_ARCH_WASM && call.output != GemmOutput::kF32 && call.residual == nullptr &&
         call.ending != RequantizeEnding::kFull;
}

// Four vectors of 16 sums, of 4 / kVectors rows, were narrowed: within each 128-bit block, four
// bytes of each. Puts the bytes of each row side by side.
template <int kVectors, class D8>
HWY_INLINE hn::Vec<D8> in_rows(D8 d8, hn::Vec<D8> v) {
  using T = std::conditional_t<kVectors == 1, uint32_t, uint64_t>;
  const hn::Repartition<T, D8> d;
  static constexpr auto kOrder = [] {
    std::array<T, 16 / kVectors> order{};
    for (T i = 0; i < order.size(); ++i) order[i] = i % 4 * (4 / kVectors) + i / 4;
    return order;
  }();
  return hn::BitCast(
      d8, hn::TableLookupLanes(hn::BitCast(d, v), hn::SetTableIndices(d, kOrder.data())));
}

// store_8bit() of sums in registers.
template <RequantizeEnding kEnding, int kRows, int kVectors, class V>
HWY_INLINE void store_sums(const GemmCall& call, const Panel& panel, V (&acc)[kRows][kVectors],
                           int64_t row, int64_t count) {
  const hn::ScalableTag<float> df;
  const hn::CappedTag<uint8_t, kVectors * HWY_LANES(float)> d8;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  const PackedWeights& packed = *call.b;
  const RequantizeVectors<decltype(df), kEnding> requantize(df, call.zero_point, call.lo, call.hi);
  unroll<kVectors>([&](auto j) OCTAVO_INLINE {
    const auto multiplier = hn::LoadU(df, packed.multiplier.data() + panel.column + j * kLanes);
    const auto bias = hn::LoadU(df, packed.bias.data() + panel.column + j * kLanes);
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      acc[r][j] = requantize.round(requantize.scale(acc[r][j], multiplier, bias));
    });
  });
  const auto left = static_cast<size_t>(packed.columns - panel.column);
  auto* to = reinterpret_cast<uint8_t*>(call.c) + row * call.c_stride + panel.column;
  const auto put = [&](int r, auto bytes_of_row) OCTAVO_INLINE {
    if (r < count) store(bytes_of_row, d8, to + r * call.c_stride, left);
  };
  if constexpr (kVectors < 4 && kLanes == 16) {
    // Narrows four vectors at once, of several rows.
    const hn::Repartition<uint8_t, decltype(df)> d;
    const ByteVectors<decltype(d)> bytes(d, call.bytes);
    constexpr int kGroup = 4 / kVectors;
    unroll<(kRows + kGroup - 1) / kGroup>([&](auto g) OCTAVO_INLINE {
      constexpr int kFirst = decltype(g)::value * kGroup;
      V four[4];
      unroll<4>([&](auto i) OCTAVO_INLINE {
        four[i] = acc[std::min(kFirst + i / kVectors, kRows - 1)][i % kVectors];
      });
      const auto q =
          look_up(d, in_rows<kVectors>(d, bytes.template narrow<kEnding>(four)), call.table);
      unroll<kGroup>([&](auto i) OCTAVO_INLINE {
        constexpr int kPart = decltype(i)::value, kRow = kFirst + kPart;
        if constexpr (kRow >= kRows) {
          return;
        } else if constexpr (kVectors == 1) {
          put(kRow, hn::ExtractBlock<kPart>(q));
        } else {
          put(kRow, kPart == 0 ? hn::LowerHalf(d8, q) : hn::UpperHalf(d8, q));
        }
      });
    });
  } else {
    const ByteVectors<decltype(d8)> bytes(d8, call.bytes);
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      put(r, look_up(d8, bytes.template narrow<kEnding>(acc[r]), call.table));
    });
  }
}

template <class Dot>
struct Int8Tile {
  static constexpr int max_rows(int vectors) { return Dot::max_rows(vectors); }

  // Sums go through memory, so that the many endings need not be compiled for every tile height;
  // the stores hide behind the arithmetic of the ending.
  using Sum = int32_t;
  template <int kVectors, int64_t kRows>
  struct Sums : StoredSums<Sum, kVectors, kRows> {
    HWY_INLINE void finish(const GemmCall& call, const Panel& panel, int64_t row,
                           int64_t count) const {
      if (ends_in_registers(call)) return;
      if (call.output == GemmOutput::kF32) {
        store_f32<kVectors>(call, panel, this->data, row, count);
      } else {
        choose_store<kVectors>(call, panel, this->data, row, count);
      }
    }
  };

  template <int kRows, int kVectors, int kSums>
  static HWY_NOINLINE void run(const GemmCall& call, const Panel& panel,
                               const std::byte* const* rows, int64_t row, int64_t count,
                               int32_t* to) {
    for_each_part<kVectors>(panel, [&](int64_t first) OCTAVO_INLINE {
      run_part<kRows, kVectors, kSums>(call, panel, first, rows, row, count, to);
    });
  }

 private:
  template <int kRows, int kVectors, int kSums>
  static HWY_INLINE void run_part(const GemmCall& call, const Panel& panel, int64_t first,
                                  const std::byte* const* rows, int64_t row, int64_t count,
                                  int32_t* to) {
    const hn::ScalableTag<int32_t> d32;
    constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(int32_t));
    const int64_t width = panel_width<kVectors>(panel) * kLanes;
    hn::Vec<decltype(d32)> sums[kSums][kRows][kVectors];
    sum_tile<Dot>(call, panel, first, rows, row, sums);
    auto& acc = sums[0];
    if (ends_in_registers(call)) {
      using enum RequantizeEnding;
      if (call.ending == kSmall) return store_sums<kSmall>(call, panel, acc, row, count);
      return store_sums<kPlain>(call, panel, acc, row, count);
    }
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      unroll<kVectors>([&](auto j) OCTAVO_INLINE {
        hn::Store(acc[r][j], d32, to + r * width + (first + j) * kLanes);
      });
    });
  }
};

#ifdef __wasm_relaxed_simd__
// WebAssembly leaves it to the engine whether it takes the second operand for signed, and whether
// pairs of products saturate in 16 bits: one look at extreme values tells.
Int8Input probe_int8_input() {
  const hn::ScalableTag<int32_t> d32;
  const hn::ScalableTag<uint8_t> du8;
  const hn::ScalableTag<int8_t> di8;
  const auto sum = [&](int w, int x) {
    volatile int opaque = w;  // not to be computed by the compiler
    const auto b = hn::Set(di8, static_cast<int8_t>(opaque));
    return hn::GetLane(dot4(d32, hn::Set(du8, static_cast<uint8_t>(x)), b, hn::Zero(d32)));
  };
  const auto exact = [&](int lo, int hi) {
    for (const int w : {-128, 127}) {
      for (const int x : {lo, hi}) {
        if (sum(w, x) != 4 * w * x) return false;
      }
    }
    return true;
  };
  if (exact(0, 255)) return Int8Input::kUnsigned;
  return exact(-128, 127) ? Int8Input::kSigned : Int8Input::kNone;
}
Int8Input int8_input() {
  static const Int8Input input = probe_int8_input();
  return input;
}
#else
Int8Input int8_input() { return kHasDot4 ? Int8Input::kUnsigned : Int8Input::kWide; }
#endif

void run_gemm_int8(const GemmCall& call, int64_t row_begin, int64_t row_end, int64_t panel_begin,
                   int64_t panel_end) {
  using Dot = std::conditional_t<kHasDot4, Dot4, Dot2>;
  run_tiles<Int8Tile<Dot>>(call, row_begin, row_end, panel_begin, panel_end);
}

int64_t gemm_lanes() { return static_cast<int64_t>(HWY_LANES(float)); }
int64_t gemm_panel_vectors() { return kPanelVectors; }
bool gemm_looks_up() { return kLooksUp; }

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
HWY_EXPORT(run_gemm_int8);
HWY_EXPORT(gemm_lanes);
HWY_EXPORT(gemm_panel_vectors);
HWY_EXPORT(gemm_looks_up);
HWY_EXPORT(int8_input);

GemmTarget gemm_target() {
  return {HWY_DYNAMIC_DISPATCH(gemm_lanes)(), HWY_DYNAMIC_DISPATCH(gemm_panel_vectors)(),
          gemm_f32_target(), HWY_DYNAMIC_POINTER(run_gemm_int8),
          HWY_DYNAMIC_DISPATCH(gemm_looks_up)()};
}
Int8Input int8_input() { return HWY_DYNAMIC_DISPATCH(int8_input)(); }
}  // namespace octavo::kernels
#endif
