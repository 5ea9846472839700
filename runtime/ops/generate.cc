#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/indexing.h"
#include "runtime/ops/move.h"
#include "runtime/sort.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kConstantOfShapeFields[] = {tensor_field("value")};
constexpr FieldDef kEyeLikeFields[] = {int_field("dtype"), int_field("k")};
constexpr FieldDef kOneHotFields[] = {int_field("axis", -1)};
constexpr FieldDef kUniqueFields[] = {int_field("axis", kNoAxis), int_field("sorted", 1)};

// ---- Range ----

Result<int64_t> whole_number(const TensorView& view) {
  int64_t value = 0;
  if (view.elements() != 1 || view.dtype == DType::kString) {
    return fail(ErrorCode::kShapeMismatch, "expected one number, got shape ",
                view.shape.to_string());
  }
  OCTAVO_TRY(cast_elements(view, {&value, DType::kI64, view.layout, view.shape}));
  return value;
}

// How many numbers lie in [start, limit) or (limit, start].
Result<int64_t> range_count(const TensorView& start, const TensorView& limit,
                            const TensorView& delta) {
  const auto zero = [] { return fail(ErrorCode::kInvalidData, "the step of a range is 0"); };
  if (dtype_info(start.dtype).is_float) {
    OCTAVO_ASSIGN(const double a, scalar_number(start));
    OCTAVO_ASSIGN(const double b, scalar_number(limit));
    OCTAVO_ASSIGN(const double step, scalar_number(delta));
    if (step == 0) return zero();
    const double count = std::ceil((b - a) / step);
    if (!(count < 0x1p48)) {
      return fail(ErrorCode::kLimitExceeded, "a range from ", a, " to ", b, " in steps of ", step,
                  " is too long");
    }
    return static_cast<int64_t>(std::max(count, 0.0));
  }
  OCTAVO_ASSIGN(const int64_t a, whole_number(start));
  OCTAVO_ASSIGN(const int64_t b, whole_number(limit));
  OCTAVO_ASSIGN(const int64_t step, whole_number(delta));
  if (step == 0) return zero();
  if (step > 0 ? b <= a : b >= a) return 0;
  const auto unsigned_of = [](int64_t v) { return static_cast<uint64_t>(v); };
  const uint64_t distance =
      step > 0 ? unsigned_of(b) - unsigned_of(a) : unsigned_of(a) - unsigned_of(b);
  const uint64_t size = step > 0 ? unsigned_of(step) : 0 - unsigned_of(step);
  const uint64_t count = (distance - 1) / size + 1;
  return static_cast<int64_t>(std::min<uint64_t>(count, std::numeric_limits<int64_t>::max()));
}

Status infer_range(InferContext& c) {
  int64_t count = kUnknownDim;
  const Tensor *start = c.constant(0), *limit = c.constant(1), *delta = c.constant(2);
  if (start != nullptr && limit != nullptr && delta != nullptr) {
    OCTAVO_ASSIGN(count, range_count(start->view(), limit->view(), delta->view()));
  }
  c.set_output(0, c.dtype(0), Shape{count});
  return {};
}

Status run_range(KernelContext& c) {
  OCTAVO_ASSIGN(const int64_t count, range_count(c.in(0), c.in(1), c.in(2)));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, c.in(0).dtype, Shape{count}));
  if (c.in(2).dtype != out.dtype) return bad_dtype(c.in(2).dtype);
  return visit_wide(out.dtype, [&]<class T>() -> Status {
    using A = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;  // wraps, harmlessly
    const A start = static_cast<A>(*c.in(0).as<const T>());
    const A delta = static_cast<A>(*c.in(2).as<const T>());
    T* to = out.as<T>();
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(start + static_cast<A>(i) * delta);
    return {};
  });
}

Status run_range_widened(KernelContext& c) { return run_widened(c, run_range, widen_number); }

// ---- ConstantOfShape and EyeLike ----

Result<Shape> listed_shape(const TensorView& view) {
  OCTAVO_ASSIGN(const auto dims, to_int64s(view));
  OCTAVO_TRY(check_rank(static_cast<int64_t>(dims.size())));
  for (const int64_t dim : dims) {
    if (dim < 0) return fail(ErrorCode::kShapeMismatch, "the shape holds ", dim);
  }
  return Shape(dims);
}

