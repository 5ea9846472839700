// Depthwise convolution of f32 and bf16 numbers, in float.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/depthwise_float.cc"
// Rounding to bf16 is an instruction of targets that few kernels are compiled for.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/ceil_div.h"
#include "runtime/kernels/aligned.h"
#include "runtime/kernels/bf16-inl.h"
#include "runtime/kernels/conv_common.h"
#include "runtime/kernels/depthwise.h"
#include "runtime/kernels/simd-inl.h"

#ifndef OCTAVO_DEPTHWISE_FLOAT_ONCE
#define OCTAVO_DEPTHWISE_FLOAT_ONCE
namespace octavo::kernels {
namespace {

struct Depthwise {
  ops::ConvShape shape;  // two dimensions: indices 1 and 2
  int64_t channels = 0;
  AlignedVector<float> weights;  // [taps][channels]
  AlignedVector<float> bias;
  float lo = 0, hi = 0;
  std::optional<UnaryFunction> function;  // of bf16 results, which have no bounds then
};

}  // namespace
}  // namespace octavo::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// Which taps of the kernel lie within the image.
struct Taps {
  int64_t y_begin, y_end, x_begin, x_end;
};

// A vector, or where kPartial its first n lanes.
template <bool kPartial, class D>
HWY_INLINE hn::Vec<D> load_float(D d, const float* x, size_t n) {
  return kPartial ? hn::LoadN(d, x, n) : hn::LoadU(d, x);
}
template <bool kPartial, class D>
HWY_INLINE hn::Vec<D> load_float(D d, const uint16_t* x, size_t n) {
  const Bf16Bits<D> d16;
  return widen_bf16(d, kPartial ? hn::LoadN(d16, x, n) : hn::LoadU(d16, x));
}

// A vector of channels of each pixel becomes bf16.
HWY_NOINLINE void end_pixels(const Depthwise& dw, float* sums, int64_t pixels, int64_t channels,
                             uint16_t* out, int64_t out_step) {
  const hn::ScalableTag<float> d;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  with_ending(dw.function ? &*dw.function : nullptr, dw.lo, dw.hi, sums, pixels * kLanes,
              [&](auto fn) OCTAVO_INLINE {
                for (int64_t p = 0; p < pixels; ++p) {
                  store(narrow_sums(d, fn(hn::Load(d, sums + p * kLanes))), Bf16Bits<decltype(d)>(),
                        out + p * out_step, static_cast<size_t>(channels));
                }
              });
}

// Writes vectors of sums `step` elements apart.
template <bool kPartial, int kCount, class V>
HWY_INLINE void put(const Depthwise& dw, const V (&sums)[kCount], float* out, int64_t step) {
  const hn::DFromV<V> d;
  const V lo = hn::Set(d, dw.lo), hi = hn::Set(d, dw.hi);
  unroll<kCount>([&](auto i) OCTAVO_INLINE {
    const V y = hn::Min(hn::Max(sums[i], lo), hi);
    if constexpr (kPartial) {
      hn::StoreN(y, d, out + i * step, static_cast<size_t>(dw.channels));
    } else {
      hn::StoreU(y, d, out + i * step);
    }
  });
}
template <bool kPartial, int kCount, class V>
HWY_INLINE void put(const Depthwise& dw, const V (&sums)[kCount], uint16_t* out, int64_t step) {
  const hn::DFromV<V> d;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  alignas(64) float all[kCount * kLanes];
  unroll<kCount>([&](auto i) OCTAVO_INLINE { hn::Store(sums[i], d, all + i * kLanes); });
  end_pixels(dw, all, kCount, kPartial ? dw.channels : kLanes, out, step);
}

