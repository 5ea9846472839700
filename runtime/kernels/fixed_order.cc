// Float kernels whose results are the same bits on every target: each output is summed in one
// order, by products and sums that are rounded each (no fused multiply-add). Vectors of four
// floats, which every target has, whose lanes are different outputs: their number does not matter.

#include "runtime/kernels/fixed_order.h"

#include "hwy/highway.h"
#include "runtime/kernels/conv_common.h"

namespace octavo::kernels {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
constexpr hn::FixedTag<float, 4> kFloats;
using V = hn::Vec<decltype(kFloats)>;
constexpr int64_t kLanes = 4;
constexpr int kVectors = 2;  // of a full panel
constexpr int kRows = 4;

// The first `rows` of kRows rows; rows beyond them repeat the last.
template <int kPanel>
void run_tile(const GemmCall& call, const Panel& panel, const std::byte* const* rows, int64_t row,
              int64_t count) {
  const PackedWeights& packed = *call.b;
  V acc[kRows][kPanel];
  for (int j = 0; j < kPanel; ++j) {
    const V bias = hn::LoadU(kFloats, packed.bias.data() + panel.column + j * kLanes);
    for (int r = 0; r < kRows; ++r) acc[r][j] = bias;
  }
  const auto* b = reinterpret_cast<const float*>(packed.data.data() + panel.offset);
  for (int64_t s = 0; s < packed.segments; ++s) {
    const float* a[kRows];
    for (int r = 0; r < kRows; ++r) {
      a[r] = reinterpret_cast<const float*>(rows[r] + call.a.offsets[s]);
    }
    for (int64_t k = 0; k < packed.steps; ++k, b += kPanel * kLanes) {
      for (int j = 0; j < kPanel; ++j) {
        const V w = hn::LoadU(kFloats, b + j * kLanes);
        for (int r = 0; r < kRows; ++r) {
          acc[r][j] = hn::Add(acc[r][j], hn::Mul(hn::Set(kFloats, a[r][k]), w));
        }
      }
    }
  }
  const V lo = hn::Set(kFloats, call.lo), hi = hn::Set(kFloats, call.hi);
  for (int64_t r = 0; r < count; ++r) {
    auto* c = reinterpret_cast<float*>(call.c + (row + r) * call.c_stride) + panel.column;
    const auto* residual =
        reinterpret_cast<const float*>(call.residual + (row + r) * call.residual_stride) +
        panel.column;
    for (int j = 0; j < kPanel; ++j) {
      const int64_t left = packed.columns - panel.column - j * kLanes;
      if (left <= 0) break;
      const auto n = static_cast<size_t>(std::min(left, kLanes));
      V y = acc[r][j];
      if (call.residual != nullptr) y = hn::Add(y, hn::LoadN(kFloats, residual + j * kLanes, n));
      hn::StoreN(hn::Min(hn::Max(y, lo), hi), kFloats, c + j * kLanes, n);
    }
  }
}

void run_gemm_fixed_order(const GemmCall& call, int64_t row_begin, int64_t row_end,
                          int64_t panel_begin, int64_t panel_end) {
  for (int64_t row = row_begin; row < row_end; row += kRows) {
    const int64_t count = std::min<int64_t>(kRows, row_end - row);
    const std::byte* rows[kRows];
    for (int64_t r = 0; r < kRows; ++r) {
      const int64_t at = row + std::min(r, count - 1);
      rows[r] = call.a.base + at / call.a.width * call.a.row_step +
                at % call.a.width * call.a.column_step;
    }
    for (int64_t p = panel_begin; p < panel_end; ++p) {
      const Panel& panel = call.b->panels[static_cast<size_t>(p)];
      panel.vectors == 1 ? run_tile<1>(call, panel, rows, row, count)
                         : run_tile<kVectors>(call, panel, rows, row, count);
    }
  }
}

class DepthwiseStep : public KernelStep {
 public:
  DepthwiseStep(const PlanGraph& graph, const Node& node, const ops::ConvShape& shape,
                const ActivationBounds& bounds)
      : KernelStep(graph, node), shape_(shape), bounds_(bounds), channels_(shape.groups) {
    const auto from = graph.info(node.input(1)).constant.data<float>();
    const int64_t taps = static_cast<int64_t>(from.size()) / channels_;
    weights_.resize(from.size());
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t t = 0; t < taps; ++t) {
        weights_[static_cast<size_t>(t * channels_ + c)] = from[static_cast<size_t>(c * taps + t)];
      }
    }
    bias_.assign(static_cast<size_t>(channels_), 0);
    if (node.input(2) != kNoValue) {
      const auto bias = graph.info(node.input(2)).constant.data<float>();
      bias_.assign(bias.begin(), bias.end());
    }
  }

  Status run(const StepContext& context) override {
    const auto* x = input(context, 0).as<const float>();
    auto* y = context.outputs[0].as<float>();
    const auto& window = shape_.window;
    const int64_t macs = shape_.out[2] * channels_ * window.kernel[1] * window.kernel[2];
    parallel_for(context.pool, shape_.batch * shape_.out[1], 50'000 / macs + 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) run_row(x, y, row);
                 });
    return {};
  }

 private:
  void run_row(const float* x, float* y, int64_t row) const {
    const auto& window = shape_.window;
    const float* image = x + row / shape_.out[1] * shape_.in[1] * shape_.in[2] * channels_;
    const int64_t y0 = row % shape_.out[1] * window.stride[1] - window.pad_begin[1];
    const ops::Range ys = ops::valid_range(y0, window.dilation[1], shape_.in[1], window.kernel[1]);
    const V lo = hn::Set(kFloats, bounds_.lo), hi = hn::Set(kFloats, bounds_.hi);
    for (int64_t column = 0; column < shape_.out[2]; ++column) {
      const int64_t x0 = column * window.stride[2] - window.pad_begin[2];
      const ops::Range xs =
          ops::valid_range(x0, window.dilation[2], shape_.in[2], window.kernel[2]);
      float* out = y + (row * shape_.out[2] + column) * channels_;
      for (int64_t c = 0; c < channels_; c += kLanes) {
        const auto n = static_cast<size_t>(std::min(kLanes, channels_ - c));
        V acc = hn::LoadN(kFloats, bias_.data() + c, n);
        for (int64_t i = ys.begin; i < ys.end; ++i) {
          for (int64_t k = xs.begin; k < xs.end; ++k) {
            const int64_t at =
                (y0 + i * window.dilation[1]) * shape_.in[2] + x0 + k * window.dilation[2];
            const V w =
                hn::LoadN(kFloats, weights_.data() + (i * window.kernel[2] + k) * channels_ + c, n);
            acc = hn::Add(acc, hn::Mul(hn::LoadN(kFloats, image + at * channels_ + c, n), w));
          }
        }
        hn::StoreN(hn::Min(hn::Max(acc, lo), hi), kFloats, out + c, n);
      }
    }
  }

  ops::ConvShape shape_;  // two dimensions: indices 1 and 2
  ActivationBounds bounds_;
  int64_t channels_;
  AlignedVector<float> weights_;  // [taps][channels]
  AlignedVector<float> bias_;
};

