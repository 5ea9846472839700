// Operators that change or read a tensor's shape and leave its bytes as they are.
#include <algorithm>

#include "runtime/ops/families.h"
#include "runtime/ops/move.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kReshapeFields[] = {int_field("allowzero")};
constexpr FieldDef kFlattenFields[] = {int_field("axis", 1)};
// Without `end` (or with this one) Shape lists all dimensions from `start` on.
constexpr int64_t kToEnd = std::numeric_limits<int64_t>::max();
constexpr FieldDef kShapeFields[] = {int_field("end", kToEnd), int_field("start")};

// ONNX Reshape: 0 copies the input's dimension (unless allow_zero), -1 takes what is left. Symbols
// are followed where they are copied or where they alone are left.
Result<Shape> reshaped(const Shape& in, std::span<const int64_t> dims, bool allow_zero) {
  OCTAVO_TRY(check_rank(static_cast<int64_t>(dims.size())));
  Shape out;
  int inferred = -1;
  int64_t left_out = 1;  // product of the dimensions given as numbers
  uint32_t copied = 0;   // input dimensions taken over by a 0
  for (size_t i = 0; i < dims.size(); ++i) {
    const int at = static_cast<int>(i);
    if (dims[i] < -1) return fail(ErrorCode::kShapeMismatch, "the new shape holds ", dims[i]);
    if (dims[i] == -1) {
      if (inferred >= 0) return fail(ErrorCode::kShapeMismatch, "the new shape holds -1 twice");
      inferred = at;
      out.push_back(kUnknownDim);
    } else if (dims[i] == 0 && !allow_zero) {
      if (!in.has_rank()) {
        out.push_back(kUnknownDim);
        continue;
      }
      if (at >= in.rank()) {
        return fail(ErrorCode::kShapeMismatch, "the new shape copies dimension ", i, " of ",
                    in.to_string());
      }
      copied |= 1u << at;
      out.push_back(in[at]);
    } else {
      out.push_back(dims[i]);
      if (__builtin_mul_overflow(left_out, dims[i], &left_out)) {
        return fail(ErrorCode::kLimitExceeded, "the new shape ", out.to_string(), " is too large");
      }
    }
  }
  if (!in.has_rank()) return out;
  Shape left_in;
  for (int i = 0; i < in.rank(); ++i) {
    if ((copied >> i & 1) == 0) left_in.push_back(in[i]);
  }
  const auto mismatch = [&] {
    return fail(ErrorCode::kShapeMismatch, "a tensor of shape ", in.to_string(),
                " cannot be reshaped to ", Shape(dims).to_string());
  };
  if (inferred >= 0) {
    if (left_in.is_static()) {
      const int64_t left = left_in.elements();
      if (left_out == 0 || left % left_out != 0) return mismatch();
      out[inferred] = left / left_out;
    } else {
      int64_t numbers = 1, symbol = kUnknownDim;
      int symbols = 0;
      for (const int64_t dim : left_in) {
        if (dim < 0) {
          symbol = dim;
          ++symbols;
        } else if (__builtin_mul_overflow(numbers, dim, &numbers)) {
          return mismatch();
        }
      }
      if (symbols == 1 && numbers == left_out && numbers != 0) out[inferred] = symbol;
    }
  } else if (left_in.is_static() && left_in.elements() != left_out) {
    return mismatch();
  }
  return out;
}

