#include <algorithm>

#include "runtime/ops/families.h"
#include "runtime/ops/indexing.h"
#include "runtime/ops/move.h"

namespace octavo::ops {

Result<Tensor> as_i64(const TensorView& view) {
  if (view.dtype == DType::kI64) {
    return Tensor::borrow(DType::kI64, view.shape, view.data, nullptr);
  }
  if (view.dtype != DType::kI32) {
    return fail(ErrorCode::kShapeMismatch, "indices must be i64 or i32, got ",
                dtype_name(view.dtype));
  }
  OCTAVO_ASSIGN(Tensor out, Tensor::create(DType::kI64, view.shape));
  std::ranges::copy(view.span<const int32_t>(), out.data<int64_t>().begin());
  return out;
}

Result<int64_t> locate(const Shape& data, int first, std::span<const int64_t> index) {
  int64_t at = 0;
  for (size_t k = 0; k < index.size(); ++k) {
    const int64_t size = data[first + static_cast<int>(k)];
    if (index[k] < -size || index[k] >= size) {
      return fail(ErrorCode::kInvalidData, "index ", index[k], " is outside a dimension of ", size);
    }
    at = at * size + (index[k] < 0 ? index[k] + size : index[k]);
  }
  return at * data.elements(first + static_cast<int>(index.size()), data.rank());
}

Status normalize_indices(Tensor& indices, int64_t size) {
  bool negative = false;
  for (const int64_t index : std::as_const(indices).data<int64_t>()) {
    if (index < -size || index >= size) {
      return fail(ErrorCode::kInvalidData, "index ", index, " is outside a dimension of ", size);
    }
    negative |= index < 0;
  }
  if (!negative) return {};
  OCTAVO_ASSIGN(indices, indices.clone());  // borrowed from the input, perhaps
  for (int64_t& index : indices.data<int64_t>()) {
    if (index < 0) index += size;
  }
  return {};
}

Status infer_picked(InferContext& c) {
  const int64_t axis = c.node.get_int("axis");
  Shape out = c.shape(0);
  if (axis == kNoAxis) {
    out = Shape{kUnknownDim};
  } else if (out.has_rank()) {
    OCTAVO_ASSIGN(const int at, normalize_axis(axis, out.rank()));
    out[at] = kUnknownDim;
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

namespace {

constexpr FieldDef kAxisFields[] = {int_field("axis")};
constexpr FieldDef kGatherNDFields[] = {int_field("batch_dims")};
constexpr FieldDef kCompressFields[] = {int_field("axis", kNoAxis)};

// ---- Gather ----

Result<Shape> gathered(const Shape& data, const Shape& indices, int axis) {
  OCTAVO_TRY(check_rank(int64_t{data.rank()} - 1 + indices.rank()));
  Shape out;
  for (int i = 0; i < axis; ++i) out.push_back(data[i]);
  for (const int64_t dim : indices) out.push_back(dim);
  for (int i = axis + 1; i < data.rank(); ++i) out.push_back(data[i]);
  return out;
}

Status infer_gather(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.ranks_known()) {
    OCTAVO_ASSIGN(const int axis, normalize_axis(c.node.get_int("axis"), c.shape(0).rank()));
    OCTAVO_ASSIGN(out, gathered(c.shape(0), c.shape(1), axis));
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

// out[o][k] = data[o][picks[k]] for blocks of `inner` elements.
void pick_blocks(const TensorView& data, const TensorView& out, int64_t outer, int64_t dim,
                 int64_t inner, std::span<const int64_t> picks) {
  visit_dtype_size(data.dtype, [&]<class T>() {
    const T* from = data.as<const T>();
    T* to = out.as<T>();
    for (int64_t o = 0; o < outer; ++o, from += dim * inner) {
      if (inner == 1) {
        for (const int64_t pick : picks) *to++ = from[pick];
      } else {
        for (const int64_t pick : picks) to = std::copy_n(from + pick * inner, inner, to);
      }
    }
  });
}

Status run_gather(KernelContext& c) {
  const TensorView& data = c.in(0);
  OCTAVO_ASSIGN(const int axis, normalize_axis(c.node.get_int("axis"), data.shape.rank()));
  OCTAVO_ASSIGN(Tensor indices, as_i64(c.in(1)));
  OCTAVO_TRY(normalize_indices(indices, data.shape[axis]));
  OCTAVO_ASSIGN(const Shape shape, gathered(data.shape, indices.shape(), axis));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, data.dtype, shape));
  if (out.elements() == 0) return {};
  pick_blocks(data, out, data.shape.elements(0, axis), data.shape[axis],
              data.shape.elements(axis + 1, data.shape.rank()),
              std::as_const(indices).data<int64_t>());
  return {};
}

// ---- GatherElements ----

Status infer_gather_elements(InferContext& c) {
  c.set_output(0, c.dtype(0), c.shape(1));
  return {};
}

Status run_gather_elements(KernelContext& c) {
  const TensorView& data = c.in(0);
  const Shape& shape = c.in(1).shape;
  OCTAVO_ASSIGN(const int axis, normalize_axis(c.node.get_int("axis"), data.shape.rank()));
  bool fits = shape.rank() == data.shape.rank();
  for (int i = 0; i < shape.rank() && fits; ++i) fits = i == axis || shape[i] <= data.shape[i];
  if (!fits) {
    return fail(ErrorCode::kShapeMismatch, "indices of shape ", shape.to_string(),
                " do not fit data of shape ", data.shape.to_string());
  }
  OCTAVO_ASSIGN(Tensor indices, as_i64(c.in(1)));
  OCTAVO_TRY(normalize_indices(indices, data.shape[axis]));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, data.dtype, shape));
  const int64_t* index = std::as_const(indices).data<int64_t>().data();
  visit_dtype_size(data.dtype, [&]<class T>() {
    const T* from = data.as<const T>();
    T* to = out.as<T>();
    for_each_position(shape, data.shape, axis, [&](int64_t at, int64_t base, int64_t stride) {
      to[at] = from[base + index[at] * stride];
    });
  });
  return {};
}

// ---- GatherND ----

struct GatherNDShape {
  int64_t batch_dims, depth;  // indices' last dimension: how many axes it names
  Shape out;
};

Result<GatherNDShape> gather_nd_shape(const Node& node, const Shape& data, const Shape& indices) {
  GatherNDShape s{node.get_int("batch_dims"), 0, Shape::unknown()};
  if (indices.rank() < 1 || data.rank() < 1 || s.batch_dims < 0 ||
      s.batch_dims >= std::min(data.rank(), indices.rank())) {
    return fail(ErrorCode::kShapeMismatch, "indices of shape ", indices.to_string(), ", data of ",
                data.to_string(), " and batch_dims ", s.batch_dims);
  }
  s.depth = indices.back();
  if (s.depth < 0) return s;
  bool fits = s.depth >= 1 && s.batch_dims + s.depth <= data.rank();
  for (int i = 0; i < s.batch_dims; ++i) {
    fits &= data[i] < 0 || indices[i] < 0 || data[i] == indices[i];
  }
  if (!fits) {
    return fail(ErrorCode::kShapeMismatch, "indices of shape ", indices.to_string(),
                " do not fit data of shape ", data.to_string());
  }
  const int tail = static_cast<int>(s.batch_dims + s.depth);
  OCTAVO_TRY(check_rank(int64_t{indices.rank()} - 1 + data.rank() - tail));
  s.out = Shape{};
  for (int i = 0; i + 1 < indices.rank(); ++i) s.out.push_back(indices[i]);
  for (int i = tail; i < data.rank(); ++i) s.out.push_back(data[i]);
  return s;
}

Status infer_gather_nd(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.ranks_known()) {
    OCTAVO_ASSIGN(const GatherNDShape s, gather_nd_shape(c.node, c.shape(0), c.shape(1)));
    out = s.out;
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

Status run_gather_nd(KernelContext& c) {
  const TensorView& data = c.in(0);
  OCTAVO_ASSIGN(const GatherNDShape s, gather_nd_shape(c.node, data.shape, c.in(1).shape));
  OCTAVO_ASSIGN(const Tensor indices, as_i64(c.in(1)));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, data.dtype, s.out));
  if (out.elements() == 0) return {};
  const int batch = static_cast<int>(s.batch_dims);
  const int64_t inner = data.shape.elements(static_cast<int>(batch + s.depth), data.shape.rank());
  const int64_t batches = data.shape.elements(0, batch);
  const int64_t picks = out.elements() / inner / batches;
  const int64_t batch_size = data.elements() / batches;
  const int64_t* index = indices.data<int64_t>().data();
  for (int64_t i = 0; i < batches * picks; ++i, index += s.depth) {
    OCTAVO_ASSIGN(const int64_t at,
                  locate(data.shape, batch, {index, static_cast<size_t>(s.depth)}));
    copy_elements(data.dtype, data.data, i / picks * batch_size + at, out.data, i * inner, inner);
  }
  return {};
}

