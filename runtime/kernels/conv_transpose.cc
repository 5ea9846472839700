// Transposed convolution as convolutions: the outputs whose positions leave the same remainder by
// the stride see the same taps of the kernel, so each such phase is a packed matrix product over
// the padded NHWC image (runtime/kernels/gemm.h), written with gaps.

#include <array>

#include "runtime/kernels/conv_common.h"
#include "runtime/kernels/gemm.h"
#include "runtime/limits.h"

namespace octavo::kernels {
namespace {

using ops::ConvShape;
using ops::Spatial;

Result<ConvShape> shape_of(const PlanGraph& graph, const Node& node) {
  return ops::conv_transpose_shape(node, graph.info(node.input(0)).shape,
                                   graph.info(node.input(1)).shape);
}

// Whether phases are few and the image with its margins has a size that can be held.
bool size_is_reasonable(const ConvShape& shape) {
  constexpr int64_t kMaxStride = 64;
  Shape padded{shape.groups * shape.in_channels};
  for (size_t i = 0; i < 3; ++i) {
    const auto& w = shape.window;
    if (w.stride[i] > kMaxStride) return false;
    padded.push_back(shape.in[i] + shape.out[i] + (w.kernel[i] - 1) * w.dilation[i]);
  }
  return padded.elements() < limits::kTensorBytes / 4;
}

bool fits(const PlanGraph& graph, const Node& node) {
  const auto shape = shape_of(graph, node);
  if (!shape || !size_is_reasonable(*shape)) return false;

  const ValueId bias = node.input(2);
  const Shape &x = graph.info(node.input(0)).shape, &y = graph.info(node.output(0)).shape;
  return !graph.is_constant(node.input(0)) && graph.is_constant(node.input(1)) &&
         (bias == kNoValue || (graph.is_constant(bias) && graph.info(bias).shape == Shape{y[1]})) &&
         x.elements() > 0 && y.elements() > 0 && activation_bounds(node).has_value();
}

bool is_float(const PlanGraph& graph, const Node& node) {
  return std::ranges::all_of(node.inputs,
                             [&](ValueId id) { return id == kNoValue || is_f32(graph, id); }) &&
         is_f32(graph, node.output(0)) && fits(graph, node);
}

bool is_int8(const PlanGraph& graph, const Node& node) {
  const ValueId y = node.output(0);
  if (int8_params(graph, node.input(0)) == nullptr ||
      (int8_params(graph, y) == nullptr && !is_f32(graph, y)) || !fits(graph, node)) {
    return false;
  }
  const auto weights = int8_weights(graph, node.input(1), 1);
  return weights && (weights->quant.per_tensor() || node.get_int("group") == 1);
}

// The output positions step * q + first, q in [begin, end), along one axis, and the taps k that
// they see: of input position q - shift.
struct AxisPhase {
  int64_t first = 0, begin = 0, end = 0;
  struct Tap {
    int64_t k, shift;
  };
  std::vector<Tap> taps;
};

class ConvTransposeStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout) {
    OCTAVO_ASSIGN(const ConvShape shape, shape_of(graph, node));
    OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
    const TensorInfo &x = graph.info(node.input(0)), &y = graph.info(node.output(0));
    std::optional<Int8Form> form;
    if (x.dtype != DType::kF32) form.emplace(int8_input(), x.dtype, x.quant->zero_point[0]);
    std::unique_ptr<ConvTransposeStep> step(new ConvTransposeStep(graph, node, shape, form));
    step->call_.lo = bounds.lo;
    step->call_.hi = bounds.hi;
    std::optional<Int8Weights> weights;
    Requantize requantize;
    const TensorView bias = step->constant(2);
    if (form) {
      weights = int8_weights(graph, node.input(1), 1);
      OCTAVO_ASSIGN(requantize, make_requantize(*x.quant, weights->quant, y.quant.get(), y.dtype,
                                                bias, shape.groups * shape.out_channels, bounds));
      const auto& kernel = shape.window.kernel;
      set_requantize(step->call_, requantize, y.dtype,
                     shape.in_channels * kernel[0] * kernel[1] * kernel[2]);
    }
    for (Phase& phase : step->phases_) {
      for (int64_t g = 0; g < shape.groups; ++g) {
        PackedWeights& packed = phase.groups.emplace_back();
        packed.columns = shape.out_channels;
        packed.segments = static_cast<int64_t>(phase.offsets.size());
        const int64_t step_elements = kWordBytes / step->element_bytes_;
        packed.steps = (shape.in_channels + step_elements - 1) / step_elements;
        packed.interleaved = form && step->out_bytes_ == 1;
        layout_panels(step->target_, packed, graph.packing);
        if (!form) {
          step->pack<float>(packed, phase, g,
                            graph.info(node.input(1)).constant.data<float>().data());
          if (!bias.present()) continue;
          for_each_column(packed, [&](int64_t position, int64_t column) {
            packed.bias[static_cast<size_t>(position)] =
                bias.as<const float>()[g * shape.out_channels + column];
          });
          continue;
        }
        if (form->wide) {
          step->pack<int16_t>(packed, phase, g, weights->data.data());
        } else {
          step->pack<int8_t>(packed, phase, g, weights->data.data());
        }
        fill_start(packed, form->zero_point);
        fill_requantize(packed, requantize, g * shape.out_channels);
      }
    }
    return step;
  }

