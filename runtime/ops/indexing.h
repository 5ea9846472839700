// Reading index tensors: shared by the operators that gather, scatter and sort by index.
#pragma once

#include <array>
#include <span>

#include "runtime/op.h"

namespace octavo::ops {

/// Default of an `axis` attribute without which an operator (Compress, Unique) works on the
/// flattened input.
inline constexpr int64_t kNoAxis = std::numeric_limits<int64_t>::min();

/// Output 0 is some of input 0's positions along attribute `axis`, or of its elements (kNoAxis).
Status infer_picked(InferContext& context);

/// An i32 or i64 tensor as i64: its own memory if it is that, else a converted copy.
Result<Tensor> as_i64(const TensorView& view);

/// Where the element named by `index` (one for each axis from `first` on, negative ones counted
/// from the back) begins in row-major data, from the beginning of dimension `first`.
Result<int64_t> locate(const Shape& data, int first, std::span<const int64_t> index);

/// For every position of `shape` (row-major): fn(position, base, stride), where the data's element
/// at the same coordinates, but with k along `axis`, is base + k * stride.
template <class Fn>
void for_each_position(const Shape& shape, const Shape& data, int axis, const Fn& fn) {
  const int rank = shape.rank();
  const auto strides = dense_strides(data);
  const auto stride_of = [&](int i) { return i == axis ? 0 : strides[static_cast<size_t>(i)]; };
  const int64_t inner = shape.back(), step = stride_of(rank - 1);
  const int64_t stride = strides[static_cast<size_t>(axis)];
  std::array<int64_t, kMaxRank> index{};
  int64_t base = 0;
  for (int64_t at = 0, count = shape.elements(); at < count;) {
    for (int64_t i = 0; i < inner; ++i) fn(at++, base + i * step, stride);
    for (int i = rank - 2; i >= 0; --i) {
      base += stride_of(i);
      if (++index[static_cast<size_t>(i)] < shape[i]) break;
      base -= stride_of(i) * shape[i];
      index[static_cast<size_t>(i)] = 0;
    }
  }
}

/// Adds `size` to negative indices. An error if one lies outside [-size, size).
Status normalize_indices(Tensor& indices, int64_t size);

}  // namespace octavo::ops
