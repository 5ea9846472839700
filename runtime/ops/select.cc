// Elementwise operators that choose: Where, Clip, Dropout.
#include <algorithm>

#include "runtime/ops/broadcast.h"
#include "runtime/ops/common.h"
#include "runtime/ops/families.h"

namespace octavo::ops {
namespace {

Status infer_where(InferContext& context) {
  OCTAVO_ASSIGN(const Shape shape, broadcast_inputs(context));
  context.set_output(0, context.dtype(1), shape);
  return {};
}

Status where(KernelContext& context) {
  const TensorView& condition = context.in(0);
  const TensorView& x = context.in(1);
  const TensorView& y = context.in(2);
  if (condition.dtype != DType::kBool) return bad_dtype(condition.dtype);
  if (x.dtype != y.dtype) {
    return fail(ErrorCode::kShapeMismatch, "X is ", dtype_name(x.dtype), ", Y is ",
                dtype_name(y.dtype), ": cast one to the other's type");
  }
  OCTAVO_ASSIGN(Shape shape, broadcast_shapes(x.shape, y.shape));
  OCTAVO_ASSIGN(shape, broadcast_shapes(shape, condition.shape));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, shape));
  OCTAVO_ASSIGN(const Broadcast broadcast, Broadcast::create(out, context.inputs));
  visit_dtype_size(x.dtype, [&]<class T>() {
    const int64_t sc = broadcast.stride(0), sx = broadcast.stride(1), sy = broadcast.stride(2);
    broadcast.run(context.pool, [&](const Broadcast::Offsets& offsets, int64_t at, int64_t count) {
      const uint8_t* c = condition.as<const uint8_t>() + offsets[0];
      const T* from_x = x.as<const T>() + offsets[1];
      const T* from_y = y.as<const T>() + offsets[2];
      T* to = out.as<T>() + at;
      for (int64_t i = 0; i < count; ++i) to[i] = c[i * sc] != 0 ? from_x[i * sx] : from_y[i * sy];
    });
  });
  return {};
}

Status clip(KernelContext& context) {
  const TensorView& x = context.in(0);
  for (size_t i = 1; i < 3; ++i) {
    if (!context.has_input(i)) continue;
    if (context.in(i).elements() != 1 || context.in(i).dtype != x.dtype) {
      return fail(ErrorCode::kShapeMismatch, i == 1 ? "min" : "max", " must be one ",
                  dtype_name(x.dtype), " number");
    }
  }
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  const auto run = [&]<class T>() -> Status {
    using C = ComputeType<T>;
    const bool has_lo = context.has_input(1), has_hi = context.has_input(2);
    const C lo = has_lo ? static_cast<C>(*context.in(1).as<const T>()) : C();
    const C hi = has_hi ? static_cast<C>(*context.in(2).as<const T>()) : C();
    const T* in = x.as<const T>();
    T* to = out.as<T>();
    parallel_for(context.pool, out.elements(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        auto value = static_cast<C>(in[i]);
        if (has_lo && value < lo) value = lo;
        if (has_hi && value > hi) value = hi;  // after min: a max below min wins
        to[i] = static_cast<T>(value);
      }
    });
    return {};
  };
  return visit_dtype(x.dtype, run, [&]() -> Status { return bad_dtype(x.dtype); });
}

Status infer_dropout(InferContext& context) {
  context.set_output(0, context.dtype(0), context.shape(0));
  context.set_output(1, DType::kBool, context.shape(0));
  return {};
}

Status dropout(KernelContext& context) {
  const TensorView& x = context.in(0);
  double training = 0;
  if (context.has_input(2)) {
    OCTAVO_ASSIGN(training, scalar_number(context.in(2)));
  }
  if (training != 0) {
    double ratio = 0.5;
    if (context.has_input(1)) {
      OCTAVO_ASSIGN(ratio, scalar_number(context.in(1)));
    }
    if (ratio != 0) {
      return fail(ErrorCode::kUnsupportedOp,
                  "training_mode with a ratio other than 0 is not supported: export the model for "
                  "inference");
    }
  }
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, x.shape));
  copy_elements(x, out);
  if (context.has_output(1)) {
    OCTAVO_ASSIGN(const TensorView mask, context.make_output(1, DType::kBool, x.shape));
    std::fill_n(mask.as<bool>(), mask.elements(), true);
  }
  return {};
}

constexpr FieldDef kDropoutFields[] = {int_field("seed", 0)};

constexpr OpDef kRows[] = {
    {.kind = OpKind::kWhere,
     .name = "Where",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_where,
     .reference = where,
     .mixed = kInferHalf,
     .layout = LayoutRule::kAgnostic},
    {.kind = OpKind::kClip,
     .name = "Clip",
     .max_inputs = 3,
     .infer = infer_like_input,
     .reference = clip,
     .quant = {.policy = QuantPolicy::kTable},
     .mixed = kInferHalf,
     .layout = LayoutRule::kAgnostic,
     .flags = kInPlace},
    {.kind = OpKind::kDropout,
     .name = "Dropout",
     .max_inputs = 3,
     .max_outputs = 2,
     .fields = kDropoutFields,
     .infer = infer_dropout,
     .reference = dropout,
     .quant = {.policy = QuantPolicy::kSameScale},
     .mixed = kInferHalf,
     .layout = LayoutRule::kAgnostic,
     .flags = kInPlace},
};

}  // namespace

std::span<const OpDef> select_ops() { return kRows; }

}  // namespace octavo::ops
