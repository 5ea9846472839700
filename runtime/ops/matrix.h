// Matrix products, the slow obvious way: every element is one sum over k in ascending order.
#pragma once

#include "runtime/op.h"

namespace octavo::ops {

/// c[m][n] = a[m][k] * b[k][n]; b and c dense and row-major; element (i, p) of a is at
/// a[i * a_row + p * a_column]. T: float, double, uint32_t or uint64_t (signed integers, wrapping
/// around, are the same bits).
template <class T>
void multiply(ThreadPool* pool, const T* a, int64_t a_row, int64_t a_column, const T* b, T* c,
              int64_t m, int64_t n, int64_t k);

/// out[j][i] = in[i][j].
template <class T>
void transpose(const T* in, T* out, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) out[j * rows + i] = in[i * columns + j];
  }
}

/// Operands of numpy's matmul: batches broadcast, vectors count as one row or one column.
struct MatMulDims {
  Shape batch;   // broadcast
  Shape output;  // batch, then m and n unless an operand is a vector
  int64_t m = 1, n = 1, k = 1;
  Shape batch_a, batch_b;  // of rank batch.rank(), ones prepended

  /// Offsets in matrices (not elements) of batch number `index` in a and b.
  std::pair<int64_t, int64_t> matrices(int64_t index) const;
};
/// Dimensions may be unknown; an error if they cannot fit.
Result<MatMulDims> matmul_dims(const Shape& a, const Shape& b);

/// The integers of a quantized tensor (i8, u8, i4, u4) as i32 minus zero points, which lie along
/// rows (`along_rows`: one per row of the innermost two dimensions) or columns, or are one.
Result<Tensor> centered(const TensorView& view, std::span<const int32_t> zero_points,
                        bool along_rows);

}  // namespace octavo::ops