Status infer_constant_of_shape(InferContext& c) {
  const Tensor* value = c.node.get_tensor("value");
  Shape out = Shape::unknown();
  if (const Tensor* shape = c.constant(0)) {
    OCTAVO_ASSIGN(out, listed_shape(shape->view()));
  } else if (c.shape(0).rank() == 1 && c.shape(0)[0] >= 0) {
    OCTAVO_TRY(check_rank(c.shape(0)[0]));
    out = Shape::filled(static_cast<int>(c.shape(0)[0]), kUnknownDim);
  }
  c.set_output(0, value == nullptr ? DType::kF32 : value->dtype(), out);
  return {};
}

Status run_constant_of_shape(KernelContext& c) {
  const Tensor* value = c.node.get_tensor("value");
  if (value != nullptr && value->elements() != 1) {
    return fail(ErrorCode::kInvalidModel, "attribute 'value' must have one element");
  }
  OCTAVO_ASSIGN(const Shape shape, listed_shape(c.in(0)));
  const DType dtype = value == nullptr ? DType::kF32 : value->dtype();
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, dtype, shape));
  visit_dtype_size(dtype, [&]<class T>() {
    std::fill_n(out.as<T>(), out.elements(),
                value == nullptr ? T{} : *static_cast<const T*>(value->raw()));
  });
  return {};
}

Result<DType> eye_dtype(const Node& node, DType input) {
  const int64_t number = node.get_int("dtype");
  if (number == 0) return input;
  const DType dtype = dtype_from_onnx(number);
  if (dtype == DType::kUndefined || dtype == DType::kString) {
    return fail(ErrorCode::kInvalidModel, "attribute 'dtype' is ", number,
                ", not a type of numbers");
  }
  return dtype;
}

Status infer_eye_like(InferContext& c) {
  OCTAVO_ASSIGN(const DType dtype, eye_dtype(c.node, c.dtype(0)));
  c.set_output(0, dtype, c.shape(0));
  return {};
}

Status run_eye_like(KernelContext& c) {
  const Shape& shape = c.in(0).shape;
  if (shape.rank() != 2) {
    return fail(ErrorCode::kShapeMismatch, "an input of shape ", shape.to_string(),
                "; expected a matrix");
  }
  OCTAVO_ASSIGN(const DType dtype, eye_dtype(c.node, c.in(0).dtype));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, dtype, shape));
  const int64_t rows = shape[0], cols = shape[1];
  const int64_t k = std::clamp(c.node.get_int("k"), -rows, cols);
  return visit_dtype(
      dtype,
      [&]<class T>() -> Status {
        T* to = out.as<T>();
        std::fill_n(to, out.elements(), T{});
        for (int64_t i = std::max<int64_t>(0, -k); i < std::min(rows, cols - k); ++i) {
          to[i * cols + i + k] = static_cast<T>(1);
        }
        return {};
      },
      [&]() -> Status { return bad_dtype(dtype); });
}

// ---- NonZero ----

Status infer_nonzero(InferContext& c) {
  const int64_t rank = c.shape(0).has_rank() ? std::max(c.shape(0).rank(), 1) : kUnknownDim;
  c.set_output(0, DType::kI64, Shape{rank, kUnknownDim});
  return {};
}

Status run_nonzero(KernelContext& c) {
  const TensorView& in = c.in(0);
  std::vector<int64_t> found;
  visit_dtype_size(in.dtype, [&]<class T>() {
    for (int64_t i = 0; i < in.elements(); ++i) {
      const T& value = in.as<const T>()[i];
      if constexpr (std::is_same_v<T, std::string>) {
        if (!value.empty()) found.push_back(i);
      } else {
        // A float's top bit is its sign: -0 is zero.
        const bool is_float = dtype_info(in.dtype).is_float;
        if (static_cast<T>(is_float ? value << 1 : value) != 0) found.push_back(i);
      }
    }
  });
  const auto count = static_cast<int64_t>(found.size());
  const int rank = std::max(in.shape.rank(), 1);
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, DType::kI64, Shape{rank, count}));
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = found[static_cast<size_t>(i)];
    for (int axis = rank - 1; axis >= 0; --axis) {
      const int64_t dim = in.shape.rank() == 0 ? 1 : in.shape[axis];
      out.as<int64_t>()[axis * count + i] = rest % dim;
      rest /= dim;
    }
  }
  return {};
}

