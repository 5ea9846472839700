#include <algorithm>
#include <atomic>
#include <functional>

#include "runtime/ops/broadcast.h"
#include "runtime/ops/common.h"
#include "runtime/ops/families.h"

namespace octavo::ops {
namespace {

// Integers wrap around; 64 unsigned bits keep the low bits of any of them without overflow.
template <class T>
constexpr bool kIsInt = std::is_integral_v<T> && !std::is_same_v<T, bool>;

struct Add {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (kIsInt<T>)
      return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    else
      return a + b;
  }
};
struct Sub {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (kIsInt<T>)
      return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
    else
      return a - b;
  }
};
struct Mul {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (kIsInt<T>)
      return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    else
      return a * b;
  }
};
struct Div {
  template <class T>
  static bool divides(T b) {
    return !kIsInt<T> || b != T(0);
  }
  template <class T>
  static T apply(T a, T b) {
    if constexpr (kIsInt<T> && std::is_signed_v<T>) {
      if (b == T(-1)) return Sub::apply(T(0), a);  // the lowest number stays itself
    }
    return static_cast<T>(a / b);
  }
};
/// The remainder has the divisor's sign, as in Python.
struct Mod {
  template <class T>
  static bool divides(T b) {
    return Div::divides(b);
  }
  template <class T>
  static T apply(T a, T b) {
    T r = 0;
    if constexpr (kIsInt<T>) {
      if constexpr (std::is_signed_v<T>) {
        if (b == T(-1)) return 0;
      }
      r = static_cast<T>(a % b);
    } else {
      r = std::fmod(a, b);
    }
    return r != T(0) && (r < T(0)) != (b < T(0)) ? static_cast<T>(r + b) : r;
  }
};
/// The remainder has the dividend's sign, as in C.
struct FMod {
  template <class T>
  static bool divides(T b) {
    return Div::divides(b);
  }
  template <class T>
  static T apply(T a, T b) {
    if constexpr (kIsInt<T>) {
      if constexpr (std::is_signed_v<T>) {
        if (b == T(-1)) return 0;
      }
      return static_cast<T>(a % b);
    } else {
      return std::fmod(a, b);
    }
  }
};
struct Pow {
  template <class T>
  static T apply(T a, T b) {
    if constexpr (kIsInt<T>) {
      if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
      T result = 1;
      for (T square = a; b > 0; b >>= 1, square = Mul::apply(square, square)) {
        if ((b & 1) != 0) result = Mul::apply(result, square);
      }
      return result;
    } else {
      return b == T(2) ? a * a : std::pow(a, b);
    }
  }
};
// A NaN on either side is the result.
struct Max {
  template <class T>
  static T apply(T a, T b) {
    return a > b || a != a ? a : b;
  }
};
struct Min {
  template <class T>
  static T apply(T a, T b) {
    return a < b || a != a ? a : b;
  }
};
struct PRelu {
  template <class T>
  static T apply(T x, T slope) {
    return x < T(0) ? Mul::apply(x, slope) : x;
  }
};
struct ShiftLeft {
  template <class T>
  static T apply(T a, T b) {
    return b >= sizeof(T) * 8 ? T(0) : static_cast<T>(static_cast<uint64_t>(a) << b);
  }
};
struct ShiftRight {
  template <class T>
  static T apply(T a, T b) {
    return b >= sizeof(T) * 8 ? T(0) : static_cast<T>(a >> b);
  }
};
/// A function object of <functional>.
template <class Function>
struct Std {
  template <class T>
  static auto apply(const T& a, const T& b) {
    using Result = decltype(Function()(a, b));
    return static_cast<std::conditional_t<std::is_same_v<Result, bool>, bool, T>>(Function()(a, b));
  }
};

/// Computes `count` elements; strides in elements. False: a division by zero.
using Row = bool (*)(const void* a, int64_t stride_a, const void* b, int64_t stride_b, void* out,
                     int64_t count);