// kPixels outputs, all channels. `in` is where the first output's first tap lies. kWidth: of the
// kernel, all its columns; the outputs are as far apart as its taps, so that each input vector is
// loaded once and used by all outputs it belongs to. kWidth 0: any, and neighbouring outputs.
template <int kWidth, int kStride, int kPixels, bool kPartial, class T>
HWY_NOINLINE void pixels(const Depthwise& dw, const T* in, const Taps& taps, T* out) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  const int64_t channels = dw.channels;
  const auto& window = dw.shape.window;
  const int64_t row_step = window.dilation[1] * dw.shape.in[2] * channels;
  const int64_t column_step = window.dilation[2] * channels;
  const int64_t out_step = kWidth > 0 ? column_step : channels;
  const auto n = static_cast<size_t>(channels);
  for (int64_t next = 0; next < channels; next += kLanes) {
    // The last vector overlaps the one before (the same values are written twice).
    const int64_t c = kPartial ? 0 : std::min(next, channels - kLanes);
    V acc[kPixels];
    const V bias = load_float<kPartial>(d, dw.bias.data() + c, n);
    unroll<kPixels>([&](auto p) OCTAVO_INLINE { acc[p] = bias; });
    for (int64_t y = taps.y_begin; y < taps.y_end; ++y) {
      const T* row = in + y * row_step + c;
      const float* weights = dw.weights.data() + y * window.kernel[2] * channels + c;
      if constexpr (kWidth > 0) {
        V x[(kPixels - 1) * kStride + kWidth];
        unroll<(kPixels - 1) * kStride + kWidth>([&](auto i) OCTAVO_INLINE {
          x[i] = load_float<kPartial>(d, row + i * column_step, n);
        });
        unroll<kWidth>([&](auto k) OCTAVO_INLINE {
          const V w = load_float<kPartial>(d, weights + k * channels, n);
          unroll<kPixels>([&](auto p)
                              OCTAVO_INLINE { acc[p] = mul_add(x[p * kStride + k], w, acc[p]); });
        });
      } else {
        for (int64_t k = taps.x_begin; k < taps.x_end; ++k) {
          const V w = load_float<kPartial>(d, weights + k * channels, n);
          unroll<kPixels>([&](auto p) OCTAVO_INLINE {
            const T* from = row + k * column_step + p * window.stride[2] * channels;
            acc[p] = mul_add(load_float<kPartial>(d, from, n), w, acc[p]);
          });
        }
      }
    }
    put<kPartial>(dw, acc, out + c, out_step);
  }
}

// One output at the image's border, whose sum is that of some taps: kVectors vectors of channels at
// a time, as each sum waits for its last addition.
template <bool kPartial, class T>
HWY_NOINLINE void border_pixel(const Depthwise& dw, const T* in, const Taps& taps, T* out) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  constexpr int kVectors = 4;
  const int64_t channels = dw.channels;
  if (kPartial || kSmallCode || channels < kVectors * kLanes) {
    return pixels<0, 0, 1, kPartial>(dw, in, taps, out);
  }
  const auto& window = dw.shape.window;
  for (int64_t next = 0; next < channels; next += kVectors * kLanes) {
    const int64_t c = std::min(next, channels - kVectors * kLanes);
    V acc[kVectors];
    unroll<kVectors>([&](auto i)
                         OCTAVO_INLINE { acc[i] = hn::LoadU(d, dw.bias.data() + c + i * kLanes); });
    for (int64_t y = taps.y_begin; y < taps.y_end; ++y) {
      for (int64_t k = taps.x_begin; k < taps.x_end; ++k) {
        const T* from =
            in + c + (y * window.dilation[1] * dw.shape.in[2] + k * window.dilation[2]) * channels;
        const float* weights = dw.weights.data() + (y * window.kernel[2] + k) * channels + c;
        unroll<kVectors>([&](auto i) OCTAVO_INLINE {
          acc[i] = mul_add(load_float<false>(d, from + i * kLanes, 0),
                           hn::LoadU(d, weights + i * kLanes), acc[i]);
        });
      }
    }
    put<false>(dw, acc, out + c, kLanes);
  }
}

