#include "runtime/kernels/pool.h"

#include <optional>

#include "runtime/kernels/kernel_step.h"
#include "runtime/ops/average.h"
#include "runtime/ops/spatial.h"
#include "runtime/readers.h"

namespace octavo::kernels {
namespace {

bool has_kernel(const PlanGraph& graph, const Node& node) {
  const ValueId x = node.input(0), y = node.output(0);
  const Shape& shape = graph.info(x).shape;
  if (graph.is_constant(x) || node.output(1) != kNoValue || shape.rank() < 3 || shape.rank() > 5 ||
      graph.info(y).shape.elements() == 0 || shape.elements() == 0 ||
      !ops::pool_window(node, shape)) {
    return false;
  }
  if (is_f32(graph, x) && is_f32(graph, y)) return true;
  if (graph.info(x).dtype == DType::kBF16 && graph.info(y).dtype == DType::kBF16) {
    return !kSmallCode && !ops::is_average_pool(node.kind);
  }
  const QuantParams *qx = int8_params(graph, x), *qy = int8_params(graph, y);
  if (qx == nullptr || qy == nullptr) return false;
  return ops::is_average_pool(node.kind) ||
         (*qx == *qy && graph.info(x).dtype == graph.info(y).dtype);
}

PoolType type_of(const PlanGraph& graph, ValueId id) {
  switch (graph.info(id).dtype) {
    case DType::kU8: return PoolType::kU8;
    case DType::kI8: return PoolType::kI8;
    case DType::kBF16: return PoolType::kBF16;
    default: return PoolType::kF32;
  }
}

class PoolStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout) {
    std::unique_ptr<PoolStep> step(new PoolStep(graph, node));
    const Shape& x = graph.info(node.input(0)).shape;
    const Shape& y = graph.info(node.output(0)).shape;
    OCTAVO_ASSIGN(ops::Window window, ops::pool_window(node, x));
    window = ops::to_three(window);
    step->in_ = ops::to_three(x.dims().subspan(2));
    const ops::Spatial out = ops::to_three(y.dims().subspan(2));
    step->batch_ = x[0];
    step->channels_ = x[1];
    step->out_stride_ = x[1] * dtype_bytes(graph.info(node.output(0)).dtype);
    int64_t stride = x[1];
    for (size_t i = 3; i-- > 0;) {
      for (const ops::Span& span : ops::make_spans(window, i, step->in_[i], out[i])) {
        step->axes_[i].push_back({span.begin * stride, (span.end - span.begin) / span.step,
                                  span.step * stride, span.padded});
      }
      stride *= step->in_[i];
    }
    if (step->kind_ == PoolKind::kMax) {
      const int64_t pixels = window.kernel[0] * window.kernel[1] * window.kernel[2];
      if (pixels <= kFewPixels) {
        step->few_ = pixels;
      } else {
        step->choose_tiles(window);
      }
    }
    step->include_pad_ =
        node.kind == OpKind::kAveragePool && node.get_int("count_include_pad") != 0;
    return step;
  }

  /// Of two nodes, DequantizeLinear and its reader: the step reads the integers.
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_dequantized(const PlanGraph& graph,
                                                                        const Claim& claim,
                                                                        Layout layout, FindKernel) {
    const ValueId x = graph.graph.node(claim.nodes[0]).input(0);
    OCTAVO_ASSIGN(std::unique_ptr<Step> made,
                  create(graph, graph.graph.node(claim.nodes[1]), layout));
    auto* step = static_cast<PoolStep*>(made.get());
    step->inputs = {x};
    step->type_in_ = type_of(graph, x);
    step->dequantized_ = *int8_params(graph, x);
    made->kernel = "dequantized_average_pool";
    return made;
  }

  bool set_pixel_stride(int64_t bytes) override {
    out_stride_ = bytes;
    return true;
  }

