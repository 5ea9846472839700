// Int8 depthwise convolution. The dot-product instruction sums four neighbouring bytes, here four
// taps of one channel: four vectors of channels (one for each tap) are interleaved by bytes, and
// the narrowing of the four resulting vectors of sums restores the channels' order. Without such an
// instruction, pairs of taps are widened to int16.
//
// 3 x 3 kernels interleave the rows of a column once and use it for all three kernel columns and
// for two output rows: 4 loads, 8 shuffles and 24 dot products give 2 x 64 outputs (AVX-512), less
// than the requantization that follows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/depthwise_int8.cc"
#include "runtime/kernels/depthwise_int8.h"

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/depthwise.h"
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// One block of channels. kPartial: fewer than 16 channels in all. kWide: in int16.
template <size_t kLanes, bool kPartial, RequantizeEnding kEnding, bool kWide = !kHasDot4>
struct Block {
  static constexpr bool kByColumn = !(kPartial && kSmallCode);
  using D8 = hn::CappedTag<uint8_t, kLanes>;
  using D32 = hn::Repartition<int32_t, D8>;
  using DF = hn::Repartition<float, D8>;
  using V8 = hn::Vec<D8>;
  static constexpr int64_t kBytes = static_cast<int64_t>(kLanes);
  using D16 = hn::Repartition<int16_t, D8>;
  using Weight = std::conditional_t<kWide, int16_t, int8_t>;
  // Four taps of all channels, for sums q: bytes v[q], or the pairs v[2q] and v[2q + 1].
  struct Quad {
    hn::Vec<std::conditional_t<kWide, D16, D8>> v[kWide ? 8 : 4];
  };
  struct Sums {
    hn::Vec<D32> v[4];
  };

  const DepthwiseInt8& dw;
  int64_t channel;
  const Weight* weights;
  const int32_t* start;
  const float* multiplier;
  const float* bias;
  V8 flip;
  RequantizeVectors<DF, kEnding> requantize;
  ByteVectors<D8> bytes;

  HWY_INLINE Block(const DepthwiseInt8& dw, int64_t block)
      : dw(dw),
        channel(dw.first_channel(block)),
        weights(all_weights(dw) + block * dw.groups * 4 * kBytes),
        start(dw.start.data() + block * kBytes),
        multiplier(dw.multiplier.data() + block * kBytes),
        bias(dw.bias.data() + block * kBytes),
        flip(hn::Set(D8(), dw.flip)),
        requantize(DF(), dw.zero_point, dw.lo, dw.hi),
        bytes(D8(), dw.bytes) {}

  static const Weight* all_weights(const DepthwiseInt8& dw) {
    if constexpr (kWide) {
      return dw.wide_weights.data();
    } else {
      return dw.weights.data();
    }
  }

  HWY_INLINE V8 load(const uint8_t* from) const {
    if constexpr (kPartial) {
      const hn::Half<D8> half;
      const auto v = dw.channels == 8 ? hn::ZeroExtendVector(D8(), hn::LoadU(half, from))
                                      : hn::LoadN(D8(), from, static_cast<size_t>(dw.channels));
      return hn::Xor(v, flip);
    }
    return hn::Xor(hn::LoadU(D8(), from), flip);
  }

  // Four taps side by side, for each channel.
  HWY_INLINE Quad interleave(V8 a, V8 b, V8 c, V8 d) const {
    const D8 d8;
    const hn::Repartition<uint16_t, D8> d16;
    const auto ab_low = hn::BitCast(d16, hn::InterleaveLower(d8, a, b));
    const auto ab_high = hn::BitCast(d16, hn::InterleaveUpper(d8, a, b));
    const auto cd_low = hn::BitCast(d16, hn::InterleaveLower(d8, c, d));
    const auto cd_high = hn::BitCast(d16, hn::InterleaveUpper(d8, c, d));
    if constexpr (kWide) {
      return {{widen<false>(ab_low), widen<false>(cd_low), widen<true>(ab_low), widen<true>(cd_low),
               widen<false>(ab_high), widen<false>(cd_high), widen<true>(ab_high),
               widen<true>(cd_high)}};
    } else {
      return {{hn::BitCast(d8, hn::InterleaveLower(d16, ab_low, cd_low)),
               hn::BitCast(d8, hn::InterleaveUpper(d16, ab_low, cd_low)),
               hn::BitCast(d8, hn::InterleaveLower(d16, ab_high, cd_high)),
               hn::BitCast(d8, hn::InterleaveUpper(d16, ab_high, cd_high))}};
    }
  }
  HWY_INLINE Quad same(uint8_t value) const {
    const V8 v = hn::Set(D8(), value);
    return interleave(v, v, v, v);
  }
  // Bytes of a half of each 128-bit block as int16.
  template <bool kUpper>
  static HWY_INLINE hn::Vec<D16> widen(hn::Vec<hn::Repartition<uint16_t, D8>> pairs) {
    const D8 d8;
    const V8 v = hn::BitCast(d8, pairs), zero = hn::Zero(d8);
    return hn::BitCast(
        D16(), kUpper ? hn::InterleaveUpper(d8, v, zero) : hn::InterleaveLower(d8, v, zero));
  }