Status infer_reshape(InferContext& c) {
  Shape out = Shape::unknown();
  if (const Tensor* shape = c.constant(1)) {
    OCTAVO_ASSIGN(const auto dims, to_int64s(*shape));
    OCTAVO_ASSIGN(out, reshaped(c.shape(0), dims, c.node.get_int("allowzero") != 0));
  } else if (c.shape(1).rank() == 1 && c.shape(1)[0] >= 0) {
    OCTAVO_TRY(check_rank(c.shape(1)[0]));
    out = Shape::filled(static_cast<int>(c.shape(1)[0]), kUnknownDim);
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

Status run_reshape(KernelContext& c) {
  OCTAVO_ASSIGN(const auto dims, to_int64s(c.in(1)));
  OCTAVO_ASSIGN(const Shape out, reshaped(c.in(0).shape, dims, c.node.get_int("allowzero") != 0));
  return copy_through(c, out);
}

Result<Shape> flattened(const Node& node, const Shape& in) {
  if (!in.has_rank()) return Shape{kUnknownDim, kUnknownDim};
  int64_t axis = node.get_int("axis");
  if (axis < -in.rank() || axis > in.rank()) {
    return fail(ErrorCode::kShapeMismatch, "axis ", axis, " is outside a tensor of rank ",
                in.rank());
  }
  if (axis < 0) axis += in.rank();
  const int split = static_cast<int>(axis);
  return Shape{known_product(in, 0, split), known_product(in, split, in.rank())};
}

Status infer_flatten(InferContext& c) {
  OCTAVO_ASSIGN(const Shape out, flattened(c.node, c.shape(0)));
  c.set_output(0, c.dtype(0), out);
  return {};
}

Status run_flatten(KernelContext& c) {
  OCTAVO_ASSIGN(const Shape out, flattened(c.node, c.in(0).shape));
  return copy_through(c, out);
}

// Without axes (`axes` nullptr) all dimensions of size 1 go.
Result<Shape> squeezed(const Shape& in, std::vector<int64_t>* axes) {
  Shape out;
  uint32_t removed = 0;
  if (axes != nullptr) {
    OCTAVO_TRY(normalize_axes(*axes, in.rank()));
    for (const int64_t axis : *axes) removed |= 1u << axis;
  }
  for (int i = 0; i < in.rank(); ++i) {
    if (axes == nullptr) {
      if (in[i] < 0) return Shape::unknown();
      if (in[i] != 1) out.push_back(in[i]);
    } else if ((removed >> i & 1) == 0) {
      out.push_back(in[i]);
    } else if (in[i] >= 0 && in[i] != 1) {
      return fail(ErrorCode::kShapeMismatch, "axis ", i, " of shape ", in.to_string(),
                  " is not of size 1");
    }
  }
  return out;
}

Result<Shape> unsqueezed(const Shape& in, std::vector<int64_t>* axes) {
  const int64_t rank = in.rank() + static_cast<int64_t>(axes->size());
  OCTAVO_TRY(check_rank(rank));
  OCTAVO_TRY(normalize_axes(*axes, static_cast<int>(rank)));
  uint32_t added = 0;
  for (const int64_t axis : *axes) added |= 1u << axis;
  Shape out;
  for (int i = 0, from = 0; i < rank; ++i) out.push_back((added >> i & 1) != 0 ? 1 : in[from++]);
  return out;
}

template <bool kAdd>
Status infer_squeeze(InferContext& c) {
  const Shape& in = c.shape(0);
  Shape out = Shape::unknown();
  if (!in.has_rank()) {
    // Nothing to say.
  } else if (const Tensor* axes = c.constant(1)) {
    OCTAVO_ASSIGN(auto list, to_int64s(*axes));
    OCTAVO_ASSIGN(out, kAdd ? unsqueezed(in, &list) : squeezed(in, &list));
  } else if (!c.has_input(1)) {
    OCTAVO_ASSIGN(out, squeezed(in, nullptr));
  } else if (c.shape(1).is_static()) {
    const int64_t count = c.shape(1).elements();
    if (count > kMaxRank) return check_rank(count);
    const int rank = in.rank() + static_cast<int>(kAdd ? count : -count);
    OCTAVO_TRY(check_rank(rank));
    out = Shape::filled(rank, kUnknownDim);
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

template <bool kAdd>
Status run_squeeze(KernelContext& c) {
  const Shape& in = c.in(0).shape;
  std::vector<int64_t> axes;
  if (c.has_input(1)) {
    OCTAVO_ASSIGN(axes, to_int64s(c.in(1)));
  }
  OCTAVO_ASSIGN(const Shape out,
                kAdd ? unsqueezed(in, &axes) : squeezed(in, c.has_input(1) ? &axes : nullptr));
  return copy_through(c, out);
}

// The dimensions [start, end) that Shape lists.
Shape listed_dims(const Node& node, const Shape& in) {
  const auto clamp = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + in.rank() : at, 0, in.rank());
  };
  const int64_t start = clamp(node.get_int("start")), end = clamp(node.get_int("end"));
  Shape out;
  for (int64_t i = start; i < end; ++i) out.push_back(in[static_cast<int>(i)]);
  return out;
}

Status infer_shape(InferContext& c) {
  if (!c.shape(0).has_rank()) {
    c.set_output(0, DType::kI64, Shape{kUnknownDim});
    return {};
  }
  const Shape dims = listed_dims(c.node, c.shape(0));
  c.set_output(0, DType::kI64, Shape{dims.rank()});
  if (dims.is_static()) c.output(0).constant = Tensor::vector_i64(dims.dims());
  return {};
}

Status run_shape(KernelContext& c) {
  const Shape dims = listed_dims(c.node, c.in(0).shape);
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, DType::kI64, Shape{dims.rank()}));
  std::ranges::copy(dims.dims(), out.as<int64_t>());
  return {};
}

Status infer_size(InferContext& c) {
  c.set_output(0, DType::kI64, Shape{});
  if (c.shape(0).is_static()) {
    c.output(0).constant = Tensor::scalar<int64_t>(c.shape(0).elements());
  }
  return {};
}

Status run_size(KernelContext& c) {
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, DType::kI64, Shape{}));
  *out.as<int64_t>() = c.in(0).elements();
  return {};
}

constexpr QuantRule kMoves = {.policy = QuantPolicy::kSameScale};

constexpr OpDef kOps[] = {
    {.kind = OpKind::kReshape,
     .name = "Reshape",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kReshapeFields,
     .infer = infer_reshape,
     .reference = run_reshape,
     .quant = kMoves,
     .mixed = kInferHalf,
     .flags = kAlias},
    {.kind = OpKind::kFlatten,
     .name = "Flatten",
     .fields = kFlattenFields,
     .infer = infer_flatten,
     .reference = run_flatten,
     .quant = kMoves,
     .mixed = kInferHalf,
     .flags = kAlias},
    {.kind = OpKind::kSqueeze,
     .name = "Squeeze",
     .max_inputs = 2,
     .infer = infer_squeeze<false>,
     .reference = run_squeeze<false>,
     .quant = kMoves,
     .mixed = kInferHalf,
     .flags = kAlias},
    {.kind = OpKind::kUnsqueeze,
     .name = "Unsqueeze",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_squeeze<true>,
     .reference = run_squeeze<true>,
     .quant = kMoves,
     .mixed = kInferHalf,
     .flags = kAlias},
    {.kind = OpKind::kShape,
     .name = "Shape",
     .fields = kShapeFields,
     .infer = infer_shape,
     .reference = run_shape},
    {.kind = OpKind::kSize, .name = "Size", .infer = infer_size, .reference = run_size},
};

}  // namespace

std::span<const OpDef> shape_ops() { return kOps; }

}  // namespace octavo::ops
