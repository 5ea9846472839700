#include <algorithm>

#include "runtime/ops/families.h"
#include "runtime/ops/indexing.h"
#include "runtime/ops/move.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kScatterElementsFields[] = {int_field("axis"),
                                               string_field("reduction", "none")};
constexpr FieldDef kScatterNDFields[] = {string_field("reduction", "none")};

// How an update meets what is there.
struct Replace {
  template <class T>
  static void apply(T& at, const T& update) {
    at = update;
  }
};
template <class Fn>
struct Combine {
  template <class T>
  static void apply(T& at, const T& update) {
    using A = ComputeType<T>;
    at = static_cast<T>(Fn::template of<A>(static_cast<A>(at), static_cast<A>(update)));
  }
};
// Integer sums and products wrap.
template <class A>
using Wrapping = std::conditional_t<std::is_integral_v<A> && !std::is_same_v<A, bool>,
                                    std::make_unsigned<A>, std::type_identity<A>>::type;
struct Add {
  template <class A>
  static A of(A a, A b) {
    using W = Wrapping<A>;
    return static_cast<A>(static_cast<W>(a) + static_cast<W>(b));
  }
};
struct Mul {
  template <class A>
  static A of(A a, A b) {
    // Products of unsigned short promote to int, which could overflow.
    using W = std::conditional_t<std::is_integral_v<A>, uint64_t, A>;
    return static_cast<A>(static_cast<W>(a) * static_cast<W>(b));
  }
};
struct Max {
  template <class A>
  static A of(A a, A b) {
    return a > b ? a : b;
  }
};
struct Min {
  template <class A>
  static A of(A a, A b) {
    return a < b ? a : b;
  }
};

// Calls fn<T, Apply>() for the node's `reduction`.
template <class Fn>
Status visit_reduction(const Node& node, DType dtype, Fn&& fn) {
  const std::string_view reduction = node.get_string("reduction");
  if (reduction.empty() || reduction == "none") {
    return visit_dtype_size(dtype, [&]<class T>() { return fn.template operator()<T, Replace>(); });
  }
  const auto with = [&]<class Op>() {
    return visit_dtype(
        dtype, [&]<class T>() { return fn.template operator()<T, Combine<Op>>(); },
        [&]() -> Status {
          return fail(ErrorCode::kShapeMismatch, "a reduction of ", dtype_name(dtype), " elements");
        });
  };
  if (reduction == "add") return with.template operator()<Add>();
  if (reduction == "mul") return with.template operator()<Mul>();
  if (reduction == "max") return with.template operator()<Max>();
  if (reduction == "min") return with.template operator()<Min>();
  return fail(ErrorCode::kInvalidModel, "reduction '", reduction, "' does not exist");
}

Status infer_scatter(InferContext& c) {
  c.set_output(0, c.dtype(0), c.shape(0));
  return {};
}

// A copy of the data to scatter into; the updates' dtype must be the data's.
Result<TensorView> start_output(KernelContext& c) {
  const TensorView& data = c.in(0);
  if (c.in(2).dtype != data.dtype) {
    return fail(ErrorCode::kShapeMismatch, "updates of ", dtype_name(c.in(2).dtype), " for ",
                dtype_name(data.dtype), " data");
  }
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, data.dtype, data.shape));
  copy_elements(data.dtype, data.data, 0, out.data, 0, data.elements());
  return out;
}

Status run_scatter_elements(KernelContext& c) {
  const TensorView &data = c.in(0), &updates = c.in(2);
  const Shape& shape = c.in(1).shape;
  OCTAVO_ASSIGN(const int axis, normalize_axis(c.node.get_int("axis"), data.shape.rank()));
  bool fits = shape.rank() == data.shape.rank() && shape == updates.shape;
  for (int i = 0; i < shape.rank() && fits; ++i) fits = i == axis || shape[i] <= data.shape[i];
  if (!fits) {
    return fail(ErrorCode::kShapeMismatch, "indices of shape ", shape.to_string(), ", updates of ",
                updates.shape.to_string(), " and data of ", data.shape.to_string());
  }
  OCTAVO_ASSIGN(Tensor indices, as_i64(c.in(1)));
  OCTAVO_TRY(normalize_indices(indices, data.shape[axis]));
  OCTAVO_ASSIGN(const TensorView out, start_output(c));
  const int64_t* index = std::as_const(indices).data<int64_t>().data();
  return visit_reduction(c.node, data.dtype, [&]<class T, class Apply>() -> Status {
    const T* from = updates.as<const T>();
    T* to = out.as<T>();
    for_each_position(shape, data.shape, axis, [&](int64_t at, int64_t base, int64_t stride) {
      Apply::apply(to[base + index[at] * stride], from[at]);
    });
    return {};
  });
}

Status run_scatter_nd(KernelContext& c) {
  const TensorView &data = c.in(0), &updates = c.in(2);
  const Shape& shape = c.in(1).shape;
  const int64_t depth = shape.rank() < 1 ? 0 : shape.back();
  bool fits = shape.rank() >= 1 && depth >= 1 && depth <= data.shape.rank() &&
              updates.shape.rank() == shape.rank() - 1 + data.shape.rank() - depth;
  for (int i = 0; fits && i < updates.shape.rank(); ++i) {
    const int from_data = static_cast<int>(i - (shape.rank() - 1) + depth);
    fits = updates.shape[i] == (i + 1 < shape.rank() ? shape[i] : data.shape[from_data]);
  }
  if (!fits) {
    return fail(ErrorCode::kShapeMismatch, "indices of shape ", shape.to_string(), ", updates of ",
                updates.shape.to_string(), " and data of ", data.shape.to_string());
  }
  OCTAVO_ASSIGN(const Tensor indices, as_i64(c.in(1)));
  OCTAVO_ASSIGN(const TensorView out, start_output(c));
  if (updates.elements() == 0) return {};
  const int64_t inner = data.shape.elements(static_cast<int>(depth), data.shape.rank());
  return visit_reduction(c.node, data.dtype, [&]<class T, class Apply>() -> Status {
    const int64_t* index = indices.data<int64_t>().data();
    const T* from = updates.as<const T>();
    for (int64_t i = 0; i < updates.elements() / inner; ++i, index += depth) {
      OCTAVO_ASSIGN(const int64_t at, locate(data.shape, 0, {index, static_cast<size_t>(depth)}));
      T* to = out.as<T>() + at;
      for (int64_t k = 0; k < inner; ++k) Apply::apply(to[k], *from++);
    }
    return {};
  });
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kScatterElements,
     .name = "ScatterElements",
     .min_inputs = 3,
     .max_inputs = 3,
     .fields = kScatterElementsFields,
     .infer = infer_scatter,
     .reference = run_scatter_elements},
    {.kind = OpKind::kScatterND,
     .name = "ScatterND",
     .min_inputs = 3,
     .max_inputs = 3,
     .fields = kScatterNDFields,
     .infer = infer_scatter,
     .reference = run_scatter_nd},
};

}  // namespace

std::span<const OpDef> scatter_ops() { return kOps; }

}  // namespace octavo::ops
