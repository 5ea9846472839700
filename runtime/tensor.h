// Shapes and tensors. A TensorView points at elements; a Tensor shares ownership of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/quant.h"
#include "runtime/status.h"

namespace octavo {

inline constexpr int kMaxRank = 8;

/// A dimension is its size, kUnknownDim, or a symbol: -2 - (index into Graph::symbols).
inline constexpr int64_t kUnknownDim = -1;

/// Up to kMaxRank dimensions, or an unknown rank. No allocation.
class Shape {
 public:
  Shape() = default;  // rank 0: a scalar
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  /// Dimensions past kMaxRank are dropped: check the rank of untrusted input first.
  explicit Shape(std::span<const int64_t> dims) {
    for (const int64_t dim : dims) push_back(dim);
  }
  static Shape unknown() {
    Shape shape;
    shape.rank_ = -1;
    return shape;
  }
  static Shape filled(int rank, int64_t dim) {
    Shape shape;
    for (int i = 0; i < rank; ++i) shape.push_back(dim);
    return shape;
  }

  bool has_rank() const { return rank_ >= 0; }
  int rank() const { return rank_; }
  /// Rank and every dimension known.
  bool is_static() const {
    for (int i = 0; i < rank_; ++i) {
      if (dims_[i] < 0) return false;
    }
    return has_rank();
  }

  int64_t operator[](int i) const { return dims_[i]; }
  int64_t& operator[](int i) { return dims_[i]; }
  int64_t back() const { return dims_[rank_ - 1]; }
  std::span<const int64_t> dims() const {
    return {dims_.data(), static_cast<size_t>(rank_ < 0 ? 0 : rank_)};
  }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + (rank_ < 0 ? 0 : rank_); }

  void push_back(int64_t dim) {
    if (rank_ < kMaxRank) dims_[rank_++] = dim;
  }

  /// Product of dimensions [first, last); saturates at INT64_MAX. Static shapes only.
  int64_t elements(int first, int last) const;
  int64_t elements() const { return elements(0, rank_); }

  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int i = 0; i < rank_; ++i) {
      if (dims_[i] != other.dims_[i]) return false;
    }
    return true;
  }

  std::string to_string() const;  // "1x3x224x224"; "?" for what is unknown

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> dims_{};
};

/// A negative axis counts from the back. An error if out of range [-rank, rank).
Result<int> normalize_axis(int64_t axis, int rank);

/// Dimensions after numpy broadcasting; symbols and unknowns are propagated.
Result<Shape> broadcast_shapes(const Shape& a, const Shape& b);

/// Strides in elements of a dense row-major tensor.
std::array<int64_t, kMaxRank> dense_strides(const Shape& shape);

/// Where in memory the dimensions lie. `shape` is always the logical one (NCHW order).
enum class Layout : uint8_t {
  kPlain,         // row-major in logical order
  kChannelsLast,  // logical N,C,d1..dk (rank >= 3) stored as N,d1..dk,C
};

/// The shape in storage order.
Shape physical_shape(const Shape& logical, Layout layout);
/// Where logical axis `axis` lies in storage order.
int physical_axis(int axis, int rank, Layout layout);

struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kUndefined;  // kUndefined: an optional input that is absent
  Layout layout = Layout::kPlain;
  Shape shape;                         // logical
  const QuantParams* quant = nullptr;  // set if the integers stand for real numbers

  bool present() const { return dtype != DType::kUndefined; }
  int64_t elements() const { return shape.elements(); }
  int64_t bytes() const { return elements() * dtype_bytes(dtype); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  template <class T>
  std::span<T> span() const {
    return {static_cast<T*>(data), static_cast<size_t>(elements())};
  }
};

/// Dense tensor in plain layout. Copies share the elements: treat them as immutable once shared.
class Tensor {
 public:
  Tensor() = default;

  /// Zeroed (strings: empty), 64-byte aligned. Errors: kLimitExceeded, kOutOfMemory.
  static Result<Tensor> create(DType dtype, const Shape& shape);
  /// Points into memory that `owner` keeps alive (a mapped file, say).
  static Tensor borrow(DType dtype, const Shape& shape, const void* data,
                       std::shared_ptr<const void> owner);
  /// From literal values; for small constants (aborts never, saturates nothing).
  template <class T>
  static Tensor of(const Shape& shape, std::span<const T> values);
  template <class T>
  static Tensor of(const Shape& shape, std::initializer_list<T> values) {
    return of<T>(shape, std::span<const T>(values.begin(), values.size()));
  }
  template <class T>
  static Tensor scalar(T value) {
    return of<T>(Shape{}, std::span<const T>(&value, 1));
  }
  static Tensor vector_i64(std::span<const int64_t> values) {
    return of<int64_t>(Shape{static_cast<int64_t>(values.size())}, values);
  }

  bool present() const { return dtype_ != DType::kUndefined; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t elements() const { return present() ? shape_.elements() : 0; }
  int64_t bytes() const { return elements() * dtype_bytes(dtype_); }

  void* raw() { return data_.get(); }
  const void* raw() const { return data_.get(); }
  template <class T>
  std::span<T> data() {
    return {static_cast<T*>(data_.get()), static_cast<size_t>(elements())};
  }
  template <class T>
  std::span<const T> data() const {
    return {static_cast<const T*>(data_.get()), static_cast<size_t>(elements())};
  }
  std::span<const std::byte> raw_bytes() const {
    return {static_cast<const std::byte*>(data_.get()), static_cast<size_t>(bytes())};
  }

  TensorView view(const QuantParams* quant = nullptr) const {
    return {data_.get(), dtype_, Layout::kPlain, shape_, quant};
  }
  /// The same elements under another shape of as many elements.
  Tensor reshaped(const Shape& shape) const {
    Tensor out = *this;
    out.shape_ = shape;
    return out;
  }
  Result<Tensor> clone() const;

 private:
  DType dtype_ = DType::kUndefined;
  Shape shape_;
  std::shared_ptr<void> data_;
};

template <class T>
Tensor Tensor::of(const Shape& shape, std::span<const T> values) {
  auto tensor = create(dtype_of<T>, shape);
  if (!tensor) return {};
  const auto out = tensor->template data<T>();
  for (size_t i = 0; i < out.size() && i < values.size(); ++i) out[i] = values[i];
  return *std::move(tensor);
}

/// A plain-layout copy of `view` (strings included).
Result<Tensor> to_tensor(const TensorView& view);

/// The integers of a small i32 or i64 tensor (shapes, axes, pads), widened.
Result<std::vector<int64_t>> to_int64s(const TensorView& view);
inline Result<std::vector<int64_t>> to_int64s(const Tensor& tensor) {
  return to_int64s(tensor.view());
}

}  // namespace octavo
