// Matrix products with packed constant weights: the one engine under convolution, MatMul and Gemm.
//
//   C[r][n] = epilogue(sum over k of A[r][k] * B[k][n])
//
// A is never copied into im2col form. A row of A is a list of equally long pieces of memory
// (`segments`), whose offsets from the row's start are the same for all rows: a convolution's
// output pixel reads, in an NHWC image, one contiguous piece for each kernel row. B is packed into
// panels of up to four vectors of columns, so that the inner loop reads it in order.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "runtime/kernels/aligned.h"
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/requantize_ending.h"
#include "runtime/parallel.h"
#include "runtime/quant.h"
#include "runtime/tensor.h"
#include "runtime/weight_cache.h"

namespace octavo::kernels {

/// What the int8 product of a SIMD target takes for A; B is int8. A step of its inner loop takes a
/// 32-bit word of A.
enum class Int8Input : uint8_t {
  kUnsigned,  // uint8, for four-byte dot products; int8 has its sign bit flipped, which adds 128
  kSigned,    // int8, for the engines of WebAssembly that take both operands of them for signed
  kWide,      // int16 without zero point, where there is no such instruction
  kNone,      // nothing: the engine's instruction is not exact, so that the references must do
};
inline constexpr int64_t kWordBytes = 4;

struct Panel {
  int64_t column;   // its first column
  int64_t vectors;  // 1, 2 or 4
  int64_t offset;   // in `data`, in bytes
};

/// Columns of B (and what belongs to each column) in the order of the kernel of one SIMD target.
struct PackedWeights {
  int64_t columns = 0;
  int64_t segments = 0;
  int64_t steps = 0;            // inner steps in a segment: 32-bit words of A
  int64_t rest = 0;             // bytes of each segment behind these: they make up the tails
  bool ends_with_half = false;  // bf16: the last word of a segment has one element, not two
  int64_t lanes = 0;            // 32-bit lanes in a vector
  bool interleaved = false;  // columns are permuted such that narrowing packs restore their order
  std::vector<Panel> panels;
  PackedBlock data;  // per panel: [words()][vectors * lanes], 32 bits each
  // By position in the panels (padded): in the order of the vectors' lanes.
  AlignedVector<int32_t> start;     // int8: -zero_point * sum of the column's weights
  AlignedVector<float> multiplier;  // int8
  AlignedVector<float> bias;

