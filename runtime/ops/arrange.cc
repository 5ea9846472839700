// Operators that move whole blocks of elements: strided copies between shapes.
#include <algorithm>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/move.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kTransposeFields[] = {ints_field("perm")};
constexpr FieldDef kConcatFields[] = {required(int_field("axis"))};
constexpr FieldDef kSplitFields[] = {int_field("axis"), int_field("num_outputs")};
constexpr FieldDef kDepthToSpaceFields[] = {required(int_field("blocksize")),
                                            string_field("mode", "DCR")};
constexpr FieldDef kSpaceToDepthFields[] = {required(int_field("blocksize"))};
constexpr FieldDef kTriluFields[] = {int_field("upper", 1)};
constexpr FieldDef kReverseFields[] = {int_field("batch_axis", 1), int_field("time_axis")};

// ---- Transpose ----

Result<std::array<int, kMaxRank>> permutation(const Node& node, int rank) {
  std::array<int, kMaxRank> perm{};
  const auto given = node.get_ints("perm");
  if (given.empty()) {
    for (int i = 0; i < rank; ++i) perm[static_cast<size_t>(i)] = rank - 1 - i;
    return perm;
  }
  OCTAVO_ASSIGN(ShortInts axes, ShortInts::of(given));
  if (axes.size() != static_cast<size_t>(rank)) {
    return fail(ErrorCode::kShapeMismatch, "attribute 'perm' has ", axes.size(),
                " axes for a tensor of rank ", rank);
  }
  OCTAVO_TRY(normalize_axes(axes, rank));
  for (size_t i = 0; i < axes.size(); ++i) perm[i] = static_cast<int>(axes[i]);
  return perm;
}

Status infer_transpose(InferContext& c) {
  const Shape& in = c.shape(0);
  Shape out = Shape::unknown();
  if (in.has_rank()) {
    OCTAVO_ASSIGN(const auto perm, permutation(c.node, in.rank()));
    out = Shape{};
    for (int i = 0; i < in.rank(); ++i) out.push_back(in[perm[static_cast<size_t>(i)]]);
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

Status run_transpose(KernelContext& c) {
  const TensorView& in = c.in(0);
  OCTAVO_ASSIGN(const auto perm, permutation(c.node, in.shape.rank()));
  Shape shape;
  for (int i = 0; i < in.shape.rank(); ++i) shape.push_back(in.shape[perm[static_cast<size_t>(i)]]);
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, shape));
  const auto from = dense_strides(in.shape), to = dense_strides(shape);
  Block block;
  for (int i = 0; i < shape.rank(); ++i) {
    const auto at = static_cast<size_t>(i);
    block.add(shape[i], from[static_cast<size_t>(perm[at])], to[at]);
  }
  copy_block(block, in.dtype, in.data, 0, out.data, 0);
  return {};
}

// ---- Concat and Split: blocks along one axis ----

// Copies `size` positions along `axis` between positions of two tensors that otherwise agree.
void copy_along(const TensorView& in, int64_t in_at, const TensorView& out, int64_t out_at,
                int axis, int64_t size) {
  const auto from = memory_strides(in.shape, in.layout), to = memory_strides(out.shape, out.layout);
  Block block;
  for (int i = 0; i < in.shape.rank(); ++i) {
    const auto at = static_cast<size_t>(i);
    block.add(i == axis ? size : in.shape[i], from[at], to[at]);
  }
  const auto at = static_cast<size_t>(axis);
  copy_block(block, in.dtype, in.data, in_at * from[at], out.data, out_at * to[at]);
}

// Adds the shape of one more input to a concatenation's.
Status concat_shape(Shape& out, const Shape& in, int axis) {
  if (in.rank() != out.rank()) {
    return fail(ErrorCode::kShapeMismatch, "inputs of rank ", out.rank(), " and ", in.rank());
  }
  for (int i = 0; i < out.rank(); ++i) {
    if (i == axis) {
      const bool known = out[i] >= 0 && in[i] >= 0;
      if (!known || __builtin_add_overflow(out[i], in[i], &out[i])) out[i] = kUnknownDim;
    } else if (out[i] < 0) {
      if (in[i] >= 0) out[i] = in[i];
    } else if (in[i] >= 0 && in[i] != out[i]) {
      return fail(ErrorCode::kShapeMismatch, "inputs of shape ", in.to_string(), " and ",
                  out.to_string(), " differ outside axis ", axis);
    }
  }
  return {};
}

