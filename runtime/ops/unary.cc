#include <algorithm>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/math.h"

namespace octavo::ops {
namespace {

/// Attributes that a unary function may use, read once.
struct Params {
  float alpha = 0, beta = 0;
};

// Functions of real numbers: float(float) and double(double).
#define OCTAVO_REAL_FUNCTION(Name, expression)              \
  struct Name {                                             \
    template <class T>                                      \
    static T apply(T x, [[maybe_unused]] const Params& p) { \
      return static_cast<T>(expression);                    \
    }                                                       \
  }
OCTAVO_REAL_FUNCTION(Acos, std::acos(x));
OCTAVO_REAL_FUNCTION(Acosh, std::acosh(x));
OCTAVO_REAL_FUNCTION(Asin, std::asin(x));
OCTAVO_REAL_FUNCTION(Asinh, std::asinh(x));
OCTAVO_REAL_FUNCTION(Atan, std::atan(x));
OCTAVO_REAL_FUNCTION(Atanh, std::atanh(x));
OCTAVO_REAL_FUNCTION(Ceil, std::ceil(x));
OCTAVO_REAL_FUNCTION(Celu, x > 0 ? x : p.alpha * math::expm1(x / p.alpha));
OCTAVO_REAL_FUNCTION(Cos, std::cos(x));
OCTAVO_REAL_FUNCTION(Cosh, std::cosh(x));
OCTAVO_REAL_FUNCTION(Elu, x > 0 ? x : p.alpha * math::expm1(x));
OCTAVO_REAL_FUNCTION(Erf, math::erf(x));
OCTAVO_REAL_FUNCTION(Exp, math::exp(x));
OCTAVO_REAL_FUNCTION(Floor, std::floor(x));
OCTAVO_REAL_FUNCTION(GeluErf, T(0.5) * x * (T(1) + math::erf(x * T(0.70710678118654752440))));
OCTAVO_REAL_FUNCTION(GeluTanh, T(0.5) * x *
                                   (T(1) + math::tanh(T(0.79788456080286535588) *
                                                      (x + T(0.044715) * x * x * x))));
OCTAVO_REAL_FUNCTION(HardSigmoid, std::clamp<T>((p.alpha * x) + p.beta, 0, 1));
OCTAVO_REAL_FUNCTION(HardSwish, (x * std::clamp<T>(x / T(6) + T(0.5), 0, 1)));
OCTAVO_REAL_FUNCTION(LeakyRelu, x < 0 ? p.alpha * x : x);
OCTAVO_REAL_FUNCTION(Log, math::log(x));
OCTAVO_REAL_FUNCTION(Reciprocal, T(1) / x);
OCTAVO_REAL_FUNCTION(Round, std::nearbyint(x));
OCTAVO_REAL_FUNCTION(Selu, x > 0 ? p.beta * x : p.beta * (p.alpha * math::expm1(x)));
OCTAVO_REAL_FUNCTION(Shrink, x<-p.alpha ? x + p.beta : x> p.alpha ? x - p.beta : T(0));
OCTAVO_REAL_FUNCTION(Sigmoid,
                     x >= 0 ? T(1) / (T(1) + math::exp(-x)) : math::exp(x) / (T(1) + math::exp(x)));
OCTAVO_REAL_FUNCTION(Sin, std::sin(x));
OCTAVO_REAL_FUNCTION(Sinh, std::sinh(x));
OCTAVO_REAL_FUNCTION(Softplus, std::max<T>(x, 0) + math::log1p(math::exp(-std::abs(x))));
OCTAVO_REAL_FUNCTION(Softsign, x / (T(1) + std::abs(x)));
OCTAVO_REAL_FUNCTION(Sqrt, std::sqrt(x));
OCTAVO_REAL_FUNCTION(Tan, std::tan(x));
OCTAVO_REAL_FUNCTION(Tanh, math::tanh(x));
OCTAVO_REAL_FUNCTION(ThresholdedRelu, x > p.alpha ? x : T(0));
OCTAVO_REAL_FUNCTION(Mish, (x * math::tanh(Softplus::apply(x, p))));
#undef OCTAVO_REAL_FUNCTION

// Functions of any number. Integers wrap around: the negative of the lowest is itself.
template <class T>
T negate(T x) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(uint64_t{0} - static_cast<uint64_t>(x));
  } else {
    return -x;
  }
}
struct Abs {
  template <class T>
  static T apply(T x, const Params&) {
    if constexpr (std::is_floating_point_v<T>) return std::abs(x);
    return x < T(0) ? negate(x) : x;
  }
};
struct Neg {
  template <class T>
  static T apply(T x, const Params&) {
    return negate(x);
  }
};
struct Relu {
  template <class T>
  static T apply(T x, const Params&) {
    return x < T(0) ? T(0) : x;  // NaN stays
  }
};
struct Sign {
  template <class T>
  static T apply(T x, const Params&) {
    return x > T(0) ? T(1) : x < T(0) ? negate(T(1)) : T(x == x ? T(0) : x);
  }
};
struct BitwiseNot {
  template <class T>
  static T apply(T x, const Params&) {
    return static_cast<T>(~x);
  }
};