  Status run(const StepContext& context) override {
    const auto* x = input(context, 0).as<const std::byte>();
    auto* y = context.outputs[0].as<std::byte>();
    const int64_t bytes = element_bytes();
    const auto [depth, height, width] = sizes();
    const int64_t pixels = depth * height * width;
    const int64_t image = in_[0] * in_[1] * in_[2] * channels_;
    if (few_ > 0 || block_ > 0) {
      parallel_for(context.pool, batch_ * depth * height, 4096 / (width * channels_) + 1,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row) {
                       const int64_t n = row / (depth * height), at = row % (depth * height);
                       const auto* from = x + n * image * bytes;
                       auto* to = y + row * width * out_stride_;
                       if (few_ > 0) {
                         max_of_windows(type_in_, from, few_,
                                        axes_[0][static_cast<size_t>(at / height)],
                                        axes_[1][static_cast<size_t>(at % height)], axes_[2],
                                        channels_, to, out_stride_);
                       } else {
                         max_row(from, at / height, at % height, to);
                       }
                     }
                   });
      return {};
    }
    parallel_for(context.pool, batch_ * pixels, 4096 / channels_ + 1,
                 [&](int64_t begin, int64_t end) {
                   std::array<int64_t, 3> at = {begin % pixels / (height * width),
                                                begin % pixels / width % height, begin % width};
                   const auto advance = [&] {
                     if (++at[2] < width) return;
                     at[2] = 0;
                     if (++at[1] < height) return;
                     at[1] = 0;
                     if (++at[0] == depth) at[0] = 0;
                   };
                   for (int64_t item = begin; item < end; ++item, advance()) {
                     PoolWindow window;
                     window.channels = channels_;
                     int64_t inside = 1, padded = 1, first = 0;
                     for (size_t i = 0; i < 3; ++i) {
                       const PoolAxis& axis = axes_[i][static_cast<size_t>(at[i])];
                       window.count[i] = axis.count;
                       window.step[i] = axis.step;
                       first += axis.first;
                       inside *= axis.count;
                       padded *= axis.padded;
                     }
                     // An empty window may begin outside the image; nothing of it is read.
                     window.base = x + (item / pixels * image + (inside > 0 ? first : 0)) * bytes;
                     pool_window(kind_, type_in_, type_out_, window,
                                 kind_ == PoolKind::kMax ? PoolMean{} : mean(inside, padded),
                                 y + item * out_stride_);
                   }
                 });
    return {};
  }

 private:
  PoolStep(const PlanGraph& graph, const Node& node)
      : KernelStep(graph, node),
        kind_(ops::is_average_pool(node.kind) ? PoolKind::kAverage : PoolKind::kMax),
        type_in_(type_of(graph, node.input(0))),
        type_out_(type_of(graph, node.output(0))) {
    if (kind_ == PoolKind::kAverage && type_in_ != PoolType::kF32) {
      params_.emplace(*int8_params(graph, node.input(0)), *int8_params(graph, node.output(0)));
    }
  }

  static constexpr int64_t kBufferBytes = 16384;
  int64_t element_bytes() const {
    return type_in_ == PoolType::kF32 ? 4 : type_in_ == PoolType::kBF16 ? 2 : 1;
  }

  // Maxima are taken along columns into a buffer on the stack, then along rows: so many channels
  // and pixels at a time that it holds what they read.
  void choose_tiles(const ops::Window& window) {
    const int64_t extent = window.extent(2);
    const int64_t values = kBufferBytes / element_bytes();
    constexpr int64_t kLeast = 64;  // channels
    if (std::min(channels_, kLeast) * extent > values) return;
    block_ = channels_ * extent <= values ? channels_ : values / extent / kLeast * kLeast;
    tile_ = (values / block_ - extent) / window.stride[2] + 1;
  }

  // A row of the output, from an image.
  void max_row(const std::byte* x, int64_t at_z, int64_t at_y, std::byte* y) const {
    alignas(64) std::byte buffer[kBufferBytes];
    const int64_t bytes = element_bytes();
    const PoolAxis &z = axes_[0][static_cast<size_t>(at_z)],
                   &v = axes_[1][static_cast<size_t>(at_y)];
    const bool empty = z.count * v.count == 0;
    const std::span<const PoolAxis> columns = axes_[2];
    std::array<PoolAxis, kMaxTile> tile;
    for (size_t first = 0; first < columns.size();) {
      const size_t count =
          std::min({columns.size() - first, static_cast<size_t>(tile_), tile.size()});
      int64_t begin = in_[2] * channels_, end = 0;  // of what is read
      for (const PoolAxis& axis : columns.subspan(first, count)) {
        if (axis.count == 0) continue;
        begin = std::min(begin, axis.first);
        end = std::max(end, axis.first + (axis.count - 1) * axis.step + channels_);
      }
      const int64_t pixels = std::max<int64_t>(0, (end - begin) / channels_);
      for (size_t i = 0; i < count; ++i) {
        const PoolAxis& axis = columns[first + i];
        tile[i] = {axis.count == 0 ? 0 : (axis.first - begin) / channels_ * block_,
                   empty ? 0 : axis.count, axis.step / channels_ * block_, 0};
      }
      for (int64_t c = 0; c < channels_; c += block_) {
        const int64_t block = std::min(block_, channels_ - c);
        PoolWindow window{};
        window.count[0] = z.count;
        window.count[1] = v.count;
        window.count[2] = 1;
        window.step[0] = z.step;
        window.step[1] = v.step;
        const auto* from = x + (z.first + v.first + begin + c) * bytes;
        // Adjoining pixels are one long one.
        const bool adjoin = block_ == channels_;
        window.channels = adjoin ? pixels * channels_ : block;
        for (int64_t p = 0; !empty && p < (adjoin ? 1 : pixels); ++p) {
          window.base = from + p * channels_ * bytes;
          pool_window(kind_, type_in_, type_out_, window, {}, buffer + p * block_ * bytes);
        }
        max_of_columns(type_in_, buffer, std::span(tile).first(count), block,
                       y + static_cast<int64_t>(first) * out_stride_ + c * bytes, out_stride_);
      }
      first += count;
    }
  }

  std::array<int64_t, 3> sizes() const {
    return {static_cast<int64_t>(axes_[0].size()), static_cast<int64_t>(axes_[1].size()),
            static_cast<int64_t>(axes_[2].size())};
  }

  PoolMean mean(int64_t inside, int64_t padded) const {
    const int64_t count = include_pad_ ? padded : inside;
    PoolMean mean{count == 0 ? 1.0f : static_cast<float>(count), 0, 0, 0};
    if (dequantized_) {
      mean.multiplier = dequantized_->scale[0];
      mean.offset = dequantized_->zero_point[0];
    }
    if (params_) {
      mean.multiplier = params_->multiplier(count);
      mean.zero_y = params_->zero_y;
      mean.offset = static_cast<int32_t>(static_cast<uint32_t>(params_->zero_x) *
                                         static_cast<uint32_t>(inside));
    }
    return mean;
  }

  PoolKind kind_;
  PoolType type_in_, type_out_;
  std::optional<ops::AverageParams> params_;
  std::optional<QuantParams> dequantized_;
  ops::Spatial in_{};
  std::array<std::vector<PoolAxis>, 3> axes_;  // by output position
  int64_t batch_ = 0, channels_ = 0;
  int64_t out_stride_ = 0;  // bytes
  static constexpr size_t kMaxTile = 64;
  int64_t few_ = 0;               // pixels in a window of a maximum, if few
  int64_t block_ = 0, tile_ = 0;  // channels and output pixels at a time; 0: each window by itself
  bool include_pad_ = false;
};

