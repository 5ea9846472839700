#include "runtime/ops/move.h"

#include <algorithm>
#include <numeric>

namespace octavo::ops {
namespace {

template <class T>
Result<ShortInts> widened(const T* values, size_t count) {
  ShortInts ints = ShortInts::first(count);
  if (ints.size() != count) {
    return fail(ErrorCode::kLimitExceeded, "a list of ", count, " integers is too long");
  }
  std::copy_n(values, count, ints.begin());
  return ints;
}

// Drops unit dimensions, orders by destination stride and merges dimensions that are contiguous on
// both sides.
void simplify(Block& block) {
  std::array<int, Block::kRankLimit> order{};
  int kept = 0;
  for (int i = 0; i < block.rank; ++i) {
    if (block.dims[static_cast<size_t>(i)] != 1) order[static_cast<size_t>(kept++)] = i;
  }
  const auto stride = [&](int k) {
    return block.dst_strides[static_cast<size_t>(order[static_cast<size_t>(k)])];
  };
  for (int k = 1; k < kept; ++k) {
    for (int j = k; j > 0 && stride(j) > stride(j - 1); --j) {
      std::swap(order[static_cast<size_t>(j)], order[static_cast<size_t>(j - 1)]);
    }
  }
  Block out;
  for (int k = 0; k < kept; ++k) {
    const auto i = static_cast<size_t>(order[static_cast<size_t>(k)]);
    if (out.rank > 0) {
      const auto last = static_cast<size_t>(out.rank - 1);
      if (out.src_strides[last] == block.src_strides[i] * block.dims[i] &&
          out.dst_strides[last] == block.dst_strides[i] * block.dims[i]) {
        out.dims[last] *= block.dims[i];
        out.src_strides[last] = block.src_strides[i];
        out.dst_strides[last] = block.dst_strides[i];
        continue;
      }
    }
    out.add(block.dims[i], block.src_strides[i], block.dst_strides[i]);
  }
  if (out.rank == 0) out.add(1, 1, 1);
  block = out;
}

template <class T>
void copy_row(const T* src, int64_t src_stride, T* dst, int64_t dst_stride, int64_t count) {
  if (dst_stride == 1 && src_stride == 1) {
    std::copy_n(src, count, dst);
  } else if (dst_stride == 1 && src_stride == 0) {
    std::fill_n(dst, count, *src);
  } else if (dst_stride == 1 && src_stride == 2) {  // every other pixel
#pragma GCC unroll 8
    for (int64_t i = 0; i < count; ++i) dst[i] = src[2 * i];
  } else {
    for (int64_t i = 0; i < count; ++i) dst[i * dst_stride] = src[i * src_stride];
  }
}

// A transpose: `rows` is the dimension along which the source is contiguous, `cols` the one along
// which the destination is. In tiles, so that both sides stay in cache.
template <class T>
void copy_tiles(const T* src, T* dst, int64_t rows, int64_t cols, int64_t src_col_stride,
                int64_t dst_row_stride) {
  constexpr int64_t kTile = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    const int64_t r1 = std::min(rows, r0 + kTile);
    for (int64_t c0 = 0; c0 < cols; c0 += kTile) {
      const int64_t c1 = std::min(cols, c0 + kTile);
      for (int64_t r = r0; r < r1; ++r) {
        for (int64_t c = c0; c < c1; ++c) dst[r * dst_row_stride + c] = src[c * src_col_stride + r];
      }
    }
  }
}

template <class T>
void copy(Block& block, const T* src, T* dst) {
  const auto inner = static_cast<size_t>(block.rank - 1);
  int outer_rank = block.rank - 1;
  bool tiles = false;
  if (block.dst_strides[inner] == 1 && block.src_strides[inner] != 1) {
    for (int i = 0; i < outer_rank && !tiles; ++i) {
      const auto at = static_cast<size_t>(i);
      if (block.src_strides[at] != 1) continue;
      const auto second = static_cast<size_t>(outer_rank - 1);
      std::swap(block.dims[at], block.dims[second]);
      std::swap(block.src_strides[at], block.src_strides[second]);
      std::swap(block.dst_strides[at], block.dst_strides[second]);
      tiles = true;
    }
  }
  if (tiles) --outer_rank;
  std::array<int64_t, Block::kRankLimit> index{};
  while (true) {
    if (tiles) {
      copy_tiles(src, dst, block.dims[inner - 1], block.dims[inner], block.src_strides[inner],
                 block.dst_strides[inner - 1]);
    } else {
      copy_row(src, block.src_strides[inner], dst, block.dst_strides[inner], block.dims[inner]);
    }
    int axis = outer_rank - 1;
    for (; axis >= 0; --axis) {
      const auto a = static_cast<size_t>(axis);
      src += block.src_strides[a];
      dst += block.dst_strides[a];
      if (++index[a] < block.dims[a]) break;
      src -= block.src_strides[a] * block.dims[a];
      dst -= block.dst_strides[a] * block.dims[a];
      index[a] = 0;
    }
    if (axis < 0) return;
  }
}

}  // namespace

