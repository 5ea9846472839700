// The loops around the tiles of the packed matrix product, for every SIMD target.
#if defined(OCTAVO_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OCTAVO_GEMM_INL_H_
#undef OCTAVO_GEMM_INL_H_
#else
#define OCTAVO_GEMM_INL_H_
#endif

#include <algorithm>

#include "runtime/kernels/gemm.h"
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

inline constexpr int kPanelVectors = kHas32Registers || kRelaxedSimd ? 4 : 2;

// WebAssembly, in Chromium: tiles of 3 rows by 4 vectors do not fit in the 15 registers that V8
// has, so that panels of four vectors are run by halves; and unrolled loops are slower. 6 x 2: 66
// GOPS in float, 266 in int8; unrolled by four 57 and 230; 3 x 4 48 and 200 (an EPYC with AVX-512).
inline constexpr int kMaxTileVectors = HWY_ARCH_WASM ? 2 : kPanelVectors;
inline constexpr int kUnroll = HWY_ARCH_WASM ? 1 : 4;

inline constexpr bool kHasTails = kLooksUp;

// Heights of compiled tiles: every one up to 6, else 1, 2, 4, 6 and so on; with small code only
// those of more than a half (many rows are split into tiles of nearly the same height).
constexpr int first_height(int max) { return kSmallCode ? max / 2 + 1 : 1; }
constexpr int next_height(int rows, int max) {
  if (kSmallCode) return max <= 6 ? rows + 1 : max;
  return std::min(rows + (max <= 6 || rows < 2 ? 1 : 2), max);
}

// Calls fn(first) for the tiles of kVectors vectors that a panel consists of.
template <int kVectors, class Fn>
HWY_INLINE void for_each_part(const Panel& panel, const Fn& fn) {
  if constexpr (kMaxTileVectors == kPanelVectors) return fn(0);
  for (int64_t first = 0; first < panel.vectors; first += kVectors) fn(first);
}
// Vectors of a panel that has tiles of kVectors.
template <int kVectors>
HWY_INLINE int64_t panel_width(const Panel& panel) {
  return kMaxTileVectors == kPanelVectors ? kVectors : panel.vectors;
}

// Sums that a column of the only row of a product has. Each waits four cycles for its last
// multiply-add, of which most processors start two in a cycle.
constexpr int row_sums(int vectors) { return vectors == 1 ? 4 : 8 / vectors; }

// Adds the sums of each column up, in sums[0].
template <int kSums, int kRows, int kVectors, class V>
HWY_INLINE void add_up(V (&sums)[kSums][kRows][kVectors]) {
  unroll<kSums - 1>([&](auto i) OCTAVO_INLINE {
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      unroll<kVectors>(
          [&](auto j) OCTAVO_INLINE { sums[0][r][j] = hn::Add(sums[0][r][j], sums[i + 1][r][j]); });
    });
  });
}

// Of tiles whose sums go through memory: row by row, in the order of a panel's positions.
template <class T, int kVectors, int64_t kRows>
struct StoredSums {
  static constexpr int64_t kWidth = kVectors * static_cast<int64_t>(HWY_LANES(float));
  alignas(64) T data[kRows * kWidth];
  T* at(int64_t row) { return data + row * kWidth; }
};

// Runs the smallest compiled tile that holds `count` rows; what is too many repeats the last row.
template <class Tile, int kVectors, int kRows = first_height(Tile::max_rows(kVectors))>
HWY_INLINE void run_tile(const GemmCall& call, const Panel& panel, const std::byte* const* rows,
                         int64_t row, int64_t count, typename Tile::Sum* sums) {
  constexpr int kMax = Tile::max_rows(kVectors);
  if constexpr (kRows < kMax) {
    if (count > kRows) {
      constexpr int kNext = next_height(kRows, kMax);
      return run_tile<Tile, kVectors, kNext>(call, panel, rows, row, count, sums);
    }
  }
  Tile::template run<kRows, kVectors, 1>(call, panel, rows, row, count, sums);
}

