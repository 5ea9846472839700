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

// Heights of compiled tiles: every one up to 6, else 1, 2, 4, 6 and so on, as always in
// WebAssembly, where every kilobyte is downloaded.
constexpr int next_height(int rows, int max) {
  const bool all = max <= 6 && !HWY_ARCH_WASM;
  return std::min(rows + (all || rows < 2 ? 1 : 2), max);
}

// Runs the smallest compiled tile that holds `count` rows; what is too many repeats the last row.
template <class Tile, int kVectors, int kRows = 1>
HWY_INLINE void run_tile(const GemmCall& call, const Panel& panel, const std::byte* const* rows,
                         int64_t row, int64_t count) {
  constexpr int kMax = Tile::max_rows(kVectors);
  if constexpr (kRows < kMax) {
    if (count > kRows) {
      return run_tile<Tile, kVectors, next_height(kRows, kMax)>(call, panel, rows, row, count);
    }
  }
  Tile::template run<kRows, kVectors>(call, panel, rows, row, count);
}

template <class Tile, int kVectors>
HWY_INLINE void run_panel(const GemmCall& call, const Panel& panel, const std::byte* const* rows,
                          int64_t row, int64_t count) {
  // Tiles of even height: 49 rows are run as 9 tiles of 5 or 6, not 8 of 6 and a slow one of 1.
  constexpr int64_t kMax = Tile::max_rows(kVectors);
  const int64_t tiles = (count + kMax - 1) / kMax;
  const int64_t least = count / tiles, larger = count % tiles;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t height = least + (t < larger ? 1 : 0);
    run_tile<Tile, kVectors>(call, panel, rows, row, height);
    rows += height;
    row += height;
  }
}

template <class Tile>
HWY_INLINE void run_tiles(const GemmCall& call, int64_t row_begin, int64_t row_end,
                          int64_t panel_begin, int64_t panel_end) {
  // Rows whose A stays in L2 while a panel of B, read by all of them, stays in L1.
  constexpr int64_t kBlock = 96;
  constexpr int64_t kSlack = 12;  // tiles may read (not write) past the block's rows
  const std::byte* rows[kBlock + kSlack];
  for (int64_t begin = row_begin; begin < row_end; begin += kBlock) {
    const int64_t count = std::min(kBlock, row_end - begin);
    int64_t y = begin / call.a.width;
    int64_t x = begin % call.a.width;
    for (int64_t i = 0; i < count; ++i) {
      rows[i] = call.a.base + y * call.a.row_step + x * call.a.column_step;
      if (++x == call.a.width) {
        x = 0;
        ++y;
      }
    }
    for (int64_t i = count; i < count + kSlack; ++i) rows[i] = rows[count - 1];
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
