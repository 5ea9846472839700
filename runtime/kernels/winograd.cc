// Float convolutions of 3x3 taps and stride 1 by Winograd's minimal filtering F(4x4, 3x3):
// Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), arXiv:1509.09308.
//
//   Y = A^T [sum over channels of (G g G^T) * (B^T d B)] A
//
// A tile of 4x4 outputs reads 6x6 inputs d and takes 36 multiplications a channel (`*` is by
// element) where the direct sum takes 144. The sums are 36 matrix products (runtime/kernels/gemm.h)
// of rows that are tiles: V = B^T d B of a block of tiles, times U = G g G^T, gives M. A block's V
// and M stay in L2.
//
// The polynomials are interpolated at 0, p, -p, q, -q and infinity. The usual p = 1, q = 2 loses
// four times as much precision as p = 3/4, q = 3/2, whose products are exact in float too; with
// these the largest error is about twice the direct sum's (2e-6 of the largest output with 256
// channels).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/winograd.cc"
#include "runtime/kernels/winograd.h"

#include <array>
#include <atomic>
#include <limits>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/ceil_div.h"
#include "runtime/kernels/conv_common.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/simd-inl.h"

#ifndef OCTAVO_WINOGRAD_ONCE
#define OCTAVO_WINOGRAD_ONCE
namespace octavo::kernels {
namespace {

constexpr int kIn = 6, kOut = 4;  // sides of a tile
constexpr int kTaps = 3;
constexpr int kProducts = kIn * kIn;
constexpr double kP = 0.75, kQ = 1.5;

struct Winograd {
  ops::ConvShape shape;                     // two dimensions: indices 1 and 2
  int64_t tile_rows = 0, tile_columns = 0;  // of an image
  int64_t block = 0;                        // tiles whose V and M are held at a time
  int64_t v_row = 0, m_row = 0;             // floats of a tile in one product
  int64_t v_step = 0, m_step = 0;           // floats from product to product
  int64_t y_pixel = 0;                      // floats from pixel to pixel of the output
  AlignedVector<float> bias;                // padded to whole vectors
  AlignedVector<float> zeros;               // a pixel outside of the image
  float lo = 0, hi = 0;
};

// The image and the position of a tile.
struct Tile {
  int64_t n, y, x;
  Tile(const Winograd& w, int64_t index)
      : n(index / (w.tile_rows * w.tile_columns)),
        y(index / w.tile_columns % w.tile_rows),
        x(index % w.tile_columns) {}
};

}  // namespace
}  // namespace octavo::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// B^T x along one dimension; column i of B^T belongs to point i.
template <class D, class V>
HWY_INLINE void transform_in(D d, const V (&x)[kIn], V (&t)[kIn]) {
  const auto times = [&](double factor, V v, V sum) OCTAVO_INLINE {
    return mul_add(v, hn::Set(d, static_cast<float>(factor)), sum);
  };
  const auto pair = [&](double root, double other, V& plus, V& minus) OCTAVO_INLINE {
    const V even = times(-other * other, x[2], x[4]);
    const V odd = times(-other * other, x[1], x[3]);
    plus = times(root, odd, even);
    minus = times(-root, odd, even);
  };
  constexpr double kSum = kP * kP + kQ * kQ, kProduct = kP * kP * kQ * kQ;
  t[0] = times(kProduct, x[0], times(-kSum, x[2], x[4]));
  pair(kP, kQ, t[1], t[2]);
  pair(kQ, kP, t[3], t[4]);
  t[5] = times(kProduct, x[1], times(-kSum, x[3], x[5]));
}

// start + A^T m along one dimension: row i of A^T has the i-th powers of the points.
template <class D, class V>
HWY_INLINE void transform_out(D d, const V (&m)[kIn], V start, V (&y)[kOut]) {
  const auto times = [&](double factor, V v, V sum) OCTAVO_INLINE {
    return mul_add(v, hn::Set(d, static_cast<float>(factor)), sum);
  };
  const V p_even = hn::Add(m[1], m[2]), p_odd = hn::Sub(m[1], m[2]);
  const V q_even = hn::Add(m[3], m[4]), q_odd = hn::Sub(m[3], m[4]);
  y[0] = hn::Add(hn::Add(m[0], start), hn::Add(p_even, q_even));
  y[1] = times(kQ, q_odd, times(kP, p_odd, start));
  y[2] = times(kQ * kQ, q_even, times(kP * kP, p_even, start));
  y[3] = times(kQ * kQ * kQ, q_odd, times(kP * kP * kP, p_odd, hn::Add(m[5], start)));
}