void copy_block(Block block, DType dtype, const void* src, int64_t src_offset, void* dst,
                int64_t dst_offset) {
  for (int i = 0; i < block.rank; ++i) {
    if (block.dims[static_cast<size_t>(i)] <= 0) return;
  }
  simplify(block);
  visit_dtype_size(dtype, [&]<class T>() {
    copy(block, static_cast<const T*>(src) + src_offset, static_cast<T*>(dst) + dst_offset);
  });
}

void copy_mapped(DType dtype, const void* src, void* dst,
                 const std::vector<std::vector<int64_t>>& offsets) {
  visit_dtype_size(dtype, [&]<class T>() {
    const T* base = static_cast<const T*>(src);
    T* to = static_cast<T*>(dst);
    std::array<size_t, kMaxRank> index{};
    int64_t outer = 0;
    for (size_t a = 0; a + 1 < offsets.size(); ++a) outer += offsets[a][0];
    const auto& inner = offsets.back();
    bool adjoin = true;  // the elements of a row
    for (size_t i = 1; i < inner.size(); ++i) adjoin &= inner[i] == inner[i - 1] + 1;
    while (true) {
      if (adjoin) {
        to = std::copy_n(base + outer + inner[0], inner.size(), to);
      } else {
        for (const int64_t offset : inner) *to++ = base[outer + offset];
      }
      size_t axis = offsets.size() - 1;
      bool done = axis == 0;
      while (axis > 0) {
        const auto& list = offsets[--axis];
        outer -= list[index[axis]];
        if (++index[axis] < list.size()) {
          outer += list[index[axis]];
          break;
        }
        index[axis] = 0;
        outer += list[0];
        done = axis == 0;
      }
      if (done) return;
    }
  });
}

void copy_elements(DType dtype, const void* src, int64_t src_offset, void* dst, int64_t dst_offset,
                   int64_t count) {
  visit_dtype_size(dtype, [&]<class T>() {
    std::copy_n(static_cast<const T*>(src) + src_offset, count, static_cast<T*>(dst) + dst_offset);
  });
}

std::array<int64_t, kMaxRank> memory_strides(const Shape& shape, Layout layout) {
  const auto physical = dense_strides(physical_shape(shape, layout));
  std::array<int64_t, kMaxRank> strides{};
  for (int i = 0; i < shape.rank(); ++i) {
    const int axis = physical_axis(i, shape.rank(), layout);
    strides[static_cast<size_t>(i)] = physical[static_cast<size_t>(axis)];
  }
  return strides;
}

int64_t known_product(const Shape& shape, int first, int last) {
  int64_t product = 1, unknown = 0;
  int unknowns = 0;
  for (int i = first; i < last; ++i) {
    if (shape[i] == 0) return 0;
    if (shape[i] < 0) {
      ++unknowns;
      unknown = shape[i];
    } else if (__builtin_mul_overflow(product, shape[i], &product)) {
      return kUnknownDim;  // allocation will report it
    }
  }
  if (unknowns == 0) return product;
  return unknowns == 1 && product == 1 ? unknown : kUnknownDim;
}

Status check_rank(int64_t rank) {
  if (rank < 0 || rank > kMaxRank) {
    return fail(ErrorCode::kLimitExceeded, "a tensor of rank ", rank, "; the limit is ", kMaxRank);
  }
  return {};
}

ShortInts ShortInts::first(size_t count) {
  ShortInts ints;
  ints.size_ = std::min(count, ints.values_.size());
  std::iota(ints.begin(), ints.end(), 0);
  return ints;
}

Result<ShortInts> ShortInts::of(std::span<const int64_t> values) {
  return widened(values.data(), values.size());
}

Result<ShortInts> ShortInts::of(const TensorView& view) {
  const auto count = static_cast<size_t>(view.elements());
  if (view.dtype == DType::kI64) return widened(view.as<const int64_t>(), count);
  if (view.dtype == DType::kI32) return widened(view.as<const int32_t>(), count);
  return fail(ErrorCode::kShapeMismatch, "expected i64 or i32 integers, got ",
              dtype_name(view.dtype));
}

Status normalize_axes(std::span<int64_t> axes, int rank) {
  uint32_t seen = 0;
  for (int64_t& axis : axes) {
    OCTAVO_ASSIGN(const int normal, normalize_axis(axis, rank));
    if (seen >> normal & 1) return fail(ErrorCode::kShapeMismatch, "axis ", axis, " appears twice");
    seen |= 1u << normal;
    axis = normal;
  }
  return {};
}

Status copy_through(KernelContext& c, const Shape& shape) {
  const TensorView& in = c.in(0);
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, shape));
  copy_elements(in.dtype, in.data, 0, out.data, 0, in.elements());
  return {};
}

}  // namespace octavo::ops