  int64_t positions() const { return static_cast<int64_t>(bias.size()); }
  int64_t tail_steps() const { return (segments * rest + 3) / 4; }
  int64_t words() const { return segments * steps + tail_steps(); }
};

/// Where the rows of A lie. Row r starts at base + (r / width) * row_step + (r % width) *
/// column_step.
struct GemmRows {
  const std::byte* base = nullptr;
  int64_t width = 1;
  int64_t row_step = 0, column_step = 0;  // bytes
  const int64_t* offsets = nullptr;       // bytes; one for each segment
  // Row by row, the rests of the segments side by side, filled up to words: 9 bytes of three
  // segments each, as pixels of three colours have them, are 7 words instead of 9.
  const std::byte* tails = nullptr;
};

enum class GemmOutput : uint8_t { kF32, kU8, kI8 };

inline constexpr bool kMayHaveTails = !kSmallCode;  // AVX-512 VBMI only
inline constexpr int64_t kGemmSlack = 12;  // rows that may be read, not used, behind the last one

struct GemmCall {
  GemmRows a;
  int64_t rows = 0;  // of the whole product; that of a single one has an order of sums of its own
  const PackedWeights* b = nullptr;
  bool int8 = false;  // else f32 or bf16, as the target
  GemmOutput output = GemmOutput::kF32;
  std::byte* c = nullptr;
  const std::byte* residual = nullptr;  // nullptr: none; of the output's dtype
  int64_t c_stride = 0;                 // bytes from row to row
  int64_t residual_stride = 0;
  float lo = 0, hi = 0, zero_point = 0;
  float residual_scale = 0;
  int32_t residual_zero_point = 0;
  RequantizeEnding ending = RequantizeEnding::kFull;  // without residual
  ByteRange bytes;
  const UnaryFunction* function = nullptr;  // of bf16 results, after the bounds; nullptr: none
  const uint8_t* table = nullptr;           // 8-bit results y become table[y]; nullptr: they stay
};

/// Computes rows [row_begin, row_end) of panels [panel_begin, panel_end).
using GemmRun = void (*)(const GemmCall& call, int64_t row_begin, int64_t row_end,
                         int64_t panel_begin, int64_t panel_end);

/// Functions of the SIMD target in use (HWY_DYNAMIC_DISPATCH). A PackedWeights is for the target it
/// was made on: keep the table with it.
struct GemmTarget {
  int64_t lanes;          // 32-bit lanes in a vector
  int64_t panel_vectors;  // vectors in a full panel
  GemmRun run_float;      // of f32, or of a target for bf16
  GemmRun run_int8;
  bool looks_up = false;  // run_int8 ends with the call's table, which run_gemm() does elsewhere
};
GemmTarget gemm_target();
GemmRun gemm_f32_target();
/// Whether the processor multiplies bf16 numbers itself: without that the target must not be used.
bool has_gemm_bf16();
GemmTarget gemm_bf16_target();
Int8Input int8_input();

/// How an 8-bit tensor becomes A.
struct Int8Form {
  Int8Form(Int8Input input, DType x, int32_t x_zero_point);
  bool wide = false;
  bool is_signed = false;  // the tensor
  bool flip = false;       // the sign bits of its bytes are flipped
  int32_t zero_point = 0;  // of A
  int64_t element_bytes() const { return wide ? 2 : 1; }
  /// Whether the tensor's own bytes are A.
  bool in_place() const { return !wide && !flip; }
  /// Writes `count` elements of A.
  void convert(const std::byte* from, std::byte* to, int64_t count) const;
  /// Writes `count` zeros, as A represents them.
  void fill_zero(std::byte* to, int64_t count) const;

