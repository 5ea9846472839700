#include "runtime/ops/matrix.h"

#include <algorithm>

#include "runtime/ops/common.h"

namespace octavo::ops {

template <class T>
void multiply(ThreadPool* pool, const T* a, int64_t a_row, int64_t a_column, const T* b, T* c,
              int64_t m, int64_t n, int64_t k) {
  // Tiles of 4 rows reuse what they read of b; 512 columns of 4 rows stay in the first-level cache.
  constexpr int64_t kRows = 4, kColumns = 512;
  const int64_t row_tiles = (m + kRows - 1) / kRows;
  const int64_t column_tiles = (n + kColumns - 1) / kColumns;
  const int64_t work = std::max<int64_t>(kRows * std::min(n, kColumns) * k, 1);
  parallel_for(pool, row_tiles * column_tiles, 65536 / work + 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t row = tile % row_tiles * kRows, column = tile / row_tiles * kColumns;
      const int64_t rows = std::min(kRows, m - row), columns = std::min(kColumns, n - column);
      for (int64_t i = 0; i < rows; ++i) std::fill_n(c + (row + i) * n + column, columns, T(0));
      for (int64_t p = 0; p < k; ++p) {
        const T* from = b + p * n + column;
        for (int64_t i = 0; i < rows; ++i) {
          const T factor = a[(row + i) * a_row + p * a_column];
          T* to = c + (row + i) * n + column;
          for (int64_t j = 0; j < columns; ++j) to[j] += factor * from[j];
        }
      }
    }
  });
}
template void multiply(ThreadPool*, const float*, int64_t, int64_t, const float*, float*, int64_t,
                       int64_t, int64_t);
template void multiply(ThreadPool*, const double*, int64_t, int64_t, const double*, double*,
                       int64_t, int64_t, int64_t);
template void multiply(ThreadPool*, const uint32_t*, int64_t, int64_t, const uint32_t*, uint32_t*,
                       int64_t, int64_t, int64_t);
template void multiply(ThreadPool*, const uint64_t*, int64_t, int64_t, const uint64_t*, uint64_t*,
                       int64_t, int64_t, int64_t);

std::pair<int64_t, int64_t> MatMulDims::matrices(int64_t index) const {
  int64_t a = 0, b = 0, stride_a = 1, stride_b = 1;
  for (int d = batch.rank() - 1; d >= 0; --d) {
    const int64_t at = index % batch[d];
    index /= batch[d];
    a += batch_a[d] == 1 ? 0 : at * stride_a;
    b += batch_b[d] == 1 ? 0 : at * stride_b;
    stride_a *= batch_a[d];
    stride_b *= batch_b[d];
  }
  return {a, b};
}

Result<MatMulDims> matmul_dims(const Shape& a, const Shape& b) {
  if (a.rank() == 0 || b.rank() == 0) {
    return fail(ErrorCode::kShapeMismatch, "a scalar cannot be multiplied as a matrix");
  }
  MatMulDims dims;
  const bool row_vector = a.rank() == 1, column_vector = b.rank() == 1;
  const int64_t k_b = column_vector ? b[0] : b[b.rank() - 2];
  dims.k = a.back();
  if (dims.k < 0) dims.k = k_b;
  if (dims.k >= 0 && k_b >= 0 && dims.k != k_b) {
    return fail(ErrorCode::kShapeMismatch, "shapes ", a.to_string(), " and ", b.to_string(),
                " do not multiply: ", dims.k, " columns meet ", k_b, " rows");
  }
  if (!row_vector) dims.m = a[a.rank() - 2];
  if (!column_vector) dims.n = b.back();
  const Shape lead_a(a.dims().first(static_cast<size_t>(std::max(a.rank() - 2, 0))));
  const Shape lead_b(b.dims().first(static_cast<size_t>(std::max(b.rank() - 2, 0))));
  OCTAVO_ASSIGN(dims.batch, broadcast_shapes(lead_a, lead_b));
  const auto padded = [&](const Shape& lead) {
    Shape shape = Shape::filled(dims.batch.rank() - lead.rank(), 1);
    for (const int64_t dim : lead) shape.push_back(dim);
    return shape;
  };
  dims.batch_a = padded(lead_a);
  dims.batch_b = padded(lead_b);
  dims.output = dims.batch;
  if (!row_vector) dims.output.push_back(dims.m);
  if (!column_vector) dims.output.push_back(dims.n);
  return dims;
}

Result<Tensor> centered(const TensorView& view, std::span<const int32_t> zero_points,
                        bool along_rows) {
  OCTAVO_ASSIGN(Tensor out, Tensor::create(DType::kI32, view.shape));
  OCTAVO_TRY(cast_elements(view, out.view()));
  const int rank = view.shape.rank();
  const int64_t columns = rank > 0 ? view.shape.back() : 1;
  const int64_t rows = rank > 1 ? view.shape[rank - 2] : 1;
  const auto needed = static_cast<size_t>(along_rows ? rows : columns);
  if (zero_points.size() > 1 && zero_points.size() != needed) {
    return fail(ErrorCode::kShapeMismatch, zero_points.size(), " zero points for ", needed,
                along_rows ? " rows" : " columns");
  }
  if (zero_points.empty() || columns == 0) return out;
  int32_t* data = out.data<int32_t>().data();
  for (int64_t row = 0, all = out.elements() / columns; row < all; ++row, data += columns) {
    for (int64_t j = 0; j < columns; ++j) {
      const int64_t p = zero_points.size() == 1 ? 0 : along_rows ? row % rows : j;
      data[j] -= zero_points[static_cast<size_t>(p)];
    }
  }
  return out;
}

}  // namespace octavo::ops