// `blocks` times kPixels outputs of a 3x3 kernel that lies within the image, the outputs as in
// pixels<3, kStride>: a vector of channels after the other, its weights in registers.
template <int kStride, int kPixels, class T>
HWY_NOINLINE void blocks_3x3(const Depthwise& dw, const T* in, int64_t blocks, T* out) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  constexpr auto kLanes = static_cast<int64_t>(HWY_LANES(float));
  constexpr int64_t kTogether = 8;  // blocks that end as bf16
  const int64_t channels = dw.channels;
  const auto& window = dw.shape.window;
  const int64_t row_step = window.dilation[1] * dw.shape.in[2] * channels;
  const int64_t column_step = window.dilation[2] * channels;
  for (int64_t next = 0; next < channels; next += kLanes) {
    const int64_t c = std::min(next, channels - kLanes);
    V w[9];
    unroll<9>([&](auto k)
                  OCTAVO_INLINE { w[k] = hn::LoadU(d, dw.weights.data() + k * channels + c); });
    const V bias = hn::LoadU(d, dw.bias.data() + c);
    const T* from = in + c;
    T* to = out + c;
    alignas(64) float sums[kTogether * kPixels * kLanes];
    float* sum = sums;
    for (int64_t b = 0; b < blocks; ++b, from += kPixels * kStride * column_step) {
      V acc[kPixels];
      unroll<kPixels>([&](auto p) OCTAVO_INLINE { acc[p] = bias; });
      unroll<3>([&](auto y) OCTAVO_INLINE {
        V x[(kPixels - 1) * kStride + 3];
        unroll<(kPixels - 1) * kStride + 3>([&](auto i) OCTAVO_INLINE {
          x[i] = load_float<false>(d, from + y * row_step + i * column_step, 0);
        });
        unroll<3>([&](auto k) OCTAVO_INLINE {
          unroll<kPixels>([&](auto p) OCTAVO_INLINE {
            acc[p] = mul_add(x[p * kStride + k], w[y * 3 + k], acc[p]);
          });
        });
      });
      if constexpr (sizeof(T) == sizeof(float)) {
        put<false>(dw, acc, to, column_step);
        to += kPixels * column_step;
      } else {
        unroll<kPixels>([&](auto p) OCTAVO_INLINE { hn::Store(acc[p], d, sum + p * kLanes); });
        sum += kPixels * kLanes;
        if (b + 1 < blocks && sum < std::end(sums)) continue;
        const int64_t ended = (sum - sums) / kLanes;
        end_pixels(dw, sums, ended, kLanes, to, column_step);
        to += ended * column_step;
        sum = sums;
      }
    }
  }
}

constexpr int kPixels = 4;  // of a block of outputs
// `count` blocks, whose taps lie within the image's columns.
template <class T>
using Blocks = void (*)(const Depthwise& dw, const T* in, const Taps& taps, int64_t count, T* out);

template <int kWidth, int kStride, bool kPartial, class T>
void run_blocks(const Depthwise& dw, const T* in, const Taps& taps, int64_t count, T* out) {
  if constexpr (kWidth == 3 && !kPartial && kHas32Registers) {
    if (dw.shape.window.kernel[1] == 3 && taps.y_end - taps.y_begin == 3) {
      return blocks_3x3<kStride, kPixels>(dw, in, count, out);
    }
  }
  const int64_t step = kPixels * (kWidth > 0 ? dw.shape.window.dilation[2] : 1) * dw.channels;
  for (; count > 0; --count) {
    pixels<kWidth, kStride, kPixels, kPartial>(dw, in, taps, out);
    in += dw.shape.window.stride[2] * step;
    out += step;
  }
}