 private:
  int32_t offset_ = 0;  // what is taken from the tensor's elements
};

/// Splits columns into panels and sizes the arrays of `packed`; columns, segments, steps and
/// interleaved are set by the caller. `packing`: of the plan's graph; nullptr: B is not constant,
/// or takes longer to read than to pack.
void layout_panels(const GemmTarget& target, PackedWeights& packed, PackingScope* packing);

/// The column that a lane of a panel holds, relative to the panel's first.
inline int64_t panel_column(const PackedWeights& packed, const Panel& panel, int64_t vector,
                            int64_t lane) {
  // Narrowing two vectors interleaves their 128-bit blocks (four lanes of 32 bits).
  return packed.interleaved ? lane / 4 * 4 * panel.vectors + 4 * vector + lane % 4
                            : vector * packed.lanes + lane;
}

/// Calls fn(position, column) for every column of B: `position` indexes start, multiplier and bias.
template <class Fn>
void for_each_column(const PackedWeights& packed, const Fn& fn) {
  for (const Panel& panel : packed.panels) {
    for (int64_t v = 0; v < panel.vectors; ++v) {
      for (int64_t lane = 0; lane < packed.lanes; ++lane) {
        const int64_t column = panel.column + panel_column(packed, panel, v, lane);
        if (column < packed.columns) fn(panel.column + v * packed.lanes + lane, column);
      }
    }
  }
}

/// How the tails of pixels are collected from the segments' rests.
struct Tails {
  Tails() = default;
  /// `offsets`: of the rests, of `rest` bytes, from a pixel; pixels are `column_step` apart.
  Tails(std::vector<int64_t> offsets, int64_t rest, int64_t column_step);
  std::vector<int64_t> offsets;  // none: there are no tails
  int64_t rest = 0, column_step = 0;
  int64_t bytes = 0;  // of a tail
  // For kPixels pixels, which byte of a rest goes where: [64 bytes of tails][segment][64], counted
  // from the first pixel's on; kNone: none of it.
  std::vector<uint8_t> order;
  static constexpr int64_t kPixels = 16, kRead = 128;
  static constexpr uint8_t kNone = 255;
  static constexpr bool may_read(int64_t column_step, int64_t rest) {
    return (kPixels - 1) * column_step + rest <= kRead;
  }
};
/// Writes the tails of `count` adjoining pixels. Nothing at `end` or behind it is read.
void collect_tails(const Tails& tails, const std::byte* first, const std::byte* end, int64_t count,
                   std::byte* to);

/// A column's weights in a segment, in the order of A's elements: `inner` of them `inner_step`
/// apart, then as many more that begin `outer_step` later.
template <class From>
struct WeightStrip {
  const From* data;
  int64_t inner, inner_step, outer_step = 0;
};

/// Fills data from strip(segment, column), a WeightStrip of `length` elements (those of a segment
/// that exist; the rest of its last step is zero), each as map(element). T is float, int8_t or (for
/// wide A) int16_t.
template <class T, class Strip, class Map = std::identity>
void pack_columns(PackedWeights& packed, int64_t length, const Strip& strip, const Map& map = {}) {
  if (packed.data.is_filled()) return;
  constexpr int64_t kPerStep = 4 / static_cast<int64_t>(sizeof(T));
  for (const Panel& panel : packed.panels) {
    auto* out = reinterpret_cast<T*>(packed.data.data() + panel.offset);
    for (int64_t v = 0; v < panel.vectors; ++v) {
      for (int64_t lane = 0; lane < packed.lanes; ++lane) {
        const int64_t column = panel.column + panel_column(packed, panel, v, lane);
        if (column >= packed.columns) continue;
        T* to = out + (v * packed.lanes + lane) * kPerStep;
        const int64_t stride = panel.vectors * packed.lanes * kPerStep;
        const int64_t whole = kMayHaveTails && packed.rest > 0 ? packed.steps * kPerStep : length;
        T* tail = to + packed.segments * packed.steps * stride;
        for (int64_t s = 0; s < packed.segments; ++s, to += packed.steps * stride) {
          const auto from = strip(s, column);
          for (int64_t k = whole, t = s * packed.rest; kMayHaveTails && k < length; ++k, ++t) {
            tail[t / kPerStep * stride + t % kPerStep] = static_cast<T>(map(
                from.data[k % from.inner * from.inner_step + k / from.inner * from.outer_step]));
          }
          int64_t inner = 0, outer = 0;
          if constexpr (sizeof(T) == sizeof(*from.data) && std::is_same_v<Map, std::identity>) {
            if (from.inner_step == 1 && from.inner >= whole) {
              for (; inner + kPerStep <= whole; inner += kPerStep) {
                std::memcpy(to + inner / kPerStep * stride, from.data + inner, kWordBytes);
              }
            }
          }
          for (int64_t k = inner; k < whole; ++k, ++inner) {
            if (inner == from.inner) {
              inner = 0;
              ++outer;
            }
            to[k / kPerStep * stride + k % kPerStep] =
                static_cast<T>(map(from.data[inner * from.inner_step + outer * from.outer_step]));
          }
        }
      }
    }
  }
}

/// Fills data of one segment from the matrix `b`, [steps][columns], or transposed
/// ([columns][steps]), times `alpha`.
void pack_f32(PackedWeights& packed, const float* b, bool transposed, float alpha = 1);

/// Fills data of the first segment from the matrix of bytes `b`, [depth][columns], each
/// exclusive-or `flip`.
void pack_matrix(PackedWeights& packed, const uint8_t* b, int64_t depth, uint8_t flip);

/// start = -zero_point * (sum of the column's weights), from packed int8 data; 0 for wide A.
void fill_start(PackedWeights& packed, int32_t zero_point);
/// multiplier and bias by column, beginning with channel `first` of `requantize`.
void fill_requantize(PackedWeights& packed, const Requantize& requantize, int64_t first = 0);

/// output, bounds, zero point and ending of an int8 product of `terms` terms with output dtype `y`.
void set_requantize(GemmCall& call, const Requantize& requantize, DType y, int64_t terms);

/// The whole product, on the pool's threads.
void run_gemm(const GemmTarget& target, const GemmCall& call, ThreadPool* pool);

}  // namespace octavo::kernels