Status infer_concat(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.ranks_known() && c.has_input(0)) {
    out = c.shape(0);
    OCTAVO_ASSIGN(const int axis, normalize_axis(c.node.get_int("axis"), out.rank()));
    for (size_t i = 1; i < c.input_count(); ++i) {
      if (!c.has_input(i)) return fail(ErrorCode::kInvalidModel, "input ", i, " is absent");
      OCTAVO_TRY(concat_shape(out, c.shape(i), axis));
    }
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

Status run_concat(KernelContext& c) {
  Shape shape = c.in(0).shape;
  OCTAVO_ASSIGN(const int axis, normalize_axis(c.node.get_int("axis"), shape.rank()));
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    if (c.in(i).dtype != c.in(0).dtype) {
      return fail(ErrorCode::kShapeMismatch, "inputs of dtype ", dtype_name(c.in(0).dtype), " and ",
                  dtype_name(c.in(i).dtype));
    }
    if (i > 0) OCTAVO_TRY(concat_shape(shape, c.in(i).shape, axis));
  }
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, c.in(0).dtype, shape));
  int64_t at = 0;
  for (const TensorView& in : c.inputs) {
    copy_along(in, 0, out, at, axis, in.shape[axis]);
    at += in.shape[axis];
  }
  return {};
}

// Sizes along the axis, from input 1 (`split`, may be nullptr) or in equal parts, the last smaller.
Result<std::vector<int64_t>> split_sizes(const Node& node, int64_t dim, size_t count,
                                         const TensorView* split) {
  const int64_t num_outputs = node.get_int("num_outputs");
  if (num_outputs != 0 && num_outputs != static_cast<int64_t>(count)) {
    return fail(ErrorCode::kInvalidModel, "attribute 'num_outputs' is ", num_outputs,
                " but there are ", count, " outputs");
  }
  std::vector<int64_t> sizes(count, kUnknownDim);
  if (split != nullptr) {
    OCTAVO_ASSIGN(sizes, to_int64s(*split));
    int64_t sum = 0;
    bool fits = sizes.size() == count;
    for (const int64_t size : sizes) fits &= size >= 0 && !__builtin_add_overflow(sum, size, &sum);
    if (!fits || (dim >= 0 && sum != dim)) {
      return fail(ErrorCode::kShapeMismatch, sizes.size(), " sizes of sum ", sum,
                  " do not split a dimension of ", dim, " into ", count, " outputs");
    }
  } else if (dim >= 0) {
    const auto parts = static_cast<int64_t>(count);
    const int64_t part = dim / parts + (dim % parts != 0 ? 1 : 0);
    for (size_t i = 0; i < count; ++i) {
      const int64_t begin = std::min(dim, static_cast<int64_t>(i) * part);
      sizes[i] = std::min(part, dim - begin);
    }
  }
  return sizes;
}

Status infer_split(InferContext& c) {
  const Shape& in = c.shape(0);
  std::vector<Shape> shapes(c.output_count(), Shape::unknown());
  if (in.has_rank()) {
    OCTAVO_ASSIGN(const int axis, normalize_axis(c.node.get_int("axis"), in.rank()));
    std::vector<int64_t> sizes(c.output_count(), kUnknownDim);
    const Tensor* split = c.constant(1);
    if (split != nullptr || !c.has_input(1)) {
      const TensorView view = split == nullptr ? TensorView{} : split->view();
      OCTAVO_ASSIGN(sizes, split_sizes(c.node, in[axis], c.output_count(),
                                       split == nullptr ? nullptr : &view));
    }
    for (size_t i = 0; i < shapes.size(); ++i) {
      shapes[i] = in;
      shapes[i][axis] = sizes[i];
    }
  }
  for (size_t i = 0; i < shapes.size(); ++i) c.set_output(i, c.dtype(0), shapes[i]);
  return {};
}