template <class Op, class T>
bool row(const void* a_data, int64_t stride_a, const void* b_data, int64_t stride_b, void* out_data,
         int64_t count) {
  using C = std::conditional_t<std::is_same_v<T, std::string>, const std::string&, ComputeType<T>>;
  using Result = decltype(Op::apply(std::declval<C>(), std::declval<C>()));
  using Out = std::conditional_t<std::is_same_v<Result, bool>, bool, T>;
  const T* a = static_cast<const T*>(a_data);
  const T* b = static_cast<const T*>(b_data);
  Out* out = static_cast<Out*>(out_data);
  if constexpr (requires { Op::divides(C()); }) {
    for (int64_t i = 0; i < (stride_b == 0 ? 1 : count); ++i) {
      if (!Op::divides(static_cast<C>(b[i * stride_b]))) return false;
    }
  }
  const auto compute = [&](int64_t i, int64_t j) {
    return static_cast<Out>(Op::apply(static_cast<C>(a[i]), static_cast<C>(b[j])));
  };
  if (stride_a == 1 && stride_b == 1) {
    for (int64_t i = 0; i < count; ++i) out[i] = compute(i, i);
  } else if (stride_a == 1 && stride_b == 0) {
    for (int64_t i = 0; i < count; ++i) out[i] = compute(i, 0);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = compute(i * stride_a, i * stride_b);
  }
  return true;
}

enum class Types { kNumbers, kIntegers, kUnsigned, kBools, kAll, kAllAndStrings };

template <Types kTypes, class T>
constexpr bool accepts() {
  switch (kTypes) {
    case Types::kNumbers: return !std::is_same_v<T, bool>;
    case Types::kIntegers: return kIsInt<T>;
    case Types::kUnsigned: return kIsInt<T> && std::is_unsigned_v<T>;
    case Types::kBools: return std::is_same_v<T, bool>;
    default: return true;
  }
}

/// The row for a type of widen_number, bool or string.
template <class Op, Types kTypes>
Row find_row(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      if constexpr (accepts<kTypes, double>()) return row<Op, double>;
      return nullptr;
    case DType::kI64:
      if constexpr (accepts<kTypes, int64_t>()) return row<Op, int64_t>;
      return nullptr;
    case DType::kU64:
      if constexpr (accepts<kTypes, uint64_t>()) return row<Op, uint64_t>;
      return nullptr;
    case DType::kBool:
      if constexpr (accepts<kTypes, bool>()) return row<Op, bool>;
      return nullptr;
    case DType::kString:
      if constexpr (kTypes == Types::kAllAndStrings) return row<Op, std::string>;
      return nullptr;
    default: return nullptr;
  }
}

Status check_same_dtype(const TensorView& a, const TensorView& b) {
  if (a.dtype == b.dtype) return {};
  return fail(ErrorCode::kShapeMismatch, "the inputs are ", dtype_name(a.dtype), " and ",
              dtype_name(b.dtype), ": cast one to the other's type");
}

/// A reference for rows: numbers are computed in the types of widen_number.
template <ReferenceFn kReference>
Status wide(KernelContext& context) {
  for (const TensorView& input : context.inputs) {
    OCTAVO_TRY(check_same_dtype(context.in(0), input));
  }
  return run_widened(context, kReference, [](DType dtype) {
    return dtype == DType::kBool ? dtype : widen_number(dtype);
  });
}

Status run_rows(KernelContext& context, const TensorView& a, const TensorView& b,
                const TensorView& out, Row row) {
  if (row == nullptr) return bad_dtype(a.dtype);
  const TensorView operands[] = {a, b};
  OCTAVO_ASSIGN(const Broadcast broadcast, Broadcast::create(out, operands));
  const int64_t in_bytes = dtype_bytes(a.dtype), out_bytes = dtype_bytes(out.dtype);
  std::atomic<bool> ok = true;
  broadcast.run(context.pool, [&](const Broadcast::Offsets& offsets, int64_t at, int64_t count) {
    if (!row(a.as<const std::byte>() + offsets[0] * in_bytes, broadcast.stride(0),
             b.as<const std::byte>() + offsets[1] * in_bytes, broadcast.stride(1),
             out.as<std::byte>() + at * out_bytes, count)) {
      ok.store(false, std::memory_order_relaxed);
    }
  });
  if (!ok) return fail(ErrorCode::kInvalidData, "integer division by zero");
  return {};
}

Status run_binary(KernelContext& context, Row row, DType out_dtype) {
  const TensorView& a = context.in(0);
  const TensorView& b = context.in(1);
  OCTAVO_TRY(check_same_dtype(a, b));
  OCTAVO_ASSIGN(const Shape shape, broadcast_shapes(a.shape, b.shape));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, out_dtype, shape));
  return run_rows(context, a, b, out, row);
}

template <class Op, Types kTypes>
Status binary(KernelContext& context) {
  const DType dtype = context.in(0).dtype;
  return run_binary(context, find_row<Op, kTypes>(dtype), dtype);
}

template <class Op, Types kTypes>
Status comparison(KernelContext& context) {
  return run_binary(context, find_row<Op, kTypes>(context.in(0).dtype), DType::kBool);
}