// G g along one dimension: row i of G has the powers of point i over the product of its distances
// to the others.
template <class D, class V>
HWY_INLINE void transform_taps(D d, const V (&g)[kTaps], V (&t)[kIn]) {
  const auto pair = [&](double root, double scale, V& plus, V& minus) OCTAVO_INLINE {
    const V even = hn::Mul(hn::Set(d, static_cast<float>(scale)),
                           mul_add(g[2], hn::Set(d, static_cast<float>(root * root)), g[0]));
    const V odd = hn::Mul(hn::Set(d, static_cast<float>(scale * root)), g[1]);
    plus = hn::Add(even, odd);
    minus = hn::Sub(even, odd);
  };
  t[0] = hn::Mul(hn::Set(d, static_cast<float>(1 / (kP * kP * kQ * kQ))), g[0]);
  pair(kP, 1 / (2 * kP * kP * (kP * kP - kQ * kQ)), t[1], t[2]);
  pair(kQ, 1 / (2 * kQ * kQ * (kQ * kQ - kP * kP)), t[3], t[4]);
  t[5] = g[2];
}

// U = G g G^T of `width` filters, a multiple of the vector: taps [9, width], u [36][width].
void winograd_weights(const float* taps, int64_t width, float* const* u) {
  const hn::ScalableTag<float> d;
  using Vec = hn::Vec<decltype(d)>;
  for_each_vector(d, width, [&](int64_t k, size_t) OCTAVO_INLINE {
    Vec columns[kIn][kTaps];
    for (int j = 0; j < kTaps; ++j) {
      Vec in[kTaps], out[kIn];
      unroll<kTaps>(
          [&](auto i) OCTAVO_INLINE { in[i] = hn::LoadU(d, taps + (i * kTaps + j) * width + k); });
      transform_taps(d, in, out);
      unroll<kIn>([&](auto i) OCTAVO_INLINE { columns[i][j] = out[i]; });
    }
    for (int i = 0; i < kIn; ++i) {
      Vec out[kIn];
      transform_taps(d, columns[i], out);
      unroll<kIn>([&](auto j) OCTAVO_INLINE { hn::StoreU(out[j], d, u[i * kIn + j] + k); });
    }
  });
}

// V of tiles [first, first + count).
void winograd_in(const Winograd& w, const float* x, int64_t first, int64_t count, float* v) {
  const hn::ScalableTag<float> d;
  using Vec = hn::Vec<decltype(d)>;
  const auto& [height, width] = std::tie(w.shape.in[1], w.shape.in[2]);
  const int64_t channels = w.shape.in_channels;
  for (int64_t t = 0; t < count; ++t, v += w.v_row) {
    const Tile tile(w, first + t);
    const int64_t y0 = tile.y * kOut - w.shape.window.pad_begin[1];
    const int64_t x0 = tile.x * kOut - w.shape.window.pad_begin[2];
    const float* from[kIn][kIn];
    for (int i = 0; i < kIn; ++i) {
      const float* row = x + ((tile.n * height + y0 + i) * width + x0) * channels;
      const bool row_inside = y0 + i >= 0 && y0 + i < height;
      for (int j = 0; j < kIn; ++j) {
        const bool inside = row_inside && x0 + j >= 0 && x0 + j < width;
        from[i][j] = inside ? row + j * channels : w.zeros.data();
      }
    }
    for_each_vector(d, channels, [&](int64_t c, size_t n) OCTAVO_INLINE {
      Vec columns[kIn][kIn];
      for (int j = 0; j < kIn; ++j) {
        Vec in[kIn];
        unroll<kIn>([&](auto i) OCTAVO_INLINE { in[i] = load(d, from[i][j] + c, n); });
        Vec out[kIn];
        transform_in(d, in, out);
        unroll<kIn>([&](auto i) OCTAVO_INLINE { columns[i][j] = out[i]; });
      }
      float* to = v + c;
      for (int i = 0; i < kIn; ++i, to += kIn * w.v_step) {
        Vec out[kIn];
        transform_in(d, columns[i], out);
        unroll<kIn>([&](auto j) OCTAVO_INLINE { hn::StoreU(out[j], d, to + j * w.v_step); });
      }
    });
  }
}