  int64_t scratch_bytes() const override {
    return padded_[0] * padded_[1] * padded_[2] * pixel_bytes_ + kWordBytes;
  }

  Status run(const StepContext& context) override {
    const auto* x = input(context, 0).as<const std::byte>();
    auto* y = context.outputs[0].as<std::byte>();
    const int64_t pixel_out = shape_.groups * shape_.out_channels * out_bytes_;
    const auto& stride = shape_.window.stride;
    for (int64_t n = 0; n < shape_.batch; ++n) {
      copy_padded(x, n, context.scratch, context.pool);
      for (const Phase& phase : phases_) {
        const auto [az, ay, ax] = phase.axes;
        const int64_t rows = ay->end - ay->begin;
        const auto run_row = [&](int64_t item) {
          const int64_t qz = az->begin + item / rows, qy = ay->begin + item % rows;
          const int64_t from = ((qz + margin_[0]) * padded_[1] + qy + margin_[1]) * padded_[2] +
                               ax->begin + margin_[2];
          const int64_t to = ((n * shape_.out[0] + qz * stride[0] + az->first) * shape_.out[1] +
                              qy * stride[1] + ay->first) *
                                 shape_.out[2] +
                             ax->begin * stride[2] + ax->first;
          for (int64_t g = 0; g < shape_.groups; ++g) {
            GemmCall call = call_;
            call.rows = call.a.width = ax->end - ax->begin;
            call.a.column_step = pixel_bytes_;
            call.a.offsets = phase.offsets.data();
            call.a.base =
                context.scratch + from * pixel_bytes_ + g * shape_.in_channels * element_bytes_;
            call.b = &phase.groups[static_cast<size_t>(g)];
            call.c = y + to * pixel_out + g * shape_.out_channels * out_bytes_;
            call.c_stride = stride[2] * pixel_out;
            run_gemm(target_, call, nullptr);
          }
        };
        parallel_for(context.pool, (az->end - az->begin) * rows, 1,
                     [&](int64_t begin, int64_t end) {
                       for (int64_t item = begin; item < end; ++item) run_row(item);
                     });
      }
    }
    return {};
  }

 private:
  struct Phase {
    std::array<const AxisPhase*, 3> axes;
    std::vector<int64_t> offsets;  // of the taps' pixels, in bytes
    std::vector<PackedWeights> groups = {};
  };

  // `form`: of int8 inputs.
  ConvTransposeStep(const PlanGraph& graph, const Node& node, const ConvShape& shape,
                    const std::optional<Int8Form>& form)
      : KernelStep(graph, node), shape_(shape), form_(form) {
    element_bytes_ = form ? form->element_bytes() : 4;
    pixel_bytes_ = shape.groups * shape.in_channels * element_bytes_;
    out_bytes_ = dtype_bytes(graph.info(node.output(0)).dtype);
    call_.int8 = form.has_value();
    for (size_t i = 0; i < 3; ++i) make_axis_phases(i);
    for (const AxisPhase& z : axes_[0]) {
      for (const AxisPhase& y : axes_[1]) {
        for (const AxisPhase& x : axes_[2]) {
          Phase& phase = phases_.emplace_back(Phase{{&z, &y, &x}, {}});
          for_each_tap(phase, [&](const AxisPhase::Tap& tz, const AxisPhase::Tap& ty,
                                  const AxisPhase::Tap& tx) {
            phase.offsets.push_back(-((tz.shift * padded_[1] + ty.shift) * padded_[2] + tx.shift) *
                                    pixel_bytes_);
          });
        }
      }
    }
  }