Status modulo(KernelContext& context) {
  return context.node.get_int("fmod") != 0 ? binary<FMod, Types::kNumbers>(context)
                                           : binary<Mod, Types::kNumbers>(context);
}

Status bit_shift(KernelContext& context) {
  const std::string_view direction = context.node.get_string("direction");
  if (direction == "LEFT") return binary<ShiftLeft, Types::kUnsigned>(context);
  if (direction == "RIGHT") return binary<ShiftRight, Types::kUnsigned>(context);
  return fail(ErrorCode::kInvalidModel, "direction must be LEFT or RIGHT, not ", direction);
}

// Base and exponent may differ in type; the result has the base's. Computed in f32, f64 or, if both
// are integers, i64.
Status power(KernelContext& context) {
  const TensorView& base = context.in(0);
  const TensorView& exponent = context.in(1);
  const DTypeInfo& base_info = dtype_info(base.dtype);
  const DTypeInfo& exponent_info = dtype_info(exponent.dtype);
  if (!base_info.is_float && !base_info.is_int) return bad_dtype(base.dtype);
  if (!exponent_info.is_float && !exponent_info.is_int) return bad_dtype(exponent.dtype);
  DType dtype = DType::kF64;
  if (base_info.is_int && exponent_info.is_int) dtype = DType::kI64;
  if (base_info.is_float && base.dtype != DType::kF64) dtype = DType::kF32;
  const auto convert = [&](const TensorView& view, Tensor& holder) -> Result<TensorView> {
    if (view.dtype == dtype) return view;
    OCTAVO_ASSIGN(holder, Tensor::create(dtype, view.shape));
    TensorView made = holder.view();
    made.layout = view.layout;
    OCTAVO_TRY(cast_elements(view, made));
    return made;
  };
  Tensor held_base, held_exponent, held_out;
  OCTAVO_ASSIGN(const TensorView x, convert(base, held_base));
  OCTAVO_ASSIGN(const TensorView y, convert(exponent, held_exponent));
  OCTAVO_ASSIGN(const Shape shape, broadcast_shapes(base.shape, exponent.shape));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, base.dtype, shape));
  TensorView result = out;
  if (out.dtype != dtype) {
    OCTAVO_ASSIGN(held_out, Tensor::create(dtype, shape));
    result = held_out.view();
    result.layout = out.layout;
  }
  const Row row = dtype == DType::kF32   ? octavo::ops::row<Pow, float>
                  : dtype == DType::kF64 ? octavo::ops::row<Pow, double>
                                         : octavo::ops::row<Pow, int64_t>;
  OCTAVO_TRY(run_rows(context, x, y, result, row));
  return out.dtype != dtype ? cast_elements(result, out) : Status();
}

Status infer_comparison(InferContext& context) {
  OCTAVO_ASSIGN(const Shape shape, broadcast_inputs(context));
  context.set_output(0, DType::kBool, shape);
  return {};
}

Status infer_like_first(InferContext& context) {
  if (context.ranks_known()) {
    OCTAVO_ASSIGN(const Shape shape, broadcast_inputs(context));
    if (shape.rank() != context.shape(0).rank()) {
      return fail(ErrorCode::kShapeMismatch, "slope of shape ", context.shape(1).to_string(),
                  " does not broadcast to ", context.shape(0).to_string());
    }
  }
  return infer_like_input(context);
}

/// Folds any number of inputs from the left.
template <class Op>
Status variadic(KernelContext& context) {
  const DType dtype = context.in(0).dtype;
  Shape shape;
  for (const TensorView& input : context.inputs) {
    OCTAVO_TRY(check_same_dtype(context.in(0), input));
    OCTAVO_ASSIGN(shape, broadcast_shapes(shape, input.shape));
  }
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, dtype, shape));
  if (context.inputs.size() == 1) {
    copy_elements(context.in(0), out);
    return {};
  }
  const Row row = find_row<Op, Types::kNumbers>(dtype);
  for (size_t i = 1; i < context.inputs.size(); ++i) {
    OCTAVO_TRY(run_rows(context, i == 1 ? context.in(0) : out, context.in(i), out, row));
  }
  return {};
}

Status mean(KernelContext& context) {
  OCTAVO_TRY(variadic<Add>(context));
  const TensorView& out = context.out(0);
  OCTAVO_TRY(check_double(out.dtype));
  const auto count = static_cast<double>(context.inputs.size());
  for (double& value : out.span<double>()) value /= count;
  return {};
}