  HWY_INLINE Sums begin() const {
    Sums sums;
    unroll<4>([&](auto q) OCTAVO_INLINE { sums.v[q] = hn::LoadU(D32(), start + q * kBytes / 4); });
    return sums;
  }
  HWY_INLINE void accumulate(Sums& sums, const Quad& x, const Weight* w) const {
    const D32 d32;
    if constexpr (kWide) {
      const D16 d16;
      unroll<4>([&](auto q) OCTAVO_INLINE {
        const Weight* pair = w + q * kBytes / 2;
        const auto first = dot2(d32, x.v[2 * q], hn::LoadU(d16, pair), sums.v[q]);
        sums.v[q] = dot2(d32, x.v[2 * q + 1], hn::LoadU(d16, pair + 2 * kBytes), first);
      });
    } else {
      const hn::Repartition<int8_t, D8> di8;
      unroll<4>([&](auto q) OCTAVO_INLINE {
        sums.v[q] = dot4(d32, x.v[q], hn::LoadU(di8, w + q * kBytes), sums.v[q]);
      });
    }
  }
  HWY_INLINE void store(const Sums& sums, uint8_t* out) const {
    hn::Vec<D32> q[4];
    unroll<4>([&](auto j) OCTAVO_INLINE {
      q[j] =
          requantize.round(requantize.scale(sums.v[j], hn::LoadU(DF(), multiplier + j * kBytes / 4),
                                            hn::LoadU(DF(), bias + j * kBytes / 4)));
    });
    const D8 d8;
    const V8 y = look_up(d8, bytes.template narrow<kEnding>(q), dw.table);
    if constexpr (kPartial) {
      hn::StoreN(y, d8, out, static_cast<size_t>(dw.channels));
    } else {
      hn::StoreU(y, d8, out);
    }
  }
};

// A pointer to an input row and the step to its next pixel: 0 in the padding.
struct Row {
  const uint8_t* data;
  int64_t step;
};

// 3 x 3: kRows output rows from `out_y` on (2 only with vertical stride 1).
template <class B, int kRows, int kStride>
HWY_NOINLINE void rows_3x3(const DepthwiseInt8& dw, int64_t block_index, const uint8_t* image,
                           int64_t out_y, uint8_t* out) {
  const B block(dw, block_index);
  const auto& shape = dw.shape;
  const int64_t y0 = out_y * shape.window.stride[1] - shape.window.pad_begin[1];
  Row rows[4];
  for (int64_t i = 0; i < 4; ++i) {
    // With one output row the fourth slot has no weights; any readable row will do.
    const int64_t y = y0 + (kRows == 1 ? std::min<int64_t>(i, 2) : i);
    const bool inside = y >= 0 && y < shape.in[1];
    rows[i] = inside ? Row{image + y * shape.in[2] * dw.channels + block.channel, dw.channels}
                     : Row{dw.padding.data(), 0};
  }
  const auto column = [&](int64_t x) OCTAVO_INLINE -> typename B::Quad {
    if (x < 0 || x >= shape.in[2]) return block.same(dw.padding[0] ^ dw.flip);
    return block.interleave(
        block.load(rows[0].data + x * rows[0].step), block.load(rows[1].data + x * rows[1].step),
        block.load(rows[2].data + x * rows[2].step), block.load(rows[3].data + x * rows[3].step));
  };
  constexpr int64_t kGroup = 4 * B::kBytes;
  int64_t x = -shape.window.pad_begin[2];
  auto left = column(x);
  auto middle = column(x + 1);
  uint8_t* to = out + block.channel;
  const int64_t out_row = shape.out[2] * dw.channels;
  for (int64_t i = 0; i < shape.out[2]; ++i, x += kStride, to += dw.channels) {
    const auto right = column(x + 2);
    unroll<kRows>([&](auto r) OCTAVO_INLINE {
      auto sums = block.begin();
      block.accumulate(sums, left, block.weights + (r * 3 + 0) * kGroup);
      block.accumulate(sums, middle, block.weights + (r * 3 + 1) * kGroup);
      block.accumulate(sums, right, block.weights + (r * 3 + 2) * kGroup);
      block.store(sums, to + r * out_row);
    });
    if constexpr (kStride == 1) {
      left = middle;
      middle = right;
    } else {
      left = right;
      middle = column(x + 3);
    }
  }
}

