#include "runtime/kernels/gemm.h"

#include <algorithm>

namespace octavo::kernels {

void layout_panels(const GemmTarget& target, PackedWeights& packed) {
  packed.lanes = target.lanes;
  packed.panels.clear();
  int64_t column = 0;
  int64_t offset = 0;
  while (column < packed.columns) {
    // 1, 2 or 4 vectors; three would make the narrowing of the int8 kernels irregular.
    const int64_t left = (packed.columns - column + packed.lanes - 1) / packed.lanes;
    int64_t vectors = target.panel_vectors;
    while (vectors > left) vectors /= 2;
    packed.panels.push_back({column, vectors, offset});
    column += vectors * packed.lanes;
    offset += packed.segments * packed.steps * vectors * packed.lanes * 4;
  }
  packed.data.assign(static_cast<size_t>(offset), std::byte{0});
  const auto positions = static_cast<size_t>(column);
  packed.start.assign(positions, 0);
  packed.multiplier.assign(positions, 0);
  packed.bias.assign(positions, 0);
}

void fill_start(PackedWeights& packed, int32_t zero_point) {
  for (const Panel& panel : packed.panels) {
    const auto* data = reinterpret_cast<const int8_t*>(packed.data.data() + panel.offset);
    const int64_t width = panel.vectors * packed.lanes;
    const int64_t steps = packed.segments * packed.steps;
    for (int64_t i = 0; i < width; ++i) {
      uint32_t sum = 0;  // wraps, as the accumulators do
      for (int64_t k = 0; k < steps; ++k) {
        for (int64_t b = 0; b < kInt8Step; ++b) {
          sum += static_cast<uint32_t>(data[(k * width + i) * kInt8Step + b]);
        }
      }
      packed.start[static_cast<size_t>(panel.column + i)] =
          static_cast<int32_t>(0 - sum * static_cast<uint32_t>(zero_point));
    }
  }
}

void fill_requantize(PackedWeights& packed, const Requantize& requantize, int64_t first) {
  for_each_column(packed, [&](int64_t position, int64_t column) {
    const auto to = static_cast<size_t>(position);
    const auto from = static_cast<size_t>(first + column);
    packed.multiplier[to] = requantize.multiplier[from];
    packed.bias[to] = requantize.bias[from];
  });
}

void set_requantize(GemmCall& call, const Requantize& requantize, DType y, int64_t terms) {
  call.output = y == DType::kF32  ? GemmOutput::kF32
                : y == DType::kU8 ? GemmOutput::kU8
                                  : GemmOutput::kI8;
  call.lo = requantize.lo;
  call.hi = requantize.hi;
  call.zero_point = requantize.zero_point;
  call.ending = requantize_ending(requantize, y, terms);
}

void run_gemm(const GemmTarget& target, const GemmCall& call, ThreadPool* pool) {
  const auto run = call.int8 ? target.run_int8 : target.run_f32;
  const auto panels = static_cast<int64_t>(call.b->panels.size());
  if (pool == nullptr || pool->thread_count() <= 1) {
    run(call, 0, call.rows, 0, panels);
    return;
  }
  // Blocks of rows where there are enough of them, single panels otherwise (few rows: late layers
  // and matrix-vector products).
  constexpr int64_t kRows = 48;
  const int64_t blocks = (call.rows + kRows - 1) / kRows;
  const bool by_panel = blocks < 2 * pool->thread_count();
  const int64_t groups = by_panel ? panels : 1;
  const int64_t macs =
      std::min(call.rows, kRows) * call.b->columns * call.b->segments * call.b->steps / groups;
  const int64_t grain = std::max<int64_t>(1, 100'000 / std::max<int64_t>(macs, 1));
  parallel_for(pool, blocks * groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = item / groups * kRows;
      const int64_t row_end = std::min(row + kRows, call.rows);
      if (by_panel) {
        run(call, row, row_end, item % groups, item % groups + 1);
      } else {
        run(call, row, row_end, 0, panels);
      }
    }
  });
}

}  // namespace octavo::kernels