// Outputs of tiles [first, first + count) from their M.
void winograd_out(const Winograd& w, const float* m, int64_t first, int64_t count,
                  const float* residual, float* y) {
  const hn::ScalableTag<float> d;
  using Vec = hn::Vec<decltype(d)>;
  const auto& [height, width] = std::tie(w.shape.out[1], w.shape.out[2]);
  const Vec lo = hn::Set(d, w.lo), hi = hn::Set(d, w.hi);
  for (int64_t t = 0; t < count; ++t, m += w.m_row) {
    const Tile tile(w, first + t);
    const int64_t y0 = tile.y * kOut, x0 = tile.x * kOut;
    const auto rows = static_cast<int>(std::min<int64_t>(kOut, height - y0));
    const auto columns = static_cast<int>(std::min<int64_t>(kOut, width - x0));
    const int64_t pixel = (tile.n * height + y0) * width + x0;
    for_each_vector(d, w.shape.out_channels, [&](int64_t c, size_t n) OCTAVO_INLINE {
      Vec half[kOut][kIn];
      for (int j = 0; j < kIn; ++j) {
        Vec in[kIn];
        unroll<kIn>([&](auto i)
                        OCTAVO_INLINE { in[i] = hn::LoadU(d, m + (i * kIn + j) * w.m_step + c); });
        Vec out[kOut];
        transform_out(d, in, hn::Zero(d), out);
        unroll<kOut>([&](auto i) OCTAVO_INLINE { half[i][j] = out[i]; });
      }
      const Vec bias = hn::LoadU(d, w.bias.data() + c);
      for (int i = 0; i < rows; ++i) {
        Vec out[kOut];
        transform_out(d, half[i], bias, out);
        unroll<kOut>([&](auto j) OCTAVO_INLINE {
          if (j >= columns) return;
          const int64_t at = pixel + i * width + j;
          Vec sum = out[j];
          if (residual != nullptr) {
            sum = hn::Add(sum, load(d, residual + at * w.shape.out_channels + c, n));
          }
          store(hn::Min(hn::Max(sum, lo), hi), d, y + at * w.y_pixel + c, n);
        });
      }
    });
  }
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {

HWY_EXPORT(winograd_weights);
HWY_EXPORT(winograd_in);
HWY_EXPORT(winograd_out);

constexpr int64_t kCacheLine = 64 / sizeof(float);  // and the largest vector
// Of a block's V and M: half of an L2 of 1 MB.
constexpr int64_t kBlockBytes = 512 << 10;

// U has four times the weights' bytes. Larger ones are not read fast enough: 512 to 512 channels
// take as long as the direct sum on 7x7 pixels.
constexpr int64_t kMostWeightBytes = 16 << 20;

int64_t tiles_of(const ops::ConvShape& shape) {
  return shape.batch * ceil_div(shape.out[1], kOut) * ceil_div(shape.out[2], kOut);
}

class WinogradStep : public KernelStep {
 public:
  [[gnu::cold]] WinogradStep(const PlanGraph& graph, const Node& node, const ops::ConvShape& shape,
                             const ActivationBounds& bounds)
      : KernelStep(graph, node), target_(gemm_target()) {
    w_.shape = shape;
    w_.lo = bounds.lo;
    w_.hi = bounds.hi;
    w_.tile_rows = ceil_div(shape.out[1], kOut);
    w_.tile_columns = ceil_div(shape.out[2], kOut);
    w_.v_row = round_up(shape.in_channels, kCacheLine);
    w_.m_row = round_up(shape.out_channels, kCacheLine);
    w_.y_pixel = shape.out_channels;
    // Blocks are as large as the cache allows, but there is one for each thread.
    tiles_ = tiles_of(shape);
    const int64_t tile_bytes = kProducts * (w_.v_row + w_.m_row) * 4;
    const int64_t most = std::max<int64_t>(kLeastTiles, kBlockBytes / tile_bytes);
    const int64_t blocks = std::max<int64_t>(
        ceil_div(tiles_, most), std::min<int64_t>(graph.threads, tiles_ / kLeastTiles));
    w_.block = ceil_div(tiles_, blocks);
    // Products lie a cache line more apart, since multiples of 4 kB share few lines of L1.
    w_.v_step = w_.block * w_.v_row + kCacheLine;
    w_.m_step = w_.block * w_.m_row + kCacheLine;
    workers_ = std::min<int64_t>(graph.threads, ceil_div(tiles_, w_.block));

    w_.zeros.assign(static_cast<size_t>(w_.v_row), 0);
    w_.bias.assign(static_cast<size_t>(w_.m_row), 0);
    if (const TensorView bias = constant(2); bias.present()) {
      std::copy_n(bias.as<const float>(), shape.out_channels, w_.bias.begin());
    }
    pack(graph.info(node.input(1)).constant.data<float>().data());
  }

  int64_t scratch_bytes() const override { return workers_ * worker_floats() * 4; }

  bool set_pixel_stride(int64_t bytes) override {
    w_.y_pixel = bytes / static_cast<int64_t>(sizeof(float));
    return true;
  }

  Status run(const StepContext& context) override {
    const auto* x = input(context, 0).as<const float>();
    const TensorView residual = input(context, 3);
    const auto* added = residual.present() ? residual.as<const float>() : nullptr;
    auto* y = context.outputs[0].as<float>();
    std::atomic<int64_t> next = 0;  // tile; whoever is free takes the next block
    parallel_for(context.pool, workers_, 1, [&](int64_t worker, int64_t) {
      auto* v = reinterpret_cast<float*>(context.scratch) + worker * worker_floats();
      float* m = v + kProducts * w_.v_step;
      while (true) {
        const int64_t first = next.fetch_add(w_.block, std::memory_order_relaxed);
        if (first >= tiles_) return;
        const int64_t count = std::min(w_.block, tiles_ - first);
        HWY_DYNAMIC_DISPATCH(winograd_in)(w_, x, first, count, v);
        multiply(v, count, m);
        HWY_DYNAMIC_DISPATCH(winograd_out)(w_, m, first, count, added, y);
      }
    });
    return {};
  }

 private:
  static constexpr int64_t kLeastTiles =
      8;  // of a block: fewer leave the products' tiles half empty

  int64_t worker_floats() const { return kProducts * (w_.v_step + w_.m_step); }

  void multiply(const float* v, int64_t count, float* m) const {
    constexpr int64_t kOffset = 0;
    GemmCall call;
    call.a.width = count;
    call.rows = tiles_;  // and not the block's, which depend on the number of threads
    call.a.column_step = w_.v_row * 4;
    call.a.offsets = &kOffset;
    call.c_stride = w_.m_row * 4;
    call.lo = -std::numeric_limits<float>::infinity();
    call.hi = std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < kProducts; ++i, v += w_.v_step, m += w_.m_step) {
      call.b = &products_[i];
      call.a.base = reinterpret_cast<const std::byte*>(v);
      call.c = reinterpret_cast<std::byte*>(m);
      target_.run_float(call, 0, count, 0, static_cast<int64_t>(call.b->panels.size()));
    }
  }

  // Weights are [out channel, in channel, taps].
  [[gnu::cold]] void pack(const float* weights) {
    const int64_t channels = w_.shape.in_channels;
    for (PackedWeights& packed : products_) {
      packed.columns = w_.shape.out_channels;
      packed.segments = 1;
      packed.steps = channels;
      layout_panels(target_, packed, nullptr);
    }
    std::vector<float> taps;
    std::array<float*, kProducts> u;
    for (const Panel& panel : products_[0].panels) {
      const int64_t width = panel.vectors * products_[0].lanes;
      const int64_t count = std::min(width, w_.shape.out_channels - panel.column);
      taps.assign(static_cast<size_t>(kTaps * kTaps * width), 0);
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t k = 0; k < count; ++k) {
          const float* filter = weights + ((panel.column + k) * channels + c) * kTaps * kTaps;
          for (int64_t t = 0; t < kTaps * kTaps; ++t) {
            taps[static_cast<size_t>(t * width + k)] = filter[t];
          }
        }
        for (size_t i = 0; i < kProducts; ++i) {
          u[i] = reinterpret_cast<float*>(products_[i].data.data() + panel.offset) + c * width;
        }
        HWY_DYNAMIC_DISPATCH(winograd_weights)(taps.data(), width, u.data());
      }
    }
  }

  Winograd w_;
  GemmTarget target_;
  std::array<PackedWeights, kProducts> products_;
  int64_t tiles_ = 0, workers_ = 1;
};

}  // namespace

