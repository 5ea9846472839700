#include "runtime/kernels/reorder.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace octavo::kernels {
namespace {

// Rows a side of the square that is transposed at once: 32 rows of 32 floats stay in L1.
constexpr int64_t kTile = 32;

// out[b][j][i] = in[b][i][j] for `batch` matrices of rows x columns.
template <class T>
void transpose(const T* in, T* out, int64_t batch, int64_t rows, int64_t columns,
               ThreadPool* pool) {
  const int64_t tiles = (columns + kTile - 1) / kTile;
  const int64_t grain = std::max<int64_t>(1, 16384 / (kTile * std::max<int64_t>(rows, 1)));
  parallel_for(pool, batch * tiles, grain, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / tiles;
      const int64_t j0 = item % tiles * kTile;
      const int64_t j1 = std::min(j0 + kTile, columns);
      const T* from = in + b * rows * columns;
      T* to = out + b * rows * columns;
      for (int64_t i0 = 0; i0 < rows; i0 += kTile) {
        const int64_t i1 = std::min(i0 + kTile, rows);
        for (int64_t j = j0; j < j1; ++j) {
          for (int64_t i = i0; i < i1; ++i) to[j * rows + i] = from[i * columns + j];
        }
      }
    }
  });
}

// The same for few rows (the channels of an image), from planes to pixels.
template <int kRows, class T>
void interleave(const T* in, T* out, int64_t batch, int64_t columns, ThreadPool* pool) {
  for (int64_t b = 0; b < batch; ++b) {
    parallel_for(pool, columns, 16384, [&](int64_t begin, int64_t end) {
      const T* __restrict from = in + b * kRows * columns;
      T* __restrict to = out + b * kRows * columns;
      for (int64_t j = begin; j < end; ++j) {
        for (int i = 0; i < kRows; ++i) to[j * kRows + i] = from[i * columns + j];
      }
    });
  }
}

}  // namespace

void reorder(const TensorView& in, const TensorView& out, ThreadPool* pool) {
  const Shape& shape = in.shape;
  if (shape.elements() == 0) return;
  const int64_t channels = shape.rank() >= 2 ? shape[1] : 1;
  const int64_t spatial = shape.rank() >= 3 ? shape.elements(2, shape.rank()) : 1;
  visit_dtype_size(in.dtype, [&]<class T>() {
    const T* from = in.as<const T>();
    T* to = out.as<T>();
    if (in.layout == out.layout || channels == 1 || spatial == 1) {
      std::copy_n(from, shape.elements(), to);
    } else if (out.layout == Layout::kChannelsLast && channels == 3) {
      interleave<3>(from, to, shape[0], spatial, pool);
    } else if (out.layout == Layout::kChannelsLast) {
      transpose(from, to, shape[0], channels, spatial, pool);
    } else {
      transpose(from, to, shape[0], spatial, channels, pool);
    }
  });
}

}  // namespace octavo::kernels