constexpr FieldDef kShiftFields[] = {required(string_field("direction"))};
constexpr FieldDef kModFields[] = {int_field("fmod", 0)};

constexpr QuantRule kRequantizeRule{.policy = QuantPolicy::kRequantize};

constexpr OpDef arithmetic_row(OpKind kind, const char* name, ReferenceFn reference,
                               QuantRule quant = {}, std::span<const FieldDef> fields = {}) {
  return {.kind = kind,
          .name = name,
          .min_inputs = 2,
          .max_inputs = 2,
          .fields = fields,
          .infer = infer_broadcast,
          .reference = reference,
          .quant = quant,
          .layout = LayoutRule::kAgnostic};
}
/// Arithmetic that half precision does as well.
constexpr OpDef infer_row(OpDef op) {
  op.mixed = kInferHalf;
  return op;
}
constexpr OpDef comparison_row(OpKind kind, const char* name, ReferenceFn reference) {
  OpDef op = arithmetic_row(kind, name, reference);
  op.infer = infer_comparison;
  return op;
}
constexpr OpDef variadic_row(OpKind kind, const char* name, ReferenceFn reference) {
  OpDef op = arithmetic_row(kind, name, reference, kRequantizeRule);
  op.min_inputs = 1;
  op.max_inputs = -1;
  return op;
}
constexpr OpDef prelu_row() {
  OpDef op = arithmetic_row(OpKind::kPRelu, "PRelu", wide<binary<PRelu, Types::kNumbers>>);
  op.infer = infer_like_first;
  return infer_row(op);
}

constexpr OpDef kRows[] = {
    infer_row(
        arithmetic_row(OpKind::kAdd, "Add", wide<binary<Add, Types::kNumbers>>, kRequantizeRule)),
    comparison_row(OpKind::kAnd, "And", comparison<Std<std::logical_and<>>, Types::kBools>),
    arithmetic_row(OpKind::kBitShift, "BitShift", wide<bit_shift>, {}, kShiftFields),
    arithmetic_row(OpKind::kBitwiseAnd, "BitwiseAnd",
                   wide<binary<Std<std::bit_and<>>, Types::kIntegers>>),
    arithmetic_row(OpKind::kBitwiseOr, "BitwiseOr",
                   wide<binary<Std<std::bit_or<>>, Types::kIntegers>>),
    arithmetic_row(OpKind::kBitwiseXor, "BitwiseXor",
                   wide<binary<Std<std::bit_xor<>>, Types::kIntegers>>),
    infer_row(arithmetic_row(OpKind::kDiv, "Div", wide<binary<Div, Types::kNumbers>>)),
    comparison_row(OpKind::kEqual, "Equal",
                   wide<comparison<Std<std::equal_to<>>, Types::kAllAndStrings>>),
    comparison_row(OpKind::kGreater, "Greater",
                   wide<comparison<Std<std::greater<>>, Types::kNumbers>>),
    comparison_row(OpKind::kGreaterOrEqual, "GreaterOrEqual",
                   wide<comparison<Std<std::greater_equal<>>, Types::kNumbers>>),
    comparison_row(OpKind::kLess, "Less", wide<comparison<Std<std::less<>>, Types::kNumbers>>),
    comparison_row(OpKind::kLessOrEqual, "LessOrEqual",
                   wide<comparison<Std<std::less_equal<>>, Types::kNumbers>>),
    infer_row(variadic_row(OpKind::kMax, "Max", wide<variadic<Max>>)),
    infer_row(variadic_row(OpKind::kMean, "Mean", in_double<mean>)),
    infer_row(variadic_row(OpKind::kMin, "Min", wide<variadic<Min>>)),
    arithmetic_row(OpKind::kMod, "Mod", wide<modulo>, {}, kModFields),
    infer_row(
        arithmetic_row(OpKind::kMul, "Mul", wide<binary<Mul, Types::kNumbers>>, kRequantizeRule)),
    comparison_row(OpKind::kOr, "Or", comparison<Std<std::logical_or<>>, Types::kBools>),
    prelu_row(),
    arithmetic_row(OpKind::kPow, "Pow", power),
    infer_row(
        arithmetic_row(OpKind::kSub, "Sub", wide<binary<Sub, Types::kNumbers>>, kRequantizeRule)),
    infer_row(variadic_row(OpKind::kSum, "Sum", wide<variadic<Add>>)),
    comparison_row(OpKind::kXor, "Xor", comparison<Std<std::not_equal_to<>>, Types::kBools>),
};

}  // namespace

std::span<const OpDef> binary_ops() { return kRows; }

}  // namespace octavo::ops