/// y[i] = f(x[i]) for i in [begin, end).
using MapFn = void (*)(const void* x, void* y, int64_t begin, int64_t end, const Params& params);

template <class T, class Function>
void map_range(const void* x, void* y, int64_t begin, int64_t end, const Params& params) {
  const T* from = static_cast<const T*>(x);
  T* to = static_cast<T*>(y);
  for (int64_t i = begin; i < end; ++i) {
    to[i] = static_cast<T>(
        Function::template apply<ComputeType<T>>(static_cast<ComputeType<T>>(from[i]), params));
  }
}

/// Half-precision elements, some at a time as floats: one loop for each function less.
template <class T>
void map_halves(const T* x, T* y, int64_t begin, int64_t end, MapFn map, const Params& params) {
  float values[256];
  for (int64_t start = begin; start < end; start += std::ssize(values)) {
    const int64_t count = std::min<int64_t>(std::ssize(values), end - start);
    std::copy_n(x + start, count, values);
    map(values, values, 0, count, params);
    std::transform(values, values + count, y + start, [](float value) { return T(value); });
  }
}

/// Output 0 = `map` of input 0. For half-precision tensors `map` is the function of floats.
Status run_map(KernelContext& context, MapFn map, const Params& params) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  parallel_for(context.pool, out.elements(), 16384, [&](int64_t begin, int64_t end) {
    if (x.dtype == DType::kF16) {
      map_halves(x.as<const Float16>(), out.as<Float16>(), begin, end, map, params);
    } else if (x.dtype == DType::kBF16) {
      map_halves(x.as<const BFloat16>(), out.as<BFloat16>(), begin, end, map, params);
    } else {
      map(x.data, out.data, begin, end, params);
    }
  });
  return {};
}

Status run_real(KernelContext& context, MapFn on_floats, MapFn on_doubles, const Params& params) {
  const DType dtype = context.in(0).dtype;
  if (!dtype_info(dtype).is_float) return bad_dtype(dtype);
  return run_map(context, dtype == DType::kF64 ? on_doubles : on_floats, params);
}
template <class Function>
Status run_real(KernelContext& context, const Params& params) {
  return run_real(context, map_range<float, Function>, map_range<double, Function>, params);
}

template <class Function>
Status real(KernelContext& context) {
  return run_real<Function>(context, {});
}
template <class Function>
Status real_alpha(KernelContext& context) {
  return run_real<Function>(context, {context.node.get_float("alpha")});
}
template <class Function>
Status real_alpha_beta(KernelContext& context) {
  return run_real<Function>(context,
                            {context.node.get_float("alpha"), context.node.get_float("beta")});
}

Status celu(KernelContext& context) {
  const float alpha = context.node.get_float("alpha");
  if (alpha == 0) return fail(ErrorCode::kInvalidModel, "alpha must not be 0");
  return run_real<Celu>(context, {alpha});
}
Status selu(KernelContext& context) {
  return run_real<Selu>(context,
                        {context.node.get_float("alpha"), context.node.get_float("gamma")});
}
Status shrink(KernelContext& context) {
  return run_real<Shrink>(context,
                          {context.node.get_float("lambd"), context.node.get_float("bias")});
}
Status gelu(KernelContext& context) {
  const std::string_view approximate = context.node.get_string("approximate");
  if (approximate == "none") return run_real<GeluErf>(context, {});
  if (approximate == "tanh") return run_real<GeluTanh>(context, {});
  return fail(ErrorCode::kInvalidModel, "approximate must be none or tanh, not ", approximate);
}