// `apart`: columns from one output of a block to the next.
template <bool kPartial, class T>
HWY_NOINLINE void row(const Depthwise& dw, const T* image, int64_t out_y, T* out, int64_t apart,
                      Blocks<T> blocks) {
  const auto& [shape, channels] = std::tie(dw.shape, dw.channels);
  const auto& window = shape.window;
  const int64_t stride = window.stride[2], pad = window.pad_begin[2];
  const int64_t y0 = out_y * window.stride[1] - window.pad_begin[1];
  const ops::Range ys = ops::valid_range(y0, window.dilation[1], shape.in[1], window.kernel[1]);
  const int64_t extent = (window.kernel[2] - 1) * window.dilation[2];
  image += (y0 * shape.in[2] - pad) * channels;
  for (int64_t first = 0; first < std::min(apart, shape.out[2]); ++first) {
    // Of the outputs first + i * apart, those from begin to end lie within the image.
    const int64_t step = apart * stride, offset = pad - first * stride;
    const int64_t count = ceil_div(shape.out[2] - first, apart);
    const int64_t begin = std::clamp<int64_t>(ceil_div(offset, step), 0, count);
    const int64_t room = shape.in[2] - 1 - extent + offset;
    const int64_t end = room < 0 ? begin : std::clamp(room / step + 1, begin, count);
    for (int64_t i = 0; i < count;) {
      const bool inside = i >= begin && i < end && end - begin >= kPixels;
      const int64_t at = inside ? std::min(i, end - kPixels) : i;  // some are computed once more
      const int64_t x = first + at * apart;
      const T* in = image + x * stride * channels;
      if (inside) {
        const int64_t whole = (end - at) / kPixels;
        blocks(dw, in, {ys.begin, ys.end, 0, window.kernel[2]}, whole, out + x * channels);
        i = at + whole * kPixels;
      } else {
        const ops::Range xs =
            ops::valid_range(x * stride - pad, window.dilation[2], shape.in[2], window.kernel[2]);
        border_pixel<kPartial>(dw, in, {ys.begin, ys.end, xs.begin, xs.end}, out + x * channels);
        ++i;
      }
    }
  }
}

template <bool kPartial, class T>
HWY_INLINE void choose_row(const Depthwise& dw, const T* image, int64_t out_y, T* out) {
  const auto& window = dw.shape.window;
  const int64_t stride = window.stride[2], width = window.kernel[2];
  const bool any = (window.dilation[2] != 1 && stride != 1) || (kPartial && kSmallCode) ||
                   (width != 3 && width != 5) || stride > 2;
  if (any) return row<kPartial>(dw, image, out_y, out, 1, run_blocks<0, 0, kPartial, T>);
  const Blocks<T> blocks =
      width == 3 ? (stride == 1 ? run_blocks<3, 1, kPartial, T> : run_blocks<3, 2, kPartial, T>)
                 : (stride == 1 ? run_blocks<5, 1, kPartial, T> : run_blocks<5, 2, kPartial, T>);
  row<kPartial>(dw, image, out_y, out, window.dilation[2], blocks);
}

// The rows of a dilated kernel in such an order that one finds in the cache what the one before
// read: every `dilation`th from the first, then from the second ...
int64_t row_of(int64_t index, int64_t rows, int64_t dilation) {
  const int64_t least = rows / dilation, larger = rows % dilation;  // rows of a turn
  const int64_t in_larger = larger * (least + 1);
  if (index < in_larger) return index / (least + 1) + index % (least + 1) * dilation;
  index -= in_larger;
  return larger + index / least + index % least * dilation;
}

template <class T>
HWY_INLINE void run_depthwise(const Depthwise& dw, const T* x, T* y, int64_t begin, int64_t end) {
  const auto& shape = dw.shape;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t n = item / shape.out[1];
    const T* image = x + n * shape.in[1] * shape.in[2] * dw.channels;
    const int64_t out_y = row_of(item % shape.out[1], shape.out[1], shape.window.dilation[1]);
    T* out = y + (n * shape.out[1] + out_y) * shape.out[2] * dw.channels;
    if (dw.channels < static_cast<int64_t>(HWY_LANES(float))) {
      choose_row<true>(dw, image, out_y, out);
    } else {
      choose_row<false>(dw, image, out_y, out);
    }
  }
}