// Any kernel: taps in groups of four.
template <class B>
HWY_NOINLINE void row_any(const DepthwiseInt8& dw, const uint8_t* image, int64_t out_y,
                          uint8_t* out) {
  const auto& shape = dw.shape;
  const auto& window = shape.window;
  const uint8_t* taps[kMaxDepthwiseTaps + 4];
  const int64_t count = window.kernel[1] * window.kernel[2];
  for (int64_t i = count; i < dw.groups * 4; ++i) taps[i] = dw.padding.data();
  for (int64_t out_x = 0; out_x < shape.out[2]; ++out_x) {
    const uint8_t** tap = taps;
    int64_t y = out_y * window.stride[1] - window.pad_begin[1];
    for (int64_t i = 0; i < window.kernel[1]; ++i, y += window.dilation[1]) {
      int64_t x = out_x * window.stride[2] - window.pad_begin[2];
      for (int64_t j = 0; j < window.kernel[2]; ++j, x += window.dilation[2]) {
        const bool inside = y >= 0 && y < shape.in[1] && x >= 0 && x < shape.in[2];
        *tap++ = inside ? image + (y * shape.in[2] + x) * dw.channels : dw.padding.data();
      }
    }
    for (int64_t i = 0; i < dw.blocks(); ++i) {
      const B block(dw, i);
      auto sums = block.begin();
      for (int64_t g = 0; g < dw.groups; ++g) {
        const uint8_t* const* four = taps + 4 * g;
        block.accumulate(sums,
                         block.interleave(block.load(four[0] + block.channel),
                                          block.load(four[1] + block.channel),
                                          block.load(four[2] + block.channel),
                                          block.load(four[3] + block.channel)),
                         block.weights + g * 4 * B::kBytes);
      }
      block.store(sums, out + out_x * dw.channels + block.channel);
    }
  }
}

template <class B>
HWY_INLINE void run_rows(const DepthwiseInt8& dw, const uint8_t* image, int64_t out_y,
                         int64_t count, uint8_t* out) {
  const int64_t out_row = dw.shape.out[2] * dw.channels;
  if constexpr (B::kByColumn) {
    const auto& stride = dw.shape.window.stride;
    for (int64_t block = 0; dw.by_column && block < dw.blocks(); ++block) {
      int64_t i = 0;
      uint8_t* to = out;
      if (stride[1] == 1 && stride[2] == 1) {
        for (; i + 2 <= count; i += 2, to += 2 * out_row) {
          rows_3x3<B, 2, 1>(dw, block, image, out_y + i, to);
        }
      }
      for (; i < count; ++i, to += out_row) {
        if (stride[2] == 1) {
          rows_3x3<B, 1, 1>(dw, block, image, out_y + i, to);
        } else {
          rows_3x3<B, 1, 2>(dw, block, image, out_y + i, to);
        }
      }
    }
    if (dw.by_column) return;
  }
  for (int64_t i = 0; i < count; ++i) row_any<B>(dw, image, out_y + i, out + i * out_row);
}

bool depthwise_looks_up() { return kLooksUp; }

int64_t depthwise_lanes(int64_t channels) {
  auto lanes = static_cast<int64_t>(HWY_LANES(uint8_t));
  while (lanes > 16 && lanes > channels) lanes /= 2;
  return lanes;
}

template <RequantizeEnding kEnding>
HWY_INLINE void choose_block(const DepthwiseInt8& dw, const uint8_t* image, uint8_t* out,
                             int64_t begin, int64_t end) {
  uint8_t* to = out + begin * dw.shape.out[2] * dw.channels;
  const int64_t count = end - begin;
  // Small code leaves the rare ending of large sums, too, to what is there for few channels.
  constexpr bool rare = kSmallCode && kEnding == RequantizeEnding::kFull;
  if (rare || dw.channels < 16) {
    return run_rows<Block<16, true, RequantizeEnding::kFull>>(dw, image, begin, count, to);
  }
  if constexpr (!rare) {
    if (dw.lanes == 16) return run_rows<Block<16, false, kEnding>>(dw, image, begin, count, to);
  }
#if HWY_MAX_BYTES >= 32
  if (dw.lanes == 32) return run_rows<Block<32, false, kEnding>>(dw, image, begin, count, to);
#endif
#if HWY_MAX_BYTES >= 64
  if (dw.lanes == 64) return run_rows<Block<64, false, kEnding>>(dw, image, begin, count, to);
#endif
}