// Calls step(a, i, sum) for the words i of each segment of A, where a[r] + i is row r's, and of the
// tail. `sum`: which of kSums the word belongs to, a constant; HalfWord if only its first half
// does.
struct HalfWord : std::integral_constant<int, 0> {};
template <bool kHalves, int kRows, int kSums, class Step>
HWY_INLINE void for_each_step(const GemmCall& call, const std::byte* const* rows,
                              [[maybe_unused]] int64_t row, const Step& step) {
  const PackedWeights& packed = *call.b;
  const auto steps =
      static_cast<ptrdiff_t>(packed.steps - (kHalves && packed.ends_with_half ? 1 : 0));
  for (int64_t s = 0; s < packed.segments; ++s) {
    // Loaded again for each segment: as pointers that are kept, more of them than there are general
    // registers, GCC moves them through vector registers, where they wait for the sums.
    asm("" : "+r"(rows));
    const int32_t* a[kRows];
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      a[r] = reinterpret_cast<const int32_t*>(rows[r] + call.a.offsets[s]);
    });
    constexpr int kTogether = std::max(kSums, kUnroll);
    ptrdiff_t k = 0;
    for (; k + kTogether <= steps; k += kTogether) {
      unroll<kTogether>([&](auto i) OCTAVO_INLINE {
        step(a, k + i, std::integral_constant<int, decltype(i)::value % kSums>());
      });
    }
    if constexpr (kTogether > 1) {
      for (; k < steps; ++k) step(a, k, std::integral_constant<int, 0>());
    }
    if constexpr (kHalves) {
      if (packed.ends_with_half) step(a, steps, HalfWord());
    }
  }
  if constexpr (kHasTails) {
    if (call.a.tails == nullptr) return;
    const auto count = static_cast<ptrdiff_t>(packed.tail_steps());
    const auto* tail = reinterpret_cast<const int32_t*>(call.a.tails) + row * count;
    const int32_t* a[kRows];
    unroll<kRows>([&](auto r) OCTAVO_INLINE { a[r] = tail + r * count; });
    for (ptrdiff_t k = 0; k < count; ++k) step(a, k, std::integral_constant<int, 0>());
  }
}

// The sums of a tile of kRows rows and of kVectors vectors of the panel, from the `first` on, in
// sums[0]. Product has Word, the type of a step's word of A and of its lanes of B; kHalves, whether
// a segment may end with half a word; start(), what the sums of the panels' positions begin with;
// and accumulate(d, x, w, sums).
template <class Product, int kRows, int kVectors, int kSums, class V>
HWY_INLINE void sum_tile(const GemmCall& call, const Panel& panel, int64_t first,
                         const std::byte* const* rows, int64_t row,
                         V (&sums)[kSums][kRows][kVectors]) {
  using Word = typename Product::Word;
  const hn::DFromV<V> d;
  const hn::Rebind<Word, decltype(d)> d_word;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  const PackedWeights& packed = *call.b;
  const int64_t width = panel_width<kVectors>(panel) * kLanes;
  unroll<kVectors>([&](auto j) OCTAVO_INLINE {
    const V start = hn::LoadU(d, Product::start(packed) + panel.column + (first + j) * kLanes);
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      unroll<kSums>([&](auto i) OCTAVO_INLINE { sums[i][r][j] = i == 0 ? start : hn::Zero(d); });
    });
  });
  const auto* b = reinterpret_cast<const Word*>(packed.data.data() + panel.offset) + first * kLanes;
  const auto step = [&](const int32_t* const* a, ptrdiff_t k, auto i) OCTAVO_INLINE {
    hn::Vec<decltype(d_word)> w[kVectors];
    unroll<kVectors>([&](auto j) OCTAVO_INLINE { w[j] = hn::LoadU(d_word, b + j * kLanes); });
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      Word word;
      if constexpr (std::is_same_v<decltype(i), HalfWord>) {
        uint16_t half;
        std::memcpy(&half, a[r] + k, sizeof(half));
        word = static_cast<Word>(half);
      } else {
        std::memcpy(&word, a[r] + k, sizeof(word));
      }
      const auto x = hn::Set(d_word, word);
      unroll<kVectors>([&](auto j) OCTAVO_INLINE {
        sums[i][r][j] = Product::accumulate(d, x, w[j], sums[i][r][j]);
      });
    });
    b += width;
  };
  for_each_step<Product::kHalves, kRows, kSums>(call, rows, row, step);
  add_up(sums);
}