Status run_split(KernelContext& c) {
  const TensorView& in = c.in(0);
  OCTAVO_ASSIGN(const int axis, normalize_axis(c.node.get_int("axis"), in.shape.rank()));
  OCTAVO_ASSIGN(const auto sizes, split_sizes(c.node, in.shape[axis], c.node.outputs.size(),
                                              c.has_input(1) ? &c.in(1) : nullptr));
  int64_t at = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (c.has_output(i)) {
      Shape shape = in.shape;
      shape[axis] = sizes[i];
      OCTAVO_ASSIGN(const TensorView out, c.make_output(i, in.dtype, shape));
      copy_along(in, at, out, 0, axis, sizes[i]);
    }
    at += sizes[i];
  }
  return {};
}

// ---- Expand and Tile ----

Result<Shape> expanded(const Shape& in, std::span<const int64_t> dims) {
  OCTAVO_TRY(check_rank(static_cast<int64_t>(dims.size())));
  for (const int64_t dim : dims) {
    if (dim < 0) return fail(ErrorCode::kShapeMismatch, "the new shape holds ", dim);
  }
  return broadcast_shapes(in, Shape(dims));
}

Result<Shape> tiled(const Shape& in, std::span<const int64_t> repeats) {
  if (repeats.size() != static_cast<size_t>(in.rank())) {
    return fail(ErrorCode::kShapeMismatch, repeats.size(), " repeats for a tensor of rank ",
                in.rank());
  }
  Shape out = in;
  for (int i = 0; i < in.rank(); ++i) {
    const int64_t repeat = repeats[static_cast<size_t>(i)];
    if (repeat < 0) return fail(ErrorCode::kShapeMismatch, "a repeat count of ", repeat);
    if (in[i] < 0) {
      if (repeat != 1) out[i] = kUnknownDim;
    } else if (__builtin_mul_overflow(in[i], repeat, &out[i])) {
      return fail(ErrorCode::kLimitExceeded, "a repeat count of ", repeat, " is too large");
    }
  }
  return out;
}

