#include "runtime/kernels/gemm.h"

#include <algorithm>
#include <cstring>

#include "runtime/ceil_div.h"
#include "runtime/kernels/elementwise.h"

namespace octavo::kernels {

void layout_panels(const GemmTarget& target, PackedWeights& packed, PackingScope* packing) {
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
    offset += packed.words() * vectors * packed.lanes * 4;
  }
  uint64_t layout = packed.interleaved ? 1 : 0;
  for (const int64_t size :
       {packed.columns, packed.segments, packed.steps, packed.rest, packed.lanes}) {
    layout = mix(layout, static_cast<uint64_t>(size));
  }
  layout = mix(layout, static_cast<uint64_t>(target.panel_vectors));
  layout = mix(layout, static_cast<uint64_t>(int8_input()));
  packed.data.assign(static_cast<size_t>(offset), layout, packing);
  const auto positions = static_cast<size_t>(column);
  packed.start.assign(positions, 0);
  packed.multiplier.assign(positions, 0);
  packed.bias.assign(positions, 0);
}

Tails::Tails(std::vector<int64_t> rests, int64_t rest_bytes, int64_t step)
    : offsets(std::move(rests)), rest(rest_bytes), column_step(step) {
  const auto segments = static_cast<int64_t>(offsets.size());
  bytes = round_up(segments * rest, kWordBytes);
  for (int64_t begin = 0; begin < kPixels * bytes; begin += 64) {
    for (int64_t s = 0; s < segments; ++s) {
      for (int64_t b = begin; b < begin + 64; ++b) {
        const int64_t at = b % bytes - s * rest;
        const bool takes = at >= 0 && at < rest;
        order.push_back(takes ? static_cast<uint8_t>(b / bytes * column_step + at) : kNone);
      }
    }
  }
}

Int8Form::Int8Form(Int8Input input, DType x, int32_t x_zero_point)
    : wide(input == Int8Input::kWide), is_signed(x == DType::kI8) {
  if (wide) {
    offset_ = x_zero_point;
    return;
  }
  flip = is_signed != (input == Int8Input::kSigned);
  zero_point = x_zero_point;
  if (flip) zero_point += is_signed ? 128 : -128;
}

void Int8Form::convert(const std::byte* from, std::byte* to, int64_t count) const {
  if (wide) {
    auto* out = reinterpret_cast<int16_t*>(to);
    const auto widen = [&](const auto* in) {
      const auto offset = static_cast<int16_t>(offset_);
      for (int64_t i = 0; i < count; ++i) out[i] = static_cast<int16_t>(in[i] - offset);
    };
    return is_signed ? widen(reinterpret_cast<const int8_t*>(from))
                     : widen(reinterpret_cast<const uint8_t*>(from));
  }
  if (!flip) {
    std::memcpy(to, from, static_cast<size_t>(count));
    return;
  }
  for (int64_t i = 0; i < count; ++i) to[i] = from[i] ^ std::byte{0x80};
}

void Int8Form::fill_zero(std::byte* to, int64_t count) const {
  std::memset(to, wide ? 0 : zero_point, static_cast<size_t>(count * element_bytes()));
}

void pack_f32(PackedWeights& packed, const float* b, bool transposed, float alpha) {
  if (packed.data.is_filled()) return;
  const int64_t k = packed.steps, n = packed.columns;
  if (transposed || alpha != 1) {
    pack_columns<float>(
        packed, k,
        [&](int64_t, int64_t column) {
          return transposed ? WeightStrip<float>{b + column * k, k, 1}
                            : WeightStrip<float>{b + column, k, n};
        },
        [&](float value) { return alpha * value; });
    return;
  }
  for (const Panel& panel : packed.panels) {
    auto* to = reinterpret_cast<float*>(packed.data.data() + panel.offset);
    const int64_t width = panel.vectors * packed.lanes;
    const auto count = static_cast<size_t>(std::min(width, n - panel.column));
    for (int64_t row = 0; row < k; ++row) {
      std::memcpy(to + row * width, b + row * n + panel.column, count * sizeof(float));
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
  if (y != DType::kF32) call.bytes = byte_range(requantize, y);
}

namespace {

// Replaces results by their entries of the table.
void look_up(const GemmCall& call, int64_t row_begin, int64_t row_end, int64_t panel_begin,
             int64_t panel_end) {
  const auto column = [&](int64_t panel) {
    const auto& panels = call.b->panels;
    const auto p = static_cast<size_t>(panel);
    return p < panels.size() ? panels[p].column : call.b->columns;
  };
  const int64_t width = column(panel_end) - column(panel_begin);
  auto* c = reinterpret_cast<uint8_t*>(call.c) + column(panel_begin);
  if (width == call.c_stride) {
    c += row_begin * width;
    return lookup_row(call.table, c, c, (row_end - row_begin) * width);
  }
  for (int64_t row = row_begin; row < row_end; ++row) {
    lookup_row(call.table, c + row * call.c_stride, c + row * call.c_stride, width);
  }
}

}  // namespace

void run_gemm(const GemmTarget& target, const GemmCall& call, ThreadPool* pool) {
  const bool looks_up = call.table != nullptr && !target.looks_up;
  const auto run = [&](int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end) {
    // In pieces if there is a table, which finds them in L1.
    const int64_t piece = looks_up ? 96 : row_end - row_begin;
    for (int64_t row = row_begin; row < row_end; row += piece) {
      const int64_t end = std::min(row + piece, row_end);
      (call.int8 ? target.run_int8 : target.run_float)(call, row, end, panel_begin, panel_end);
      if (looks_up) look_up(call, row, end, panel_begin, panel_end);
    }
  };
  const auto panels = static_cast<int64_t>(call.b->panels.size());
  const int64_t threads = pool == nullptr ? 1 : pool->thread_count();
  if (threads == 1) return run(0, call.rows, 0, panels);
  // Ranges of rows if they are long enough, else of panels (few rows: late layers and
  // matrix-vector products), of as few blocks of rows as give every thread some: each block reads
  // the panels again.
  constexpr int64_t kLeastRows = 24, kTileRows = 12, kLeastMacs = 100'000;
  const int64_t ranges = 4 * threads;
  const int64_t macs = std::max<int64_t>(1, call.rows * call.b->columns * call.b->words());
  const int64_t most = call.rows / kLeastRows;
  if (most >= ranges) {
    const int64_t tiles = ceil_div(call.rows, kTileRows);
    return parallel_for(pool, tiles, kLeastMacs * tiles / macs, [&](int64_t begin, int64_t end) {
      run(begin * kTileRows, std::min(end * kTileRows, call.rows), 0, panels);
    });
  }
  const int64_t blocks = std::clamp<int64_t>(most, 1, ceil_div(ranges, panels));
  const int64_t grain = kLeastMacs * blocks * panels / macs;
  parallel_for(pool, blocks * panels, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t block = begin / panels, first = block * panels;
      const int64_t stop = std::min(end, first + panels);
      run(call.rows * block / blocks, call.rows * (block + 1) / blocks, begin - first,
          stop - first);
      begin = stop;
    }
  });
}

}  // namespace octavo::kernels