/// On integers, and, with `kFloats`, on every number.
template <class Function, bool kFloats>
Status number(KernelContext& context) {
  const DType dtype = context.in(0).dtype;
  const auto choose = [&]<class T>() -> MapFn {
    if constexpr (std::is_same_v<T, bool> ||
                  (std::is_floating_point_v<ComputeType<T>> && !kFloats)) {
      return nullptr;
    } else if constexpr (std::is_same_v<ComputeType<T>, float>) {
      return map_range<float, Function>;
    } else {
      return map_range<T, Function>;
    }
  };
  const MapFn map = visit_dtype(dtype, choose, []() -> MapFn { return nullptr; });
  return map == nullptr ? Status(bad_dtype(dtype)) : run_map(context, map, {});
}

Status logical_not(KernelContext& context) {
  const TensorView& x = context.in(0);
  if (x.dtype != DType::kBool) return bad_dtype(x.dtype);
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, DType::kBool, x.shape));
  std::transform(x.as<const bool>(), x.as<const bool>() + x.elements(), out.as<bool>(),
                 std::logical_not<bool>());
  return {};
}

/// bool output: Test::apply(x, positive, negative).
template <class Test>
Status classify(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, DType::kBool, x.shape));
  const Test test(context.node);
  OCTAVO_TRY(check_double(x.dtype));
  const double* in = x.as<const double>();
  std::transform(in, in + x.elements(), out.as<bool>(), test);
  return {};
}
struct IsNaN {
  explicit IsNaN(const Node&) {}
  bool operator()(double x) const { return std::isnan(x); }
};
struct IsInf {
  explicit IsInf(const Node& node)
      : positive(node.get_int("detect_positive") != 0),
        negative(node.get_int("detect_negative") != 0) {}
  bool operator()(double x) const { return std::isinf(x) && (x > 0 ? positive : negative); }
  bool positive, negative;
};

Status identity(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  copy_elements(x, out);
  return {};
}

Status infer_bool(InferContext& context) {
  context.set_output(0, DType::kBool, context.shape(0));
  return {};
}

constexpr FieldDef kAlpha1[] = {float_field("alpha", 1.0f)};
constexpr FieldDef kLeakyReluFields[] = {float_field("alpha", 0.01f)};
constexpr FieldDef kHardSigmoidFields[] = {float_field("alpha", 0.2f), float_field("beta", 0.5f)};
constexpr FieldDef kSeluFields[] = {float_field("alpha", 1.67326319217681884765625f),
                                    float_field("gamma", 1.05070102214813232421875f)};
constexpr FieldDef kShrinkFields[] = {float_field("lambd", 0.5f), float_field("bias", 0.0f)};
constexpr FieldDef kGeluFields[] = {string_field("approximate", "none")};
constexpr FieldDef kIsInfFields[] = {int_field("detect_negative", 1),
                                     int_field("detect_positive", 1)};

constexpr QuantRule kTable{.policy = QuantPolicy::kTable};
constexpr QuantRule kFloatOnly{};
// Outputs in [0, 1) and [-1, 1).
constexpr QuantRule kSigmoidTable{.policy = QuantPolicy::kTable, .fixed_scale = 1.0f / 256};
constexpr QuantRule kTanhTable{
    .policy = QuantPolicy::kTable, .fixed_scale = 1.0f / 128, .fixed_signed = true};

constexpr OpDef row(OpKind kind, const char* name, ReferenceFn reference, QuantRule quant = {},
                    std::span<const FieldDef> fields = {}) {
  return {.kind = kind,
          .name = name,
          .fields = fields,
          .infer = infer_like_input,
          .reference = reference,
          .quant = quant,
          // Activations, which have integer tables too. Exp, Log and the like need f32.
          .mixed = quant.policy == QuantPolicy::kFloatOnly ? MixedRule{} : kInferHalf,
          .layout = LayoutRule::kAgnostic,
          .flags = kInPlace};
}

