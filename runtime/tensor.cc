#include "runtime/tensor.h"

#include "runtime/limits.h"
#include "runtime/memory.h"

namespace octavo {

int64_t Shape::elements(int first, int last) const {
  int64_t product = 1;
  bool overflow = false;
  for (int i = first; i < last; ++i) {
    if (dims_[i] == 0) return 0;
    overflow |= __builtin_mul_overflow(product, dims_[i], &product);
  }
  return overflow ? std::numeric_limits<int64_t>::max() : product;
}

std::string Shape::to_string() const {
  if (rank_ < 0) return "?";
  if (rank_ == 0) return "scalar";
  std::string text;
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) text += 'x';
    if (dims_[i] >= 0) {
      text += std::to_string(dims_[i]);
    } else if (dims_[i] == kUnknownDim) {
      text += '?';
    } else {
      text += concat('s', -2 - dims_[i]);
    }
  }
  return text;
}

Result<int> normalize_axis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    return fail(ErrorCode::kShapeMismatch, "axis ", axis, " is outside a tensor of rank ", rank);
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

Result<Shape> broadcast_shapes(const Shape& a, const Shape& b) {
  if (!a.has_rank() || !b.has_rank()) return Shape::unknown();
  const int rank = std::max(a.rank(), b.rank());
  Shape out = Shape::filled(rank, 1);
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
    const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    if (da == db || db == 1) {
      out[i] = da;
    } else if (da == 1) {
      out[i] = db;
    } else if (da >= 0 && db >= 0) {
      return fail(ErrorCode::kShapeMismatch, "shapes ", a.to_string(), " and ", b.to_string(),
                  " do not broadcast");
    } else {
      // An unknown against a size > 1 can only be that size (or 1).
      out[i] = da >= 0 ? da : db >= 0 ? db : kUnknownDim;
    }
  }
  return out;
}

std::array<int64_t, kMaxRank> dense_strides(const Shape& shape) {
  std::array<int64_t, kMaxRank> strides{};
  uint64_t stride = 1;  // wraps where an empty dimension hides sizes that no memory could hold
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = static_cast<int64_t>(stride);
    stride *= static_cast<uint64_t>(shape[i]);
  }
  return strides;
}

Shape physical_shape(const Shape& logical, Layout layout) {
  if (layout == Layout::kPlain || logical.rank() < 3) return logical;
  Shape out;
  out.push_back(logical[0]);
  for (int i = 2; i < logical.rank(); ++i) out.push_back(logical[i]);
  out.push_back(logical[1]);
  return out;
}

int physical_axis(int axis, int rank, Layout layout) {
  if (layout == Layout::kPlain || rank < 3 || axis == 0) return axis;
  return axis == 1 ? rank - 1 : axis - 1;
}

Result<Tensor> Tensor::create(DType dtype, const Shape& shape) {
  if (!shape.is_static()) {
    return fail(ErrorCode::kInternal, "cannot allocate a tensor of shape ", shape.to_string());
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(shape.elements(), dtype_bytes(dtype), &bytes) ||
      bytes > limits::kTensorBytes) {
    return fail(ErrorCode::kLimitExceeded, "a tensor of shape ", shape.to_string(),
                " is larger than the limit of ", limits::kTensorBytes >> 30, " GiB");
  }
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = shape;
  if (dtype == DType::kString) {
    tensor.data_ = std::shared_ptr<void>(new std::string[static_cast<size_t>(shape.elements())],
                                         [](void* p) { delete[] static_cast<std::string*>(p); });
    return tensor;
  }
  tensor.data_ = allocate_zeroed(static_cast<size_t>(bytes));
  if (tensor.data_ == nullptr) {
    return fail(ErrorCode::kOutOfMemory, "out of memory for a tensor of shape ", shape.to_string());
  }
  return tensor;
}

Tensor Tensor::borrow(DType dtype, const Shape& shape, const void* data,
                      std::shared_ptr<const void> owner) {
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = shape;
  tensor.data_ = std::shared_ptr<void>(const_cast<void*>(data), [owner](void*) {});
  return tensor;
}

Result<Tensor> Tensor::clone() const { return present() ? to_tensor(view()) : Tensor(); }

namespace {
template <class T>
void copy_to_plain(const TensorView& view, T* out) {
  const T* in = view.as<const T>();
  if (view.layout == Layout::kPlain || view.shape.rank() < 3) {
    std::copy_n(in, view.elements(), out);
    return;
  }
  const int64_t batch = view.shape[0], channels = view.shape[1];
  const int64_t pixels = view.shape.elements(2, view.shape.rank());
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = 0; p < pixels; ++p) *out++ = in[(n * pixels + p) * channels + c];
    }
  }
}
}  // namespace

Result<Tensor> to_tensor(const TensorView& view) {
  OCTAVO_ASSIGN(Tensor out, Tensor::create(view.dtype, view.shape));
  visit_dtype_size(view.dtype, [&]<class T>() { copy_to_plain(view, out.data<T>().data()); });
  return out;
}

Result<std::vector<int64_t>> to_int64s(const TensorView& view) {
  const auto count = static_cast<size_t>(view.elements());
  if (count > static_cast<size_t>(limits::kPlanFoldElements) * 1024) {
    return fail(ErrorCode::kLimitExceeded, "a list of ", count, " integers is too long");
  }
  std::vector<int64_t> out(count);
  if (view.dtype == DType::kI64) {
    std::copy_n(view.as<const int64_t>(), count, out.begin());
  } else if (view.dtype == DType::kI32) {
    std::copy_n(view.as<const int32_t>(), count, out.begin());
  } else {
    return fail(ErrorCode::kShapeMismatch, "expected i64 or i32 integers, got ",
                dtype_name(view.dtype));
  }
  return out;
}

}  // namespace octavo