// ---- OneHot ----

struct OneHotShape {
  Shape shape;
  int axis;
};
Result<OneHotShape> one_hot_shape(const Node& node, const Shape& indices, int64_t depth) {
  OCTAVO_TRY(check_rank(int64_t{indices.rank()} + 1));
  OCTAVO_ASSIGN(const int axis, normalize_axis(node.get_int("axis"), indices.rank() + 1));
  Shape out;
  for (int i = 0; i <= indices.rank(); ++i) {
    out.push_back(i == axis ? depth : indices[i < axis ? i : i - 1]);
  }
  return OneHotShape{out, axis};
}

Result<int64_t> one_hot_depth(const TensorView& view) {
  OCTAVO_ASSIGN(const int64_t depth, whole_number(view));
  if (depth < 0) return fail(ErrorCode::kInvalidData, "a depth of ", depth);
  return depth;
}

Status infer_one_hot(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.shape(0).has_rank()) {
    int64_t depth = kUnknownDim;
    if (const Tensor* known = c.constant(1)) {
      OCTAVO_ASSIGN(depth, one_hot_depth(known->view()));
    }
    OCTAVO_ASSIGN(const OneHotShape s, one_hot_shape(c.node, c.shape(0), depth));
    out = s.shape;
  }
  c.set_output(0, c.dtype(2), out);
  return {};
}

Status run_one_hot(KernelContext& c) {
  const TensorView &in = c.in(0), &values = c.in(2);
  OCTAVO_ASSIGN(const int64_t depth, one_hot_depth(c.in(1)));
  OCTAVO_ASSIGN(const OneHotShape s, one_hot_shape(c.node, in.shape, depth));
  if (values.elements() != 2) {
    return fail(ErrorCode::kShapeMismatch, "the values must be two: off and on");
  }
  if (in.dtype == DType::kString) return bad_dtype(in.dtype);
  OCTAVO_ASSIGN(Tensor indices, Tensor::create(DType::kI64, in.shape));
  OCTAVO_TRY(cast_elements(in, indices.view()));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, values.dtype, s.shape));
  const int64_t inner = in.shape.elements(s.axis, in.shape.rank());
  const auto index = std::as_const(indices).data<int64_t>();
  visit_dtype_size(values.dtype, [&]<class T>() {
    T* to = out.as<T>();
    std::fill_n(to, out.elements(), values.as<const T>()[0]);
    for (int64_t i = 0; i < in.elements(); ++i) {
      const int64_t at = index[static_cast<size_t>(i)];
      if (at < -depth || at >= depth) continue;
      const int64_t position = at < 0 ? at + depth : at;
      to[(i / inner * depth + position) * inner + i % inner] = values.as<const T>()[1];
    }
  });
  return {};
}

// ---- Unique ----

Status infer_unique(InferContext& c) {
  OCTAVO_TRY(infer_picked(c));
  for (size_t i = 1; i < 4; ++i) c.set_output(i, DType::kI64, Shape{kUnknownDim});
  return {};
}

// Numbers as unsigned integers of the same order; NaN comes last, -0 equals 0.
Result<Tensor> order_keys(const TensorView& in) {
  const DType wide = widen_number(in.dtype);
  OCTAVO_ASSIGN(Tensor keys, Tensor::create(wide, in.shape));
  OCTAVO_TRY(cast_elements(in, keys.view()));
  constexpr uint64_t kSign = uint64_t{1} << 63;
  for (int64_t i = 0; i < keys.elements(); ++i) {
    uint64_t& bits = static_cast<uint64_t*>(keys.raw())[i];
    if (wide == DType::kI64) bits ^= kSign;
    if (wide != DType::kF64) continue;
    const auto value = std::bit_cast<double>(bits);
    if (value != value) {
      bits = ~uint64_t{0};
    } else {
      if (value == 0) bits = 0;
      bits = (bits & kSign) != 0 ? ~bits : bits | kSign;
    }
  }
  return keys;
}