void run_depthwise_f32(const Depthwise& dw, const std::byte* x, std::byte* y, int64_t begin,
                       int64_t end) {
  run_depthwise(dw, reinterpret_cast<const float*>(x), reinterpret_cast<float*>(y), begin, end);
}
void run_depthwise_bf16(const Depthwise& dw, const std::byte* x, std::byte* y, int64_t begin,
                        int64_t end) {
  if constexpr (kSmallCode) return;
  run_depthwise(dw, reinterpret_cast<const uint16_t*>(x), reinterpret_cast<uint16_t*>(y), begin,
                end);
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {

HWY_EXPORT(run_depthwise_f32);
HWY_EXPORT(run_depthwise_bf16);

class DepthwiseStep : public KernelStep {
 public:
  DepthwiseStep(const PlanGraph& graph, const Node& node, Depthwise dw)
      : KernelStep(graph, node), dw_(std::move(dw)) {}

  Status run(const StepContext& context) override {
    const auto& out = dw_.shape.out;
    const int64_t macs =
        out[2] * dw_.channels * dw_.shape.window.kernel[1] * dw_.shape.window.kernel[2];
    const TensorView x = input(context, 0);
    auto* y = context.outputs[0].as<std::byte>();
    const auto run = x.dtype == DType::kF32 ? HWY_DYNAMIC_POINTER(run_depthwise_f32)
                                            : HWY_DYNAMIC_POINTER(run_depthwise_bf16);
    parallel_for(
        context.pool, dw_.shape.batch * out[1], 50'000 / macs + 1,
        [&](int64_t begin, int64_t end) { run(dw_, x.as<const std::byte>(), y, begin, end); });
    return {};
  }

 private:
  Depthwise dw_;
};

// T: of the tensors.
template <class T>
[[gnu::cold]] Result<std::unique_ptr<Step>> make(
    const PlanGraph& graph, const Node& node,
    const std::optional<UnaryFunction>& function = std::nullopt) {
  Depthwise dw;
  OCTAVO_ASSIGN(dw.shape, conv_shape_of(graph, node));
  OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
  dw.lo = bounds.lo;
  dw.hi = bounds.hi;
  dw.function = function;
  dw.channels = dw.shape.groups;
  const auto channels = static_cast<size_t>(dw.channels);
  const auto from = graph.info(node.input(1)).constant.data<T>();
  const size_t taps = from.size() / channels;
  dw.weights.resize(from.size());
  for (size_t c = 0; c < channels; ++c) {
    for (size_t t = 0; t < taps; ++t) dw.weights[t * channels + c] = from[c * taps + t];
  }
  dw.bias.assign(channels, 0);
  if (node.input(2) != kNoValue) {
    const auto bias = graph.info(node.input(2)).constant.data<T>();
    dw.bias.assign(bias.begin(), bias.end());
  }
  return std::make_unique<DepthwiseStep>(graph, node, std::move(dw));
}

}  // namespace

[[gnu::cold]] Result<std::unique_ptr<Step>> make_depthwise_f32(const PlanGraph& graph,
                                                               const Node& node, Layout) {
  return make<float>(graph, node);
}
[[gnu::cold]] Result<std::unique_ptr<Step>> make_depthwise_bf16(const PlanGraph& graph,
                                                                const Node& node, Layout) {
  return make<BFloat16>(graph, node);
}
[[gnu::cold]] Result<std::unique_ptr<Step>> make_depthwise_bf16_with_function(
    const PlanGraph& graph, const Node& node, const UnaryFunction& function, ValueId output) {
  OCTAVO_ASSIGN(std::unique_ptr<Step> step, make<BFloat16>(graph, node, function));
  step->outputs = {output};
  return step;
}

}  // namespace octavo::kernels
#endif