// Rows [begin, end) of one image's output.
void run_depthwise_int8(const DepthwiseInt8& dw, const uint8_t* image, uint8_t* out, int64_t begin,
                        int64_t end) {
  using enum RequantizeEnding;
  switch (dw.ending) {
    case kFull: return choose_block<kFull>(dw, image, out, begin, end);
    case kSmall: return choose_block<kSmall>(dw, image, out, begin, end);
    case kPlain: return choose_block<kPlainEnding>(dw, image, out, begin, end);
  }
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {

HWY_EXPORT(depthwise_lanes);
HWY_EXPORT(depthwise_looks_up);
HWY_EXPORT(run_depthwise_int8);

class DepthwiseInt8Step : public KernelStep {
 public:
  DepthwiseInt8Step(const PlanGraph& graph, const Node& node, DepthwiseInt8 dw)
      : KernelStep(graph, node),
        dw_(std::move(dw)),
        run_(HWY_DYNAMIC_POINTER(run_depthwise_int8)) {}

  Status run(const StepContext& context) override {
    const auto& shape = dw_.shape;
    const int64_t macs = shape.out[2] * dw_.channels * dw_.groups * 4;
    // Pairs of rows share their work.
    const int64_t pairs = (shape.out[1] + 1) / 2;
    const auto* x = input(context, 0).as<const uint8_t>();
    auto* y = context.outputs[0].as<uint8_t>();
    const int64_t out_row = shape.out[2] * dw_.channels;
    // In pieces that a table then finds in L1.
    constexpr int64_t kPieceBytes = 16384;
    const int64_t piece = looks_up_ ? kPieceBytes / (2 * out_row) + 1 : pairs;
    parallel_for(
        context.pool, shape.batch * pairs, 100'000 / macs + 1, [&](int64_t begin, int64_t end) {
          while (begin < end) {
            const int64_t n = begin / pairs;
            const int64_t last = std::min({end, (n + 1) * pairs, begin + piece});
            const int64_t row = (begin - n * pairs) * 2;
            const int64_t row_end = std::min((last - n * pairs) * 2, shape.out[1]);
            uint8_t* image = y + n * shape.out[1] * out_row;
            run_(dw_, x + n * shape.in[1] * shape.in[2] * dw_.channels, image, row, row_end);
            if (looks_up_) {
              uint8_t* rows = image + row * out_row;
              lookup_row(table_.data(), rows, rows, (row_end - row) * out_row);
            }
            begin = last;
          }
        });
    return {};
  }

  void set_table(const ByteTable& table, ValueId output) {
    table_ = table;
    looks_up_ = !HWY_DYNAMIC_DISPATCH(depthwise_looks_up)();
    if (!looks_up_) dw_.table = table_.data();
    outputs = {output};
  }

 private:
  DepthwiseInt8 dw_;
  ByteTable table_{};
  bool looks_up_ = false;  // after the kernel, which does not
  void (*run_)(const DepthwiseInt8&, const uint8_t*, uint8_t*, int64_t, int64_t);
};

}  // namespace

[[gnu::cold]] Result<std::unique_ptr<Step>> make_depthwise_int8(const PlanGraph& graph,
                                                                const Node& node, Layout) {
  OCTAVO_ASSIGN(DepthwiseInt8 dw,
                pack_depthwise_int8(graph, node, HWY_DYNAMIC_POINTER(depthwise_lanes)));
  return std::make_unique<DepthwiseInt8Step>(graph, node, std::move(dw));
}

[[gnu::cold]] Result<std::unique_ptr<Step>> make_depthwise_int8_with_table(const PlanGraph& graph,
                                                                           const Node& node,
                                                                           const ByteTable& table,
                                                                           ValueId output) {
  OCTAVO_ASSIGN(std::unique_ptr<Step> step,
                make_depthwise_int8(graph, node, Layout::kChannelsLast));
  static_cast<DepthwiseInt8Step*>(step.get())->set_table(table, output);
  return step;
}

}  // namespace octavo::kernels
#endif