Status run_unique(KernelContext& c) {
  const TensorView& in = c.in(0);
  const int64_t given = c.node.get_int("axis");
  int axis = 0;
  Shape shape{in.elements()};
  if (given != kNoAxis) {
    OCTAVO_ASSIGN(axis, normalize_axis(given, in.shape.rank()));
    shape = in.shape;
  }
  const int64_t outer = shape.elements(0, axis), inner = shape.elements(axis + 1, shape.rank());
  const int64_t count = shape[axis];

  // Three-way comparison of slices a and b along the axis.
  const auto compare_with = [&]<class T>(const T* data, int64_t a, int64_t b) {
    for (int64_t o = 0; o < outer; ++o) {
      const T* x = data + (o * count + a) * inner;
      const T* y = data + (o * count + b) * inner;
      for (int64_t i = 0; i < inner; ++i) {
        if (x[i] < y[i]) return -1;
        if (y[i] < x[i]) return 1;
      }
    }
    return 0;
  };
  Tensor keys;
  if (in.dtype != DType::kString) {
    OCTAVO_ASSIGN(keys, order_keys(in));
  }
  const std::function<int(int64_t, int64_t)> compare = [&](int64_t a, int64_t b) {
    return in.dtype == DType::kString
               ? compare_with(in.as<const std::string>(), a, b)
               : compare_with(static_cast<const uint64_t*>(keys.raw()), a, b);
  };

  const std::vector<int64_t> order = sorted_indices(
      static_cast<size_t>(count), [&](int64_t a, int64_t b) { return compare(a, b) < 0; });
  struct Group {
    int64_t first, begin, size;  // first occurrence; members are order[begin, begin + size)
  };
  std::vector<Group> groups;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || compare(order[i - 1], order[i]) != 0) {
      groups.push_back({order[i], static_cast<int64_t>(i), 0});
    }
    ++groups.back().size;
  }
  if (c.node.get_int("sorted") == 0) {
    std::vector<Group> by_first;
    for (const int64_t g : sorted_indices(groups.size(), [&](int64_t a, int64_t b) {
           return groups[static_cast<size_t>(a)].first < groups[static_cast<size_t>(b)].first;
         })) {
      by_first.push_back(groups[static_cast<size_t>(g)]);
    }
    groups = std::move(by_first);
  }

  const auto found = static_cast<int64_t>(groups.size());
  shape[axis] = found;
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, shape));
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t g = 0; g < found; ++g) {
      copy_elements(in.dtype, in.data, (o * count + groups[static_cast<size_t>(g)].first) * inner,
                    out.data, (o * found + g) * inner, inner);
    }
  }
  for (size_t i = 1; i < 4; ++i) {
    if (!c.has_output(i)) continue;
    const Shape list{i == 2 ? count : found};
    OCTAVO_ASSIGN(const TensorView view, c.make_output(i, DType::kI64, list));
    auto* to = view.as<int64_t>();
    for (size_t g = 0; g < groups.size(); ++g) {
      if (i == 1) to[g] = groups[g].first;
      if (i == 3) to[g] = groups[g].size;
      for (int64_t k = 0; i == 2 && k < groups[g].size; ++k) {
        to[order[static_cast<size_t>(groups[g].begin + k)]] = static_cast<int64_t>(g);
      }
    }
  }
  return {};
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kRange,
     .name = "Range",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_range,
     .reference = run_range_widened},
    {.kind = OpKind::kConstantOfShape,
     .name = "ConstantOfShape",
     .fields = kConstantOfShapeFields,
     .infer = infer_constant_of_shape,
     .reference = run_constant_of_shape},
    {.kind = OpKind::kEyeLike,
     .name = "EyeLike",
     .fields = kEyeLikeFields,
     .infer = infer_eye_like,
     .reference = run_eye_like},
    {.kind = OpKind::kNonZero, .name = "NonZero", .infer = infer_nonzero, .reference = run_nonzero},
    {.kind = OpKind::kOneHot,
     .name = "OneHot",
     .min_inputs = 3,
     .max_inputs = 3,
     .fields = kOneHotFields,
     .infer = infer_one_hot,
     .reference = run_one_hot},
    {.kind = OpKind::kUnique,
     .name = "Unique",
     .max_outputs = 4,
     .fields = kUniqueFields,
     .infer = infer_unique,
     .reference = run_unique},
};

}  // namespace

std::span<const OpDef> generate_ops() { return kOps; }

}  // namespace octavo::ops