// Rows whose A stays in L2 while a panel of B, read by all of them, stays in L1.
inline constexpr int64_t kBlock = 96;

template <class Tile, int kVectors>
HWY_INLINE void run_panel(const GemmCall& call, const Panel& panel, const std::byte* const* rows,
                          int64_t row, int64_t count) {
  // Tiles of even height: 49 rows are run as 9 tiles of 5 or 6, not 8 of 6 and a slow one of 1.
  constexpr int kTileVectors = std::min(kVectors, kMaxTileVectors);
  constexpr int64_t kMax = Tile::max_rows(kTileVectors);
  const int64_t tiles = (count + kMax - 1) / kMax;
  const int64_t least = count / tiles, larger = count % tiles;
  // Ended tile by tile, or a block at a time where a vector is small and every constant of the
  // ending takes instructions to load.
  constexpr bool kTogether = HWY_ARCH_WASM;
  typename Tile::template Sums<kVectors, kTogether ? kBlock + kGemmSlack : kMax> sums;
  if (call.rows == 1) {
    Tile::template run<1, kVectors, row_sums(kVectors)>(call, panel, rows, row, 1, sums.at(0));
    return sums.finish(call, panel, row, 1);
  }
  for (int64_t t = 0, first = 0; t < tiles; ++t) {
    const int64_t height = least + (t < larger ? 1 : 0);
    run_tile<Tile, kTileVectors>(call, panel, rows + first, row + first, height,
                                 sums.at(kTogether ? first : 0));
    if (!kTogether) sums.finish(call, panel, row + first, height);
    first += height;
  }
  if (kTogether) sums.finish(call, panel, row, count);
}

template <class Tile>
HWY_INLINE void run_tiles(const GemmCall& call, int64_t row_begin, int64_t row_end,
                          int64_t panel_begin, int64_t panel_end) {
  const std::byte* rows[kBlock + kGemmSlack];
  // Rows' addresses are written by vectors, the last of which may end behind an image row's last.
  constexpr bool kByElement = kSmallCode || sizeof(void*) != sizeof(uint64_t);
  const hn::ScalableTag<uint64_t> d;
  constexpr int64_t kLanes = HWY_LANES(uint64_t);
  static_assert(kLanes <= kGemmSlack);
  const auto step = static_cast<uint64_t>(call.a.column_step);
  HWY_ALIGN uint64_t first[kLanes];
  for (uint64_t j = 0; j < kLanes; ++j) first[j] = j * step;
  [[maybe_unused]] const auto offsets = hn::Load(d, first);
  for (int64_t begin = row_begin; begin < row_end; begin += kBlock) {
    const int64_t count = std::min(kBlock, row_end - begin);
    int64_t y = begin / call.a.width;
    int64_t x = begin % call.a.width;
    for (int64_t i = 0; i < count; x = 0, ++y) {
      const auto* pixel = call.a.base + y * call.a.row_step + x * call.a.column_step;
      const int64_t end = std::min(count, i + call.a.width - x);
      if constexpr (kByElement) {
        for (; i < end; ++i, pixel += call.a.column_step) rows[i] = pixel;
        continue;
      }
      auto addresses = hn::Add(hn::Set(d, reinterpret_cast<uint64_t>(pixel)), offsets);
      for (; i < end; i += kLanes) {
        hn::StoreU(addresses, d, reinterpret_cast<uint64_t*>(rows + i));
        addresses = hn::Add(addresses, hn::Set(d, kLanes * step));
      }
      i = end;
    }
    for (int64_t i = count; i < count + kGemmSlack; ++i) rows[i] = rows[count - 1];
    for (int64_t p = panel_begin; p < panel_end; ++p) {
      const Panel& panel = call.b->panels[static_cast<size_t>(p)];
      if (panel.vectors == 1) {
        run_panel<Tile, 1>(call, panel, rows, begin, count);
      } else if (panel.vectors == 2) {
        run_panel<Tile, 2>(call, panel, rows, begin, count);
      } else if constexpr (kPanelVectors == 4) {
        run_panel<Tile, 4>(call, panel, rows, begin, count);
      }
    }
  }
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
