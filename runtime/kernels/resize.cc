// Resize: nearest elements of any type, linear and cubic filters on f32 and 8-bit images.

#include "runtime/ops/resize.h"

#include <array>
#include <cstring>

#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/kernel_step.h"
#include "runtime/kernels/rows.h"
#include "runtime/ops/move.h"

namespace octavo::kernels {
namespace {

using ops::ResizePass;

Result<ops::Resizing> resizing_of(const PlanGraph& graph, const Node& node, Layout layout) {
  std::array<TensorView, 4> inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id == kNoValue) continue;
    const TensorInfo& info = graph.info(id);
    inputs[i] = info.constant.view();
    if (i == 0) inputs[i] = {nullptr, info.dtype, layout, info.shape};
  }
  return ops::make_resizing(node, inputs, layout);
}

bool is_supported(const PlanGraph& graph, const Node& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id != kNoValue && graph.is_constant(id) != (i > 0)) return false;
  }
  const TensorInfo &x = graph.info(node.input(0)), &y = graph.info(node.output(0));
  if (x.shape.elements() == 0 || y.shape.elements() == 0) return false;
  const auto resizing = resizing_of(graph, node, Layout::kPlain);
  if (!resizing) return false;
  if (!resizing->offsets.empty()) {
    const bool same_quant =
        x.quant == nullptr ? y.quant == nullptr
                           : y.quant != nullptr && *x.quant == *y.quant && x.quant->per_tensor();
    return x.dtype == y.dtype && x.dtype != DType::kString && same_quant;
  }
  if (resizing->passes.empty()) return false;
  return (is_f32(graph, node.input(0)) && is_f32(graph, node.output(0))) ||
         (int8_params(graph, node.input(0)) != nullptr &&
          int8_params(graph, node.output(0)) != nullptr);
}

// What leaves the graph is wanted in plain layout: converting the input is less work where the
// image grows.
bool is_plain(const PlanGraph& graph, const Node& node) {
  const ValueId y = node.output(0);
  return std::ranges::find(graph.graph.outputs, y) != graph.graph.outputs.end() &&
         graph.info(y).shape.elements() > graph.info(node.input(0)).shape.elements() &&
         is_supported(graph, node);
}

class ResizeStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout layout) {
    std::unique_ptr<ResizeStep> step(new ResizeStep(graph, node));
    const TensorInfo &x = graph.info(node.input(0)), &y = graph.info(node.output(0));
    OCTAVO_ASSIGN(step->resizing_,
                  resizing_of(graph, node, x.shape.rank() < 3 ? Layout::kPlain : layout));
    const auto& offsets = step->resizing_.offsets;
    if (!offsets.empty() && x.shape.rank() >= 3 && layout == Layout::kChannelsLast &&
        x.shape[1] == y.shape[1] && offsets.back().front() == 0 &&
        offsets.back().back() == x.shape[1] - 1) {
      step->element_bytes_ = dtype_bytes(x.dtype);
      step->pixel_bytes_ = step->out_stride_ = x.shape[1] * step->element_bytes_;
    }
    step->x_ = x.quant;
    step->y_ = y.quant;
    return step;
  }

  int64_t scratch_bytes() const override {
    int64_t floats = 0;
    for (const ResizePass& pass : resizing_.passes) floats += pass.outer * pass.in * pass.inner;
    return floats * static_cast<int64_t>(sizeof(float));
  }

  bool set_pixel_stride(int64_t bytes) override {
    if (pixel_bytes_ > 0) out_stride_ = bytes;
    return pixel_bytes_ > 0;
  }

  Status run(const StepContext& context) override {
    const TensorView x = input(context, 0);
    const TensorView& y = context.outputs[0];
    if (!resizing_.offsets.empty()) {
      if (pixel_bytes_ > 0) {
        copy_pixels(x.as<const std::byte>(), y.as<std::byte>(), context.pool);
      } else {
        ops::copy_mapped(x.dtype, x.data, y.data, resizing_.offsets);
      }
      return {};
    }
    auto* buffer = reinterpret_cast<float*>(context.scratch);
    const float* from = x.as<const float>();
    if (x_ != nullptr) {
      parallel_for(context.pool, x.elements(), 16384, [&](int64_t begin, int64_t end) {
        dequantize_row(x.as<const uint8_t>() + begin, x_->scale[0], x_->zero_point[0], x.dtype,
                       buffer + begin, end - begin);
      });
      from = buffer;
      buffer += x.elements();
    }
    for (const ResizePass& pass : resizing_.passes) {
      const bool last = &pass == &resizing_.passes.back();
      run_pass(pass, from, last ? nullptr : buffer, y, context.pool);
      from = buffer;
      buffer += pass.outer * pass.out * pass.inner;
    }
    return {};
  }

 private:
  using KernelStep::KernelStep;

  // The nearest pixels.
  void copy_pixels(const std::byte* from, std::byte* to, ThreadPool* pool) const {
    const auto& offsets = resizing_.offsets;  // by axis in storage order, the channels last
    const auto& columns = offsets[offsets.size() - 2];
    const auto width = static_cast<int64_t>(columns.size());
    int64_t rows = 1;
    for (size_t a = 0; a + 2 < offsets.size(); ++a) rows *= static_cast<int64_t>(offsets[a].size());
    parallel_for(pool, rows, 16384 / (width * pixel_bytes_) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t first = 0, index = row;
        for (size_t a = offsets.size() - 2; a-- > 0;) {
          const auto size = static_cast<int64_t>(offsets[a].size());
          first += offsets[a][static_cast<size_t>(index % size)];
          index /= size;
        }
        std::byte* pixel = to + row * width * out_stride_;
        for (const int64_t column : columns) {
          std::memcpy(pixel, from + (first + column) * element_bytes_,
                      static_cast<size_t>(pixel_bytes_));
          pixel += out_stride_;
        }
      }
    });
  }

  // To `to`, or to `y`.
  void run_pass(const ResizePass& pass, const float* from, float* to, const TensorView& y,
                ThreadPool* pool) const {
    const bool quantizes = to == nullptr && y_ != nullptr;
    if (to == nullptr) to = y.as<float>();
    // Calls compute(first, count, floats) over a row of the output, in pieces if it is quantized.
    const auto write = [&](int64_t row_begin, int64_t count, const auto& compute) {
      if (!quantizes) return compute(0, count, to + row_begin);
      float piece[256];
      constexpr auto kPiece = static_cast<int64_t>(std::size(piece));
      for (int64_t i = 0; i < count; i += kPiece) {
        const int64_t n = std::min(kPiece, count - i);
        compute(i, n, piece);
        quantize_row(piece, y_->scale[0], y_->zero_point[0], y.dtype,
                     y.as<uint8_t>() + row_begin + i, n);
      }
    };
    if (pass.inner == 1) {
      parallel_for(pool, pass.outer, 4096 / pass.out + 1, [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; ++o) {
          write(o * pass.out, pass.out, [&](int64_t i, int64_t n, float* out) {
            blend_gathered(from + o * pass.in, pass.index.data() + i, pass.weight.data() + i,
                           pass.taps, pass.out, out, n);
          });
        }
      });
      return;
    }
    parallel_for(pool, pass.outer * pass.out, 4096 / pass.inner + 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t item = begin; item < end; ++item) {
                     const int64_t x = item % pass.out;
                     const float* image = from + item / pass.out * pass.in * pass.inner;
                     write(item * pass.inner, pass.inner, [&](int64_t i, int64_t n, float* out) {
                       blend_rows(image + i, pass.index.data() + x, pass.weight.data() + x,
                                  pass.taps, pass.out, pass.inner, out, n);
                     });
                   }
                 });
  }

  ops::Resizing resizing_;
  std::shared_ptr<const QuantParams> x_, y_;  // nullptr: f32
  int64_t pixel_bytes_ = 0;                   // > 0: whole pixels are copied
  int64_t element_bytes_ = 0, out_stride_ = 0;
};

constexpr KernelDef kKernels[] = {
    {"resize", OpKind::kResize, ClaimLayout::kPlain, is_plain, ResizeStep::create},
    {"resize", OpKind::kResize, ClaimLayout::kFollow, is_supported, ResizeStep::create},
};

}  // namespace

std::span<const KernelDef> resize_kernels() { return kKernels; }

}  // namespace octavo::kernels
