// MatMul and Gemm, float and quantized (runtime/requantize.h).
#include <algorithm>
#include <type_traits>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/matrix.h"
#include "runtime/quantize_view.h"
#include "runtime/requantize.h"

namespace octavo::ops {
namespace {

bool is_narrow_int(DType dtype) { return dtype_info(dtype).is_int && dtype_bytes(dtype) == 1; }

/// Whether a and b are integers that can be multiplied as integers. `channel_axis`: of b.
bool multiplies_integers(const TensorView& a, const TensorView& b, int channel_axis) {
  if (a.quant == nullptr || b.quant == nullptr) return false;
  const bool per_channel = b.quant->axis == channel_axis && b.quant->block_size == 0;
  return is_narrow_int(a.dtype) && is_narrow_int(b.dtype) && a.quant->per_tensor() &&
         (b.quant->per_tensor() || per_channel);
}

/// `view`, or its real numbers held by `holder`.
Result<TensorView> as_float(const TensorView& view, Tensor& holder) {
  if (!view.present() || view.quant == nullptr) return view;
  OCTAVO_ASSIGN(holder, Tensor::create(DType::kF32, view.shape));
  OCTAVO_TRY(dequantize_view(view, holder.data<float>().data()));
  return holder.view();
}

/// Runs `compute` on an f32 output and quantizes it if the output is quantized.
template <class Compute>
Status with_float_output(const TensorView& out, const Compute& compute) {
  if (out.quant == nullptr) return compute(out);
  OCTAVO_ASSIGN(const Tensor real, Tensor::create(DType::kF32, out.shape));
  OCTAVO_TRY(compute(real.view()));
  return quantize_view(real.data<float>().data(), out);
}

/// Writes rows of i32 accumulators (`channels` a row) to `out`.
Status write_requantized(std::span<const int32_t> acc, const Requantize& r, const TensorView& out) {
  const size_t channels = r.multiplier.size();
  const auto each = [&](auto&& store) {
    for (size_t i = 0; i < acc.size(); i += channels) {
      for (size_t c = 0; c < channels; ++c) store(i + c, acc[i + c], c);
    }
  };
  if (out.dtype == DType::kF32) {
    each([&, y = out.as<float>()](size_t i, int32_t value, size_t c) {
      const float real = static_cast<float>(value) * r.multiplier[c] + r.bias[c];
      y[i] = std::min(std::max(real, r.lo), r.hi);
    });
    return {};
  }
  const auto run = [&]<class T>() -> Status {
    if constexpr (sizeof(T) <= 2 && std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      each([&, y = out.as<T>()](size_t i, int32_t value, size_t c) {
        y[i] = requantize<T>(value, r.multiplier[c], r.bias[c], r.zero_point, r.lo, r.hi);
      });
      return {};
    } else {
      return bad_dtype(out.dtype);
    }
  };
  return visit_dtype(out.dtype, run, [&]() -> Status { return bad_dtype(out.dtype); });
}

/// The output of quantized operands: quantized itself, or f32.
Status check_quantized_output(const TensorView& out) {
  if (out.quant != nullptr || out.dtype == DType::kF32) return {};
  return bad_dtype(out.dtype);
}

Status multiply_batches(KernelContext& context, const MatMulDims& dims, const TensorView& a,
                        const TensorView& b, void* c) {
  const auto run = [&]<class T>() -> Status {
    const int64_t batches = dims.batch.elements();
    for (int64_t i = 0; i < batches; ++i) {
      const auto [at_a, at_b] = dims.matrices(i);
      multiply(context.pool, a.as<const T>() + at_a * dims.m * dims.k, dims.k, 1,
               b.as<const T>() + at_b * dims.k * dims.n, static_cast<T*>(c) + i * dims.m * dims.n,
               dims.m, dims.n, dims.k);
    }
    return {};
  };
  switch (a.dtype) {
    case DType::kF32: return run.template operator()<float>();
    case DType::kF64: return run.template operator()<double>();
    case DType::kI32:
    case DType::kU32: return run.template operator()<uint32_t>();
    case DType::kI64:
    case DType::kU64: return run.template operator()<uint64_t>();
    default: return bad_dtype(a.dtype);
  }
}

Status infer_matmul(InferContext& context) {
  context.set_output(0, context.input(0).quant ? DType::kF32 : context.dtype(0));
  if (!context.shape(0).has_rank() || !context.shape(1).has_rank()) return {};
  OCTAVO_ASSIGN(const MatMulDims dims, matmul_dims(context.shape(0), context.shape(1)));
  context.output(0).shape = dims.output;
  return {};
}

/// y = clamp(y + bias[column]), in rows of `n`.
void add_bias_and_clamp(std::span<float> y, std::span<const float> bias, int64_t n,
                        const ActivationBounds& bounds) {
  for (size_t i = 0; i < y.size(); ++i) {
    float value = y[i];
    if (!bias.empty()) value += bias[bias.size() == 1 ? 0 : i % static_cast<size_t>(n)];
    y[i] = std::min(std::max(value, bounds.lo), bounds.hi);
  }
}

Status matmul(KernelContext& context) {
  const TensorView& a = context.in(0);
  const TensorView& b = context.in(1);
  const TensorView bias = context.has_input(2) ? context.in(2) : TensorView{};
  OCTAVO_ASSIGN(const MatMulDims dims, matmul_dims(a.shape, b.shape));
  OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(context.node));
  if (bias.present() && bias.elements() != dims.n && bias.elements() != 1) {
    return fail(ErrorCode::kShapeMismatch, "a bias of ", bias.elements(), " elements for ", dims.n,
                " columns");
  }
  const TensorView& declared = context.out(0);
  const bool quantized = a.quant != nullptr || b.quant != nullptr || declared.quant != nullptr;
  OCTAVO_ASSIGN(const TensorView out,
                context.make_output(0, quantized ? declared.dtype : a.dtype, dims.output));
  if (multiplies_integers(a, b, b.shape.rank() - 1)) {
    OCTAVO_TRY(check_quantized_output(out));
    OCTAVO_ASSIGN(const Requantize r,
                  make_requantize(*a.quant, *b.quant, out.quant, out.dtype, bias, dims.n, bounds));
    OCTAVO_ASSIGN(const Tensor x, centered(a, a.quant->zero_point, false));
    OCTAVO_ASSIGN(const Tensor w, centered(b, b.quant->zero_point, false));
    OCTAVO_ASSIGN(const Tensor acc, Tensor::create(DType::kI32, dims.output));
    OCTAVO_TRY(multiply_batches(context, dims, x.view(), w.view(), acc.view().data));
    return write_requantized(acc.data<int32_t>(), r, out);
  }
  Tensor held_a, held_b, held_bias;
  OCTAVO_ASSIGN(const TensorView x, as_float(a, held_a));
  OCTAVO_ASSIGN(const TensorView w, as_float(b, held_b));
  OCTAVO_ASSIGN(const TensorView real_bias, as_float(bias, held_bias));
  if (x.dtype != w.dtype || (real_bias.present() && real_bias.dtype != x.dtype)) {
    return fail(ErrorCode::kShapeMismatch, "operands of different types: ", dtype_name(x.dtype),
                " and ", dtype_name(w.dtype));
  }
  return with_float_output(out, [&](const TensorView& y) -> Status {
    if (y.dtype != x.dtype) return bad_dtype(y.dtype);
    OCTAVO_TRY(multiply_batches(context, dims, x, w, y.data));
    if (!bias.present() && context.node.get_string("activation").empty()) return {};
    if (y.dtype != DType::kF32) return bad_dtype(y.dtype);  // fused forms are f32
    add_bias_and_clamp(
        y.span<float>(),
        real_bias.present() ? real_bias.span<const float>() : std::span<const float>(), dims.n,
        bounds);
    return {};
  });
}

struct GemmDims {
  int64_t m, n, k;
};
Result<GemmDims> gemm_dims(const Node& node, const Shape& a, const Shape& b) {
  if (a.rank() != 2 || b.rank() != 2) {
    return fail(ErrorCode::kShapeMismatch, "A and B must be matrices, got ", a.to_string(), " and ",
                b.to_string());
  }
  const int ta = node.get_int("transA") != 0 ? 1 : 0, tb = node.get_int("transB") != 0 ? 1 : 0;
  const int64_t k = a[1 - ta], k_b = b[tb];
  if (k >= 0 && k_b >= 0 && k != k_b) {
    return fail(ErrorCode::kShapeMismatch, "A and B do not multiply: ", k, " columns meet ", k_b,
                " rows");
  }
  return GemmDims{a[ta], b[1 - tb], k < 0 ? k_b : k};
}

Status infer_gemm(InferContext& context) {
  context.set_output(0, context.input(0).quant ? DType::kF32 : context.dtype(0));
  if (!context.shape(0).has_rank() || !context.shape(1).has_rank()) return {};
  OCTAVO_ASSIGN(const GemmDims dims, gemm_dims(context.node, context.shape(0), context.shape(1)));
  context.output(0).shape = Shape{dims.m, dims.n};
  return {};
}

/// c = op(a) * op(b).
template <class T>
Status gemm_product(KernelContext& context, const GemmDims& dims, const T* a, const T* b, T* c) {
  const bool ta = context.node.get_int("transA") != 0, tb = context.node.get_int("transB") != 0;
  std::vector<T> columns;
  if (tb) {
    columns.resize(static_cast<size_t>(dims.n * dims.k));
    transpose(b, columns.data(), dims.n, dims.k);
    b = columns.data();
  }
  multiply(context.pool, a, ta ? 1 : dims.k, ta ? dims.m : 1, b, c, dims.m, dims.n, dims.k);
  return {};
}

/// Integers are multiplied and added as unsigned: the same bits, without overflow.
template <class T>
struct RawType : std::make_unsigned<T> {};
template <>
struct RawType<float> : std::type_identity<float> {};
template <>
struct RawType<double> : std::type_identity<double> {};

template <class T>
T combine(T product, T term, float alpha, float beta) {
  using Raw = typename RawType<T>::type;
  if (alpha == 1 && beta == 1) {
    return static_cast<T>(static_cast<Raw>(product) + static_cast<Raw>(term));
  }
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(alpha) * product + static_cast<T>(beta) * term;
  } else {
    constexpr double kLimit = 9.2e18;
    const double real = static_cast<double>(alpha) * static_cast<double>(product) +
                        static_cast<double>(beta) * static_cast<double>(term);
    return static_cast<T>(static_cast<int64_t>(std::clamp(real, -kLimit, kLimit)));
  }
}