constexpr OpDef bool_row(OpKind kind, const char* name, ReferenceFn reference,
                         std::span<const FieldDef> fields = {}) {
  OpDef op = row(kind, name, reference, {}, fields);
  op.infer = infer_bool;
  op.flags = kNoFlags;
  return op;
}

constexpr OpDef identity_row() {
  OpDef op = row(OpKind::kIdentity, "Identity", identity, {.policy = QuantPolicy::kSameScale});
  op.flags = kAlias;
  return op;
}

constexpr OpDef kRows[] = {
    row(OpKind::kAbs, "Abs", number<Abs, true>, kTable),
    row(OpKind::kAcos, "Acos", real<Acos>),
    row(OpKind::kAcosh, "Acosh", real<Acosh>),
    row(OpKind::kAsin, "Asin", real<Asin>),
    row(OpKind::kAsinh, "Asinh", real<Asinh>),
    row(OpKind::kAtan, "Atan", real<Atan>),
    row(OpKind::kAtanh, "Atanh", real<Atanh>),
    row(OpKind::kBitwiseNot, "BitwiseNot", number<BitwiseNot, false>),
    row(OpKind::kCeil, "Ceil", real<Ceil>),
    row(OpKind::kCelu, "Celu", celu, kTable, kAlpha1),
    row(OpKind::kCos, "Cos", real<Cos>),
    row(OpKind::kCosh, "Cosh", real<Cosh>),
    row(OpKind::kElu, "Elu", real_alpha<Elu>, kTable, kAlpha1),
    row(OpKind::kErf, "Erf", real<Erf>, kTable),
    row(OpKind::kExp, "Exp", real<Exp>),
    row(OpKind::kFloor, "Floor", real<Floor>),
    row(OpKind::kGelu, "Gelu", gelu, kTable, kGeluFields),
    row(OpKind::kHardSigmoid, "HardSigmoid", real_alpha_beta<HardSigmoid>, kSigmoidTable,
        kHardSigmoidFields),
    row(OpKind::kHardSwish, "HardSwish", real<HardSwish>, kTable),
    identity_row(),
    bool_row(OpKind::kIsInf, "IsInf", in_double<classify<IsInf>>, kIsInfFields),
    bool_row(OpKind::kIsNaN, "IsNaN", in_double<classify<IsNaN>>),
    row(OpKind::kLeakyRelu, "LeakyRelu", real_alpha<LeakyRelu>, kTable, kLeakyReluFields),
    row(OpKind::kLog, "Log", real<Log>),
    row(OpKind::kMish, "Mish", real<Mish>, kTable),
    row(OpKind::kNeg, "Neg", number<Neg, true>, kTable),
    bool_row(OpKind::kNot, "Not", logical_not),
    row(OpKind::kReciprocal, "Reciprocal", real<Reciprocal>),
    row(OpKind::kRelu, "Relu", number<Relu, true>, kTable),
    row(OpKind::kRound, "Round", real<Round>),
    row(OpKind::kSelu, "Selu", selu, kTable, kSeluFields),
    row(OpKind::kShrink, "Shrink", shrink, kFloatOnly, kShrinkFields),
    row(OpKind::kSigmoid, "Sigmoid", real<Sigmoid>, kSigmoidTable),
    row(OpKind::kSign, "Sign", number<Sign, true>),
    row(OpKind::kSin, "Sin", real<Sin>),
    row(OpKind::kSinh, "Sinh", real<Sinh>),
    row(OpKind::kSoftplus, "Softplus", real<Softplus>, kTable),
    row(OpKind::kSoftsign, "Softsign", real<Softsign>, kTable),
    row(OpKind::kSqrt, "Sqrt", real<Sqrt>),
    row(OpKind::kTan, "Tan", real<Tan>),
    row(OpKind::kTanh, "Tanh", real<Tanh>, kTanhTable),
    row(OpKind::kThresholdedRelu, "ThresholdedRelu", real_alpha<ThresholdedRelu>, kTable, kAlpha1),
};

}  // namespace

std::span<const OpDef> unary_ops() { return kRows; }

}  // namespace octavo::ops
