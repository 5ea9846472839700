// Strided copies: what transposes, slices, concatenations, tiles and the like come down to.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/op.h"
#include "runtime/tensor.h"

namespace octavo::ops {

/// Dimensions of a block with the strides (in elements, zero or negative allowed at the source) at
/// which it is read and written.
struct Block {
  static constexpr int kRankLimit = 2 * kMaxRank;
  int rank = 0;
  std::array<int64_t, kRankLimit> dims{}, src_strides{}, dst_strides{};

  void add(int64_t dim, int64_t src_stride, int64_t dst_stride) {
    const auto i = static_cast<size_t>(rank++);
    dims[i] = dim;
    src_strides[i] = src_stride;
    dst_strides[i] = dst_stride;
  }
};

/// Copies a block of elements of `dtype` (strings included). Offsets are in elements. Destination
/// elements must be distinct and must not overlap the source. Walks in the order of the
/// destination, whatever the order of the block's dimensions.
void copy_block(Block block, DType dtype, const void* src, int64_t src_offset, void* dst,
                int64_t dst_offset);

/// Fills a dense tensor from elements of another: in storage order, element (i, j, ...) of `dst` is
/// src[offsets[0][i] + offsets[1][j] + ...]. At least one axis, none of them empty.
void copy_mapped(DType dtype, const void* src, void* dst,
                 const std::vector<std::vector<int64_t>>& offsets);

/// Copies `count` contiguous elements of `dtype`.
void copy_elements(DType dtype, const void* src, int64_t src_offset, void* dst, int64_t dst_offset,
                   int64_t count);

/// Strides in elements of the logical axes of a dense tensor.
std::array<int64_t, kMaxRank> memory_strides(const Shape& shape, Layout layout);

/// Product of dimensions [first, last) where it is known: one symbol times ones is that symbol.
int64_t known_product(const Shape& shape, int first, int last);

/// Error if `rank` is more than a Shape can hold.
Status check_rank(int64_t rank);

/// Up to 2 * kMaxRank integers (axes, pads, bounds of slices), without allocation.
class ShortInts {
 public:
  /// 0, 1, ..., count - 1, or as many as fit.
  static ShortInts first(size_t count);
  /// An error if they do not fit.
  static Result<ShortInts> of(std::span<const int64_t> values);
  /// Of an i32 or i64 tensor.
  static Result<ShortInts> of(const TensorView& view);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t operator[](size_t i) const { return values_[i]; }
  int64_t* begin() { return values_.data(); }
  int64_t* end() { return begin() + size_; }
  const int64_t* begin() const { return values_.data(); }
  const int64_t* end() const { return begin() + size_; }

 private:
  size_t size_ = 0;
  std::array<int64_t, 2 * kMaxRank> values_{};
};

/// True (and no error) if the axes are distinct; they are normalized in place.
Status normalize_axes(std::span<int64_t> axes, int rank);

/// A row that passes input 0's elements on under another shape: copies them.
Status copy_through(KernelContext& c, const Shape& shape);

}  // namespace octavo::ops