[[gnu::cold]] Result<std::unique_ptr<Step>> make_depthwise(const PlanGraph& graph, const Node& node,
                                                           Layout) {
  OCTAVO_ASSIGN(const ops::ConvShape shape, conv_shape_of(graph, node));
  OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
  return std::make_unique<DepthwiseStep>(graph, node, shape, bounds);
}
bool is_depthwise(const PlanGraph& graph, const Node& node) {
  return conv_is_depthwise(graph, node) && conv_is_f32(graph, node);
}

constexpr ClaimLayout kNhwc = ClaimLayout::kChannelsLast;
constexpr ClaimLayout kPlain = ClaimLayout::kPlain;
constexpr KernelDef kKernels[] = {
    {"depthwise_fixed_order", OpKind::kConv, kNhwc, is_depthwise, make_depthwise, kExact},
    {"conv_fixed_order", OpKind::kConv, kNhwc, conv_is_f32, make_conv_fixed_order, kExact},
    {"matmul_fixed_order", OpKind::kMatMul, kPlain, matmul_is_f32, make_matmul_fixed_order, kExact},
    {"gemm_fixed_order", OpKind::kGemm, kPlain, matmul_is_f32, make_matmul_fixed_order, kExact},
};

}  // namespace

GemmTarget fixed_order_target() {
  GemmTarget target = gemm_target();
  target.lanes = kLanes;
  target.panel_vectors = kVectors;
  target.run_float = run_gemm_fixed_order;
  return target;
}

std::span<const KernelDef> fixed_order_kernels() { return kKernels; }

}  // namespace octavo::kernels