// ---- Compress ----

Status run_compress(KernelContext& c) {
  const TensorView &data = c.in(0), &condition = c.in(1);
  if (condition.dtype != DType::kBool || condition.shape.rank() != 1) {
    return fail(ErrorCode::kShapeMismatch, "the condition must be a list of bool");
  }
  const int64_t given = c.node.get_int("axis");
  int axis = 0;
  Shape shape{data.elements()};
  if (given != kNoAxis) {
    OCTAVO_ASSIGN(axis, normalize_axis(given, data.shape.rank()));
    shape = data.shape;
  }
  const int64_t dim = shape[axis];
  if (condition.elements() > dim) {
    return fail(ErrorCode::kShapeMismatch, "a condition of ", condition.elements(),
                " elements for a dimension of ", dim);
  }
  std::vector<int64_t> picks;
  for (int64_t i = 0; i < condition.elements(); ++i) {
    if (condition.as<const bool>()[i]) picks.push_back(i);
  }
  const int64_t outer = shape.elements(0, axis), inner = shape.elements(axis + 1, shape.rank());
  shape[axis] = static_cast<int64_t>(picks.size());
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, data.dtype, shape));
  if (out.elements() > 0) pick_blocks(data, out, outer, dim, inner, picks);
  return {};
}

constexpr QuantRule kMoves = {.policy = QuantPolicy::kSameScale};

constexpr OpDef kOps[] = {
    {.kind = OpKind::kGather,
     .name = "Gather",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kAxisFields,
     .infer = infer_gather,
     .reference = run_gather,
     .quant = kMoves,
     .mixed = kInferHalf},
    {.kind = OpKind::kGatherElements,
     .name = "GatherElements",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kAxisFields,
     .infer = infer_gather_elements,
     .reference = run_gather_elements,
     .mixed = kInferHalf},
    {.kind = OpKind::kGatherND,
     .name = "GatherND",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kGatherNDFields,
     .infer = infer_gather_nd,
     .reference = run_gather_nd,
     .mixed = kInferHalf},
    {.kind = OpKind::kCompress,
     .name = "Compress",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kCompressFields,
     .infer = infer_picked,
     .reference = run_compress},
};

}  // namespace

std::span<const OpDef> gather_ops() { return kOps; }

}  // namespace octavo::ops