Status gemm(KernelContext& context) {
  const TensorView& a = context.in(0);
  const TensorView& b = context.in(1);
  const TensorView c = context.has_input(2) ? context.in(2) : TensorView{};
  OCTAVO_ASSIGN(const GemmDims dims, gemm_dims(context.node, a.shape, b.shape));
  OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(context.node));
  const Shape shape{dims.m, dims.n};
  Shape with_bias = shape;
  if (c.present()) {
    OCTAVO_ASSIGN(with_bias, broadcast_shapes(shape, c.shape));
  }
  if (!(with_bias == shape)) {
    return fail(ErrorCode::kShapeMismatch, "C of shape ", c.shape.to_string(),
                " does not broadcast to ", shape.to_string());
  }
  const float alpha = context.node.get_float("alpha"), beta = context.node.get_float("beta");
  const bool transposed = context.node.get_int("transB") != 0;
  const TensorView& declared = context.out(0);
  const bool quantized = a.quant != nullptr || b.quant != nullptr || declared.quant != nullptr;
  OCTAVO_ASSIGN(const TensorView out,
                context.make_output(0, quantized ? declared.dtype : a.dtype, shape));

  const bool row_bias =
      !c.present() || c.elements() == 1 || (c.elements() == dims.n && c.shape.back() == dims.n);
  if (multiplies_integers(a, b, transposed ? 0 : 1) && alpha == 1 && beta == 1 && row_bias) {
    OCTAVO_TRY(check_quantized_output(out));
    OCTAVO_ASSIGN(const Requantize r,
                  make_requantize(*a.quant, *b.quant, out.quant, out.dtype, c, dims.n, bounds));
    OCTAVO_ASSIGN(const Tensor x, centered(a, a.quant->zero_point, false));
    OCTAVO_ASSIGN(const Tensor w, centered(b, b.quant->zero_point, transposed));
    OCTAVO_ASSIGN(Tensor acc, Tensor::create(DType::kI32, shape));
    OCTAVO_TRY(gemm_product(context, dims, static_cast<const uint32_t*>(x.raw()),
                            static_cast<const uint32_t*>(w.raw()),
                            static_cast<uint32_t*>(acc.raw())));
    return write_requantized(acc.data<int32_t>(), r, out);
  }
  Tensor held_a, held_b, held_c;
  OCTAVO_ASSIGN(const TensorView x, as_float(a, held_a));
  OCTAVO_ASSIGN(const TensorView w, as_float(b, held_b));
  OCTAVO_ASSIGN(const TensorView bias, as_float(c, held_c));
  if (x.dtype != w.dtype || (bias.present() && bias.dtype != x.dtype)) {
    return fail(ErrorCode::kShapeMismatch, "operands of different types: ", dtype_name(x.dtype),
                " and ", dtype_name(w.dtype));
  }
  const auto compute = [&]<class T>(const TensorView& y) -> Status {
    using Raw = typename RawType<T>::type;
    OCTAVO_TRY(gemm_product(context, dims, x.as<const Raw>(), w.as<const Raw>(), y.as<Raw>()));
    const int64_t row_step =
        !bias.present() || bias.shape.rank() < 2 || bias.shape[0] == 1 ? 0 : bias.shape[1];
    const int64_t column_step =
        !bias.present() || bias.shape.rank() < 1 || bias.shape.back() == 1 ? 0 : 1;
    T* value = y.as<T>();
    for (int64_t i = 0; i < dims.m; ++i) {
      for (int64_t j = 0; j < dims.n; ++j, ++value) {
        const T term = bias.present() ? bias.as<const T>()[i * row_step + j * column_step] : T(0);
        *value = combine(*value, term, alpha, beta);
        if constexpr (std::is_same_v<T, float>) {
          *value = std::min(std::max(*value, bounds.lo), bounds.hi);
        }
      }
    }
    return {};
  };
  return with_float_output(out, [&](const TensorView& y) -> Status {
    if (y.dtype != x.dtype) return bad_dtype(y.dtype);
    switch (x.dtype) {
      case DType::kF32: return compute.template operator()<float>(y);
      case DType::kF64: return compute.template operator()<double>(y);
      case DType::kI32: return compute.template operator()<int32_t>(y);
      case DType::kU32: return compute.template operator()<uint32_t>(y);
      case DType::kI64: return compute.template operator()<int64_t>(y);
      case DType::kU64: return compute.template operator()<uint64_t>(y);
      default: return bad_dtype(x.dtype);
    }
  });
}