constexpr ClaimLayout kNhwc = ClaimLayout::kChannelsLast;
constexpr KernelDef kKernels[] = {
    {"max_pool", OpKind::kMaxPool, kNhwc, has_kernel, PoolStep::create, kExact},
    {"max_pool", OpKind::kGlobalMaxPool, kNhwc, has_kernel, PoolStep::create, kExact},
    {"average_pool", OpKind::kAveragePool, kNhwc, has_kernel, PoolStep::create, kExact},
    {"average_pool", OpKind::kGlobalAveragePool, kNhwc, has_kernel, PoolStep::create, kExact},
};

std::vector<Claim> dequantized_pool_claims(const PlanGraph& graph,
                                           const std::vector<bool>& available, FindKernel) {
  const Readers readers(graph);
  std::vector<Claim> claims;
  for (size_t n = 0; n < available.size(); ++n) {
    const Node& dequantize = graph.graph.nodes[n];
    if (!available[n] || dequantize.kind != OpKind::kDequantizeLinear ||
        dequantize.input(1) != kNoValue || graph.is_constant(dequantize.input(0)) ||
        int8_params(graph, dequantize.input(0)) == nullptr) {
      continue;
    }
    const auto next = readers.of(dequantize.output(0));
    if (next.size() != 1 || !available[static_cast<size_t>(next[0])]) continue;
    const Node& node = graph.graph.node(next[0]);
    if (ops::is_average_pool(node.kind) && has_kernel(graph, node) &&
        readers.only(dequantize.output(0), next)) {
      claims.push_back({{static_cast<NodeId>(n), next[0]}, kNhwc});
    }
  }
  return claims;
}

}  // namespace

std::span<const KernelDef> pool_kernels() { return kKernels; }

FusionDef dequantized_pool_fusion() {
  return {dequantized_pool_claims, PoolStep::create_dequantized};
}

}  // namespace octavo::kernels
