#include <algorithm>

#include "runtime/ops/common.h"
#include "runtime/ops/convolve.h"
#include "runtime/ops/families.h"
#include "runtime/quantize_view.h"
#include "runtime/requantize.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kConvFields[] = {
    string_field("auto_pad", "NOTSET"),
    ints_field("dilations", 1),
    int_field("group", 1),
    ints_field("kernel_shape"),
    ints_field("pads", 0),
    ints_field("strides", 1),
    internal_field(string_field("activation")),
    internal_field(floats_field("activation_params")),
};
constexpr FieldDef kConvTransposeFields[] = {
    string_field("auto_pad", "NOTSET"),
    ints_field("dilations", 1),
    int_field("group", 1),
    ints_field("kernel_shape"),
    ints_field("output_padding"),
    ints_field("output_shape"),
    ints_field("pads", 0),
    ints_field("strides", 1),
    internal_field(string_field("activation")),
    internal_field(floats_field("activation_params")),
};

template <bool kTransposed>
Status infer(InferContext& c) {
  const DType dtype = c.input(0).quant != nullptr ? DType::kF32 : c.dtype(0);
  Shape x = c.shape(0), weight = c.shape(1);
  if (!x.has_rank() && !weight.has_rank()) {
    c.set_output(0, dtype);
    return {};
  }
  if (!x.has_rank()) x = Shape::filled(weight.rank(), kUnknownDim);
  if (!weight.has_rank()) weight = Shape::filled(x.rank(), kUnknownDim);
  OCTAVO_ASSIGN(const Shape out, kTransposed ? conv_transpose_output_shape(c.node, x, weight)
                                             : conv_output_shape(c.node, x, weight));
  c.set_output(0, dtype, out);
  return {};
}

// `view` as float32: its own memory if it is that, else a converted copy.
Result<Tensor> as_f32(const TensorView& view) {
  if (view.quant == nullptr && view.dtype == DType::kF32) {
    return Tensor::borrow(DType::kF32, view.shape, view.data, nullptr);
  }
  OCTAVO_ASSIGN(Tensor out, Tensor::create(DType::kF32, view.shape));
  if (view.quant != nullptr) {
    OCTAVO_TRY(dequantize_view(view, out.data<float>().data()));
  } else if (!dtype_info(view.dtype).is_float) {
    return bad_dtype(view.dtype);
  } else {
    OCTAVO_TRY(cast_elements(view, out.view()));
  }
  return out;
}

// (q - zero_point) of every element, as the uint32 with the int32's bits.
Result<Tensor> centered(const TensorView& view) {
  OCTAVO_ASSIGN(Tensor out, Tensor::create(DType::kU32, view.shape));
  const QuantParams& quant = *view.quant;
  const int axis = std::max(quant.axis, 0);
  const int64_t inner =
      quant.per_tensor() ? view.elements() : view.shape.elements(axis + 1, view.shape.rank());
  const auto to = out.data<uint32_t>();
  visit_dtype(
      view.dtype,
      [&]<class T>() {
        if constexpr (std::is_integral_v<ComputeType<T>>) {
          const auto from = view.span<const T>();
          size_t channel = 0;
          for (int64_t begin = 0; begin < view.elements(); begin += inner) {
            const int32_t zero = quant.zero_point[channel];
            for (int64_t i = begin; i < begin + inner; ++i) {
              const auto at = static_cast<size_t>(i);
              to[at] = static_cast<uint32_t>(static_cast<int32_t>(from[at]) - zero);
            }
            if (++channel == quant.zero_point.size()) channel = 0;
          }
        }
      },
      [] {});
  return out;
}

// The operands of Conv and ConvTranspose.
struct Operands {
  const TensorView& x;
  const TensorView& weight;
  TensorView bias, residual;  // may be absent
  const TensorView& y;
  ConvShape shape;
  int64_t channels, pixels;  // of the output
  bool transposed;
  ThreadPool* pool;

  template <class T>
  void convolve_into(const void* x_data, const void* w_data, T* out) const {
    const auto* from = static_cast<const T*>(x_data);
    const auto* weights = static_cast<const T*>(w_data);
    if (transposed) {
      convolve_transposed(shape, from, weights, out, pool);
    } else {
      convolve(shape, from, weights, out, pool);
    }
  }
};

// acc + bias + residual, clamped. `residual` may be nullptr.
template <class T>
void finish(const Operands& o, const T* bias, const T* residual, const ActivationBounds& bounds,
            T* y) {
  const T lo = static_cast<T>(bounds.lo), hi = static_cast<T>(bounds.hi);
  for (int64_t i = 0; i < o.shape.batch * o.channels; ++i) {
    const T b = bias == nullptr ? T{0} : bias[i % o.channels];
    T* row = y + i * o.pixels;
    for (int64_t p = 0; p < o.pixels; ++p) {
      T value = row[p] + b;
      if (residual != nullptr) value += residual[i * o.pixels + p];
      row[p] = std::min(std::max(value, lo), hi);
    }
  }
}