constexpr FieldDef kMatMulFields[] = {
    internal_field(string_field("activation")),
    internal_field(floats_field("activation_params")),
};
constexpr FieldDef kGemmFields[] = {
    float_field("alpha", 1.0f),
    float_field("beta", 1.0f),
    int_field("transA", 0),
    int_field("transB", 0),
    internal_field(string_field("activation")),
    internal_field(floats_field("activation_params")),
};

constexpr OpDef kRows[] = {
    // A third input is ours: a bias per column, from fusion.
    {.kind = OpKind::kMatMul,
     .name = "MatMul",
     .min_inputs = 2,
     .max_inputs = 3,
     .fields = kMatMulFields,
     .infer = infer_matmul,
     .reference = half_as_float<matmul>,
     .quant =
         {.policy = QuantPolicy::kCompute, .weight_input = 1, .weight_axis = -1, .bias_input = 2},
     .mixed = kAllowHalf,
     .flags = kIntegerReference},
    // weight_axis 0 means B with transB = 1, as importers and normalization leave it; with
    // transB = 0 the output channels are along axis 1.
    {.kind = OpKind::kGemm,
     .name = "Gemm",
     .min_inputs = 2,
     .max_inputs = 3,
     .fields = kGemmFields,
     .infer = infer_gemm,
     .reference = half_as_float<gemm>,
     .quant =
         {.policy = QuantPolicy::kCompute, .weight_input = 1, .weight_axis = 0, .bias_input = 2},
     .mixed = kAllowHalf,
     .flags = kIntegerReference},
};

}  // namespace

std::span<const OpDef> matmul_ops() { return kRows; }

}  // namespace octavo::ops