template <bool kTile>
Status infer_repeat(InferContext& c) {
  const Shape& in = c.shape(0);
  Shape out = Shape::unknown();
  if (in.has_rank()) {
    if (const Tensor* list = c.constant(1)) {
      OCTAVO_ASSIGN(const auto numbers, to_int64s(*list));
      OCTAVO_ASSIGN(out, kTile ? tiled(in, numbers) : expanded(in, numbers));
    } else if (kTile) {
      out = Shape::filled(in.rank(), kUnknownDim);
    } else if (c.shape(1).rank() == 1 && c.shape(1)[0] >= 0) {
      OCTAVO_TRY(check_rank(c.shape(1)[0]));
      out = Shape::filled(std::max(in.rank(), static_cast<int>(c.shape(1)[0])), kUnknownDim);
    }
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

template <bool kTile>
Status run_repeat(KernelContext& c) {
  const TensorView& in = c.in(0);
  OCTAVO_ASSIGN(const auto numbers, to_int64s(c.in(1)));
  OCTAVO_ASSIGN(const Shape shape, kTile ? tiled(in.shape, numbers) : expanded(in.shape, numbers));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, shape));
  const auto from = dense_strides(in.shape), to = dense_strides(shape);
  const int shift = shape.rank() - in.shape.rank();
  Block block;
  for (int i = 0; i < shape.rank(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (i < shift) {
      block.add(shape[i], 0, to[at]);
      continue;
    }
    const int64_t dim = in.shape[i - shift], stride = from[static_cast<size_t>(i - shift)];
    if (kTile) block.add(dim == 0 ? 0 : shape[i] / dim, 0, to[at] * dim);
    block.add(kTile ? dim : shape[i], !kTile && dim == 1 ? 0 : stride, to[at]);
  }
  copy_block(block, in.dtype, in.data, 0, out.data, 0);
  return {};
}

// ---- DepthToSpace and SpaceToDepth ----

Result<Shape> space_shape(const Node& node, const Shape& in, bool to_space) {
  const int64_t b = node.get_int("blocksize");
  if (in.rank() != 4 || b < 1 || b > (1 << 15)) {
    return fail(ErrorCode::kShapeMismatch, "blocks of ", b, " in an input of shape ",
                in.to_string(), "; expected rank 4");
  }
  Shape out = in;
  const auto scale = [&](int axis, int64_t multiply, int64_t divide) -> Status {
    if (in[axis] < 0) {
      if (multiply != divide) out[axis] = kUnknownDim;
      return {};
    }
    if (in[axis] % divide != 0 || __builtin_mul_overflow(in[axis] / divide, multiply, &out[axis])) {
      return fail(ErrorCode::kShapeMismatch, "shape ", in.to_string(),
                  " does not divide into blocks of ", b);
    }
    return {};
  };
  OCTAVO_TRY(scale(1, to_space ? 1 : b * b, to_space ? b * b : 1));
  OCTAVO_TRY(scale(2, to_space ? b : 1, to_space ? 1 : b));
  OCTAVO_TRY(scale(3, to_space ? b : 1, to_space ? 1 : b));
  return out;
}

template <bool kToSpace>
Status infer_space(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.shape(0).has_rank()) {
    OCTAVO_ASSIGN(out, space_shape(c.node, c.shape(0), kToSpace));
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

template <bool kToSpace>
Status run_space(KernelContext& c) {
  const TensorView& in = c.in(0);
  OCTAVO_ASSIGN(const Shape shape, space_shape(c.node, in.shape, kToSpace));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, shape));
  const int64_t b = c.node.get_int("blocksize");
  // `deep` has channels (block row, block column, channel), or the channel first in mode CRD.
  const auto deep = dense_strides(kToSpace ? in.shape : shape);
  const auto wide = dense_strides(kToSpace ? shape : in.shape);
  const Shape& small = kToSpace ? in.shape : shape;
  const int64_t channels = (kToSpace ? shape : in.shape)[1];
  const bool channel_first = kToSpace && c.node.get_string("mode") == "CRD";
  const int64_t deep_block = channel_first ? deep[1] : deep[1] * channels;
  Block block;
  const auto add = [&](int64_t dim, int64_t deep_stride, int64_t wide_stride) {
    if (kToSpace) {
      block.add(dim, deep_stride, wide_stride);
    } else {
      block.add(dim, wide_stride, deep_stride);
    }
  };
  add(small[0], deep[0], wide[0]);
  add(channels, channel_first ? deep[1] * b * b : deep[1], wide[1]);
  add(small[2], deep[2], wide[2] * b);
  add(b, deep_block * b, wide[2]);
  add(small[3], deep[3], wide[3] * b);
  add(b, deep_block, wide[3]);
  copy_block(block, in.dtype, in.data, 0, out.data, 0);
  return {};
}

// ---- Trilu and ReverseSequence ----

Status run_trilu(KernelContext& c) {
  const TensorView& in = c.in(0);
  if (in.shape.rank() < 2) {
    return fail(ErrorCode::kShapeMismatch, "an input of shape ", in.shape.to_string(),
                "; expected matrices");
  }
  const int64_t rows = in.shape[in.shape.rank() - 2], cols = in.shape.back();
  int64_t k = 0;
  if (c.has_input(1)) {
    OCTAVO_ASSIGN(const auto value, to_int64s(c.in(1)));
    if (value.size() != 1) return fail(ErrorCode::kShapeMismatch, "k is not a scalar");
    k = std::clamp(value[0], -rows, cols);
  }
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, in.shape));
  const bool upper = c.node.get_int("upper") != 0;
  visit_dtype_size(in.dtype, [&]<class T>() {
    const T* from = in.as<const T>();
    T* to = out.as<T>();
    for (int64_t row = 0; cols > 0 && row < in.elements() / cols; ++row, from += cols, to += cols) {
      // Columns [0, edge) lie below the diagonal (upper), or [0, edge) up to and on it (lower).
      const int64_t edge = std::clamp<int64_t>(row % rows + k + (upper ? 0 : 1), 0, cols);
      std::fill(to, to + cols, T{});
      if (upper) {
        std::copy(from + edge, from + cols, to + edge);
      } else {
        std::copy(from, from + edge, to);
      }
    }
  });
  return {};
}