Status run_f64(const Operands& o, const ActivationBounds& bounds) {
  auto* y = o.y.as<double>();
  std::fill_n(y, o.y.elements(), 0.0);
  o.convolve_into(o.x.data, o.weight.data, y);
  finish(o, o.bias.as<const double>(), o.residual.as<const double>(), bounds, y);
  return {};
}

Status run_f32(const Operands& o, const ActivationBounds& bounds) {
  OCTAVO_ASSIGN(const Tensor x, as_f32(o.x));
  OCTAVO_ASSIGN(const Tensor weight, as_f32(o.weight));
  Tensor bias, residual, y;
  if (o.bias.present()) {
    OCTAVO_ASSIGN(bias, as_f32(o.bias));
  }
  if (o.residual.present()) {
    OCTAVO_ASSIGN(residual, as_f32(o.residual));
  }
  const bool direct = o.y.dtype == DType::kF32 && o.y.quant == nullptr;
  if (direct) {
    y = Tensor::borrow(DType::kF32, o.y.shape, o.y.data, nullptr);
    std::ranges::fill(y.data<float>(), 0.0f);
  } else {
    OCTAVO_ASSIGN(y, Tensor::create(DType::kF32, o.y.shape));
  }
  float* out = y.data<float>().data();
  o.convolve_into(x.raw(), weight.raw(), out);
  finish(o, static_cast<const float*>(bias.raw()), static_cast<const float*>(residual.raw()),
         bounds, out);
  if (direct) return {};
  if (o.y.quant != nullptr) return quantize_view(out, o.y);
  if (!dtype_info(o.y.dtype).is_float) return bad_dtype(o.y.dtype);
  return cast_elements(y.view(), o.y);
}

// Weight parameters with one entry for each of `channels` output channels, or a single one.
// ConvTranspose has one for each output channel of a group.
QuantParams per_output_channel(const QuantParams& quant, int64_t channels) {
  QuantParams out = quant;
  const size_t count = quant.scale.size();
  for (size_t i = count; count > 1 && i < static_cast<size_t>(channels); ++i) {
    out.scale.push_back(quant.scale[i % count]);
    out.zero_point.push_back(quant.zero_point[i % count]);
  }
  return out;
}

bool runs_exactly(const Operands& o) {
  if (o.x.quant == nullptr || o.weight.quant == nullptr) return false;
  const auto small = [](DType dtype) {
    return dtype_info(dtype).is_int && dtype_bytes(dtype) == 1;  // sums of more overflow int32
  };
  const QuantParams& weight = *o.weight.quant;
  const bool output_fits =
      o.y.quant == nullptr
          ? o.y.dtype == DType::kF32
          : o.y.quant->per_tensor() && (o.y.dtype == DType::kI8 || o.y.dtype == DType::kU8 ||
                                        o.y.dtype == DType::kI16 || o.y.dtype == DType::kU16);
  const bool residual_fits =
      !o.residual.present() || (o.residual.quant == nullptr ? o.residual.dtype == DType::kF32
                                                            : o.residual.quant->per_tensor());
  return small(o.x.dtype) && small(o.weight.dtype) && o.x.quant->per_tensor() &&
         (weight.per_tensor() ||
          (weight.axis == (o.transposed ? 1 : 0) && weight.block_size == 0)) &&
         output_fits && residual_fits;
}