[[gnu::cold]] bool conv_is_winograd(const PlanGraph& graph, const Node& node) {
  if (!conv_is_f32(graph, node)) return false;
  const auto shape = conv_shape_of(graph, node);
  const auto& window = shape->window;
  const auto is = [](const ops::Spatial& sizes, int64_t value) {
    return sizes[1] == value && sizes[2] == value;
  };
  if (shape->groups != 1 || window.kernel[0] != 1 || !is(window.kernel, kTaps) ||
      window.pad_begin[0] != 0 || window.pad_end[0] != 0 || shape->in[0] != 1 ||
      !is(window.stride, 1) || !is(window.dilation, 1)) {
    return false;
  }
  // Multiply-accumulates of the products, and what the transforms of a tile cost by channel in the
  // same unit: 300 to 440, measured with 8 to 256 channels on images of 5x5 to 56x56.
  constexpr int64_t kTransform = 400;
  const int64_t products = shape->in_channels * shape->out_channels;
  const int64_t tile =
      kProducts * products + kTransform * (shape->in_channels + shape->out_channels);
  const int64_t pixels = shape->out[1] * shape->out[2];
  return kProducts * products * 4 <= kMostWeightBytes &&
         tiles_of(*shape) * tile < shape->batch * pixels * kTaps * kTaps * products;
}

[[gnu::cold]] Result<std::unique_ptr<Step>> make_conv_winograd(const PlanGraph& graph,
                                                               const Node& node, Layout) {
  OCTAVO_ASSIGN(const ops::ConvShape shape, conv_shape_of(graph, node));
  OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
  return std::make_unique<WinogradStep>(graph, node, shape, bounds);
}

}  // namespace octavo::kernels
#endif