  // Output position o = stride * i + dilation * k - pad of input position i: with
  // o + pad = stride * q + p and dilation * k = stride * shift + p, i is q - shift.
  void make_axis_phases(size_t axis) {
    const auto& w = shape_.window;
    const int64_t stride = w.stride[axis], pad = w.pad_begin[axis];
    const auto ceil_div = [](int64_t a, int64_t b) { return a <= 0 ? -(-a / b) : (a - 1) / b + 1; };
    int64_t lowest = 0, highest = shape_.in[axis] - 1;
    for (int64_t p = 0; p < stride; ++p) {
      AxisPhase phase{
          p - pad, ceil_div(pad - p, stride), ceil_div(shape_.out[axis] + pad - p, stride), {}};
      if (phase.begin >= phase.end) continue;
      for (int64_t k = 0; k < w.kernel[axis]; ++k) {
        if (k * w.dilation[axis] % stride != p) continue;
        const int64_t shift = k * w.dilation[axis] / stride;
        phase.taps.push_back({k, shift});
        lowest = std::min(lowest, phase.begin - shift);
        highest = std::max(highest, phase.end - 1 - shift);
      }
      axes_[axis].push_back(std::move(phase));
    }
    margin_[axis] = -lowest;
    padded_[axis] = highest - lowest + 1;
  }

  template <class Fn>
  static void for_each_tap(const Phase& phase, const Fn& fn) {
    for (const auto& z : phase.axes[0]->taps) {
      for (const auto& y : phase.axes[1]->taps) {
        for (const auto& x : phase.axes[2]->taps) fn(z, y, x);
      }
    }
  }

  // Weights are [in channel, out channel of the group, kernel taps].
  template <class T, class From>
  void pack(PackedWeights& packed, const Phase& phase, int64_t group, const From* weights) const {
    const auto& [kd, kh, kw] = shape_.window.kernel;
    const int64_t volume = kd * kh * kw;
    std::vector<int64_t> taps;
    for_each_tap(phase, [&](const auto& z, const auto& y, const auto& x) {
      taps.push_back((z.k * kh + y.k) * kw + x.k);
    });
    weights += group * shape_.in_channels * shape_.out_channels * volume;
    pack_columns<T>(packed, shape_.in_channels, [&](int64_t segment, int64_t column) {
      return WeightStrip<From>{weights + column * volume + taps[static_cast<size_t>(segment)],
                               shape_.in_channels, shape_.out_channels * volume};
    });
  }

  void copy_padded(const std::byte* x, int64_t n, std::byte* out, ThreadPool* pool) const {
    const int64_t pixels = shape_.in[2], channels = shape_.groups * shape_.in_channels;
    const auto fill = [&](std::byte* to, int64_t count) {
      if (form_) {
        form_->fill_zero(to, count * channels);
      } else {
        std::fill_n(to, count * pixel_bytes_, std::byte{0});
      }
    };
    parallel_for(pool, padded_[0] * padded_[1], 16384 / padded_[2] + 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     std::byte* to = out + row * padded_[2] * pixel_bytes_;
                     const int64_t z = row / padded_[1] - margin_[0];
                     const int64_t y = row % padded_[1] - margin_[1];
                     if (z < 0 || z >= shape_.in[0] || y < 0 || y >= shape_.in[1]) {
                       fill(to, padded_[2]);
                       continue;
                     }
                     fill(to, margin_[2]);
                     to += margin_[2] * pixel_bytes_;
                     const int64_t elements = pixels * channels;
                     const int64_t at = ((n * shape_.in[0] + z) * shape_.in[1] + y) * elements;
                     if (form_) {
                       form_->convert(x + at, to, elements);
                     } else {
                       std::copy_n(x + at * 4, elements * 4, to);
                     }
                     fill(to + pixels * pixel_bytes_, padded_[2] - margin_[2] - pixels);
                   }
                 });
  }

  ConvShape shape_;
  std::optional<Int8Form> form_;
  GemmTarget target_ = gemm_target();
  GemmCall call_;  // what is the same for all phases
  std::array<std::vector<AxisPhase>, 3> axes_;
  std::vector<Phase> phases_;
  Spatial margin_{}, padded_{};  // of the image that is read: pixels before it, and all
  int64_t element_bytes_ = 0, pixel_bytes_ = 0, out_bytes_ = 0;
};

constexpr KernelDef row(const char* name, bool (*supports)(const PlanGraph&, const Node&)) {
  return {name, OpKind::kConvTranspose, ClaimLayout::kChannelsLast, supports,
          ConvTransposeStep::create};
}
constexpr KernelDef kKernels[] = {row("conv_transpose_int8", is_int8),
                                  row("conv_transpose_f32", is_float)};

}  // namespace

std::span<const KernelDef> conv_transpose_kernels() { return kKernels; }

}  // namespace octavo::kernels