Status run_reverse_sequence(KernelContext& c) {
  const TensorView& in = c.in(0);
  const int64_t batch_axis = c.node.get_int("batch_axis"), time_axis = c.node.get_int("time_axis");
  const bool axes_fit = (batch_axis == 0 && time_axis == 1) || (batch_axis == 1 && time_axis == 0);
  if (in.shape.rank() < 2 || !axes_fit) {
    return fail(ErrorCode::kShapeMismatch, "batch_axis ", batch_axis, " and time_axis ", time_axis,
                " of an input of shape ", in.shape.to_string(), "; one must be 0, the other 1");
  }
  const auto batch = static_cast<int>(batch_axis), time = static_cast<int>(time_axis);
  OCTAVO_ASSIGN(const auto lengths, to_int64s(c.in(1)));
  if (lengths.size() != static_cast<size_t>(in.shape[batch])) {
    return fail(ErrorCode::kShapeMismatch, lengths.size(), " sequence lengths for a batch of ",
                in.shape[batch]);
  }
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, in.shape));
  const auto strides = dense_strides(in.shape);
  const int64_t batch_stride = strides[static_cast<size_t>(batch)];
  const int64_t step = strides[static_cast<size_t>(time)];
  const int64_t inner = in.shape.elements(2, in.shape.rank());
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int64_t length = lengths[i], base = static_cast<int64_t>(i) * batch_stride;
    if (length < 0 || length > in.shape[time]) {
      return fail(ErrorCode::kInvalidData, "a sequence length of ", length, " for ", in.shape[time],
                  " steps");
    }
    Block reversed, rest;
    reversed.add(length, -step, step);
    reversed.add(inner, 1, 1);
    rest.add(in.shape[time] - length, step, step);
    rest.add(inner, 1, 1);
    copy_block(reversed, in.dtype, in.data, base + (length - 1) * step, out.data, base);
    copy_block(rest, in.dtype, in.data, base + length * step, out.data, base + length * step);
  }
  return {};
}

constexpr QuantRule kMoves = {.policy = QuantPolicy::kSameScale};

constexpr OpDef kOps[] = {
    {.kind = OpKind::kTranspose,
     .name = "Transpose",
     .fields = kTransposeFields,
     .infer = infer_transpose,
     .reference = run_transpose,
     .quant = kMoves,
     .mixed = kInferHalf},
    {.kind = OpKind::kConcat,
     .name = "Concat",
     .max_inputs = -1,
     .fields = kConcatFields,
     .infer = infer_concat,
     .reference = run_concat,
     .quant = {.policy = QuantPolicy::kRequantize},
     .mixed = kInferHalf,
     .layout = LayoutRule::kAgnostic},
    {.kind = OpKind::kSplit,
     .name = "Split",
     .max_inputs = 2,
     .max_outputs = -1,
     .fields = kSplitFields,
     .infer = infer_split,
     .reference = run_split,
     .quant = kMoves,
     .mixed = kInferHalf,
     .layout = LayoutRule::kAgnostic},
    {.kind = OpKind::kExpand,
     .name = "Expand",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_repeat<false>,
     .reference = run_repeat<false>,
     .quant = kMoves,
     .mixed = kInferHalf},
    {.kind = OpKind::kTile,
     .name = "Tile",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_repeat<true>,
     .reference = run_repeat<true>,
     .quant = kMoves,
     .mixed = kInferHalf},
    {.kind = OpKind::kDepthToSpace,
     .name = "DepthToSpace",
     .fields = kDepthToSpaceFields,
     .infer = infer_space<true>,
     .reference = run_space<true>,
     .quant = kMoves,
     .mixed = kInferHalf},
    {.kind = OpKind::kSpaceToDepth,
     .name = "SpaceToDepth",
     .fields = kSpaceToDepthFields,
     .infer = infer_space<false>,
     .reference = run_space<false>,
     .quant = kMoves,
     .mixed = kInferHalf},
    {.kind = OpKind::kTrilu,
     .name = "Trilu",
     .max_inputs = 2,
     .fields = kTriluFields,
     .infer = infer_like_input,
     .reference = run_trilu},
    {.kind = OpKind::kReverseSequence,
     .name = "ReverseSequence",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kReverseFields,
     .infer = infer_like_input,
     .reference = run_reverse_sequence},
};

}  // namespace

std::span<const OpDef> arrange_ops() { return kOps; }

}  // namespace octavo::ops