// runtime/quant.h: exact sums, then the requantization step.
Status run_exactly(const Operands& o, const ActivationBounds& bounds) {
  OCTAVO_ASSIGN(const Tensor x, centered(o.x));
  OCTAVO_ASSIGN(const Tensor weight, centered(o.weight));
  OCTAVO_ASSIGN(Tensor sums, Tensor::create(DType::kU32, o.y.shape));
  o.convolve_into(x.raw(), weight.raw(), sums.data<uint32_t>().data());
  OCTAVO_ASSIGN(const Requantize step,
                make_requantize(*o.x.quant, per_output_channel(*o.weight.quant, o.channels),
                                o.y.quant, o.y.dtype, o.bias, o.channels, bounds));
  // The residual in units of the output.
  Tensor residual;
  if (o.residual.present()) {
    const float y_scale = o.y.quant == nullptr ? 1.0f : o.y.quant->scale[0];
    if (o.residual.quant != nullptr) {
      OCTAVO_ASSIGN(residual, centered(o.residual));
      const float scale = o.residual.quant->scale[0] / y_scale;
      for (uint32_t& bits : residual.data<uint32_t>()) {
        bits = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(bits)) * scale);
      }
    } else {
      OCTAVO_ASSIGN(residual, Tensor::create(DType::kU32, o.y.shape));
      const auto real = o.residual.span<const float>();
      for (size_t i = 0; i < real.size(); ++i) {
        residual.data<uint32_t>()[i] = std::bit_cast<uint32_t>(real[i] / y_scale);
      }
    }
  }
  const auto* added = static_cast<const float*>(residual.raw());
  const auto* sum = reinterpret_cast<const int32_t*>(sums.data<uint32_t>().data());
  const auto write = [&]<class T>() {
    T* y = o.y.as<T>();
    for (int64_t i = 0; i < o.shape.batch * o.channels; ++i) {
      const auto channel = static_cast<size_t>(i % o.channels);
      const float multiplier = step.multiplier[channel], bias = step.bias[channel];
      for (int64_t p = i * o.pixels; p < (i + 1) * o.pixels; ++p) {
        float value = static_cast<float>(sum[p]) * multiplier;
        value = value + bias;
        if (added != nullptr) value = value + added[p];
        value = value + step.zero_point;
        value = std::min(std::max(value, step.lo), step.hi);
        if constexpr (std::is_same_v<T, float>) {
          y[p] = value;
        } else {
          y[p] = saturate_round<T>(value);
        }
      }
    }
  };
  switch (o.y.dtype) {
    case DType::kI8: write.template operator()<int8_t>(); break;
    case DType::kU8: write.template operator()<uint8_t>(); break;
    case DType::kI16: write.template operator()<int16_t>(); break;
    case DType::kU16: write.template operator()<uint16_t>(); break;
    default: write.template operator()<float>(); break;
  }
  return {};
}

template <bool kTransposed>
Status run(KernelContext& c) {
  const TensorView &x = c.in(0), &weight = c.in(1);
  OCTAVO_ASSIGN(const ConvShape shape, kTransposed
                                           ? conv_transpose_shape(c.node, x.shape, weight.shape)
                                           : conv_shape(c.node, x.shape, weight.shape));
  OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(c.node));
  OCTAVO_ASSIGN(const Shape out_shape,
                kTransposed ? conv_transpose_output_shape(c.node, x.shape, weight.shape)
                            : conv_output_shape(c.node, x.shape, weight.shape));
  OCTAVO_ASSIGN(const TensorView y, c.make_output(0, c.out(0).dtype, out_shape));
  const Operands o{x,
                   weight,
                   c.has_input(2) ? c.in(2) : TensorView{},
                   c.has_input(3) ? c.in(3) : TensorView{},
                   y,
                   shape,
                   out_shape[1],
                   out_shape.elements(2, out_shape.rank()),
                   kTransposed,
                   c.pool};
  if (o.bias.present() && (o.bias.shape.rank() != 1 || o.bias.shape[0] != o.channels)) {
    return fail(ErrorCode::kShapeMismatch, "a bias of shape ", o.bias.shape.to_string(), " for ",
                o.channels, " output channels");
  }
  if (o.residual.present() && !(o.residual.shape == y.shape)) {
    return fail(ErrorCode::kShapeMismatch, "a residual of shape ", o.residual.shape.to_string(),
                " for an output of ", y.shape.to_string());
  }
  if (y.elements() == 0) return {};
  if (runs_exactly(o)) return run_exactly(o, bounds);
  const auto is_f64 = [](const TensorView& v) { return !v.present() || v.dtype == DType::kF64; };
  if (x.dtype == DType::kF64) {
    if (!is_f64(weight) || !is_f64(o.bias) || !is_f64(o.residual) || !is_f64(y)) {
      return fail(ErrorCode::kShapeMismatch, "inputs of different dtypes");
    }
    return run_f64(o, bounds);
  }
  return run_f32(o, bounds);
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kConv,
     .name = "Conv",
     .min_inputs = 2,
     .max_inputs = 4,
     .fields = kConvFields,
     .infer = infer<false>,
     .reference = run<false>,
     .quant =
         {.policy = QuantPolicy::kCompute, .weight_input = 1, .weight_axis = 0, .bias_input = 2},
     .mixed = kAllowHalf,
     .flags = kIntegerReference},
    {.kind = OpKind::kConvTranspose,
     .name = "ConvTranspose",
     .min_inputs = 2,
     .max_inputs = 4,
     .fields = kConvTransposeFields,
     .infer = infer<true>,
     .reference = run<true>,
     .quant =
         {.policy = QuantPolicy::kCompute, .weight_input = 1, .weight_axis = 1, .bias_input = 2},
     .mixed = kAllowHalf,
     .flags = kIntegerReference},
};

}  // namespace

std::span<const OpDef> conv_ops() { return kOps; }

}  // namespace octavo::ops
