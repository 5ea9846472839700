#include <algorithm>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/indexing.h"
#include "runtime/ops/move.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kScatterElementsFields[] = {int_field("axis"),
                                               string_field("reduction", "none")};
constexpr FieldDef kScatterNDFields[] = {string_field("reduction", "none")};

// How an update meets what is there.
enum class Reduction : uint8_t { kNone, kAdd, kMul, kMax, kMin };

Result<Reduction> reduction_of(const Node& node) {
  const std::string_view name = node.get_string("reduction");
  if (name.empty() || name == "none") return Reduction::kNone;
  if (name == "add") return Reduction::kAdd;
  if (name == "mul") return Reduction::kMul;
  if (name == "max") return Reduction::kMax;
  if (name == "min") return Reduction::kMin;
  return fail(ErrorCode::kInvalidModel, "reduction '", name, "' does not exist");
}

// Of the types of widen_number; integer sums and products wrap.
template <class T>
T combine(Reduction reduction, T a, T b) {
  using W = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;
  switch (reduction) {
    case Reduction::kAdd: return static_cast<T>(static_cast<W>(a) + static_cast<W>(b));
    case Reduction::kMul: return static_cast<T>(static_cast<W>(a) * static_cast<W>(b));
    case Reduction::kMax: return a > b ? a : b;
    case Reduction::kMin: return a < b ? a : b;
    default: return b;
  }
}

// Calls fn(to, from, update) for the node's `reduction`, where update(to[i], from[k]) is an
// element's.
template <class Fn>
Status visit_reduction(const Node& node, const TensorView& out, const TensorView& updates,
                       const Fn& fn) {
  OCTAVO_ASSIGN(const Reduction reduction, reduction_of(node));
  if (reduction == Reduction::kNone) {
    return visit_dtype_size(out.dtype, [&]<class T>() {
      return fn(out.as<T>(), updates.as<const T>(), [](T& at, const T& update) { at = update; });
    });
  }
  return visit_wide(out.dtype, [&]<class T>() {
    return fn(out.as<T>(), updates.as<const T>(),
              [&](T& at, T update) { at = combine(reduction, at, update); });
  });
}

template <ReferenceFn kReference>
Status scatter(KernelContext& c) {
  OCTAVO_ASSIGN(const Reduction reduction, reduction_of(c.node));
  const bool combines = reduction != Reduction::kNone;
  return combines ? run_widened(c, kReference, widen_number) : kReference(c);
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
  const auto run = [&](auto* to, const auto* from, const auto& update) -> Status {
    for_each_position(shape, data.shape, axis, [&](int64_t at, int64_t base, int64_t stride) {
      update(to[base + index[at] * stride], from[at]);
    });
    return {};
  };
  return visit_reduction(c.node, out, updates, run);
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
  const auto run = [&](auto* data_to, const auto* from, const auto& update) -> Status {
    const int64_t* index = indices.data<int64_t>().data();
    for (int64_t i = 0; i < updates.elements() / inner; ++i, index += depth) {
      OCTAVO_ASSIGN(const int64_t at, locate(data.shape, 0, {index, static_cast<size_t>(depth)}));
      for (int64_t k = 0; k < inner; ++k) update(data_to[at + k], *from++);
    }
    return {};
  };
  return visit_reduction(c.node, out, updates, run);
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kScatterElements,
     .name = "ScatterElements",
     .min_inputs = 3,
     .max_inputs = 3,
     .fields = kScatterElementsFields,
     .infer = infer_scatter,
     .reference = scatter<run_scatter_elements>},
    {.kind = OpKind::kScatterND,
     .name = "ScatterND",
     .min_inputs = 3,
     .max_inputs = 3,
     .fields = kScatterNDFields,
     .infer = infer_scatter,
     .reference = scatter<run_scatter_nd>},
};

}  // namespace

std::span<const OpDef> scatter_ops() { return kOps; }

}  // namespace octavo::ops
