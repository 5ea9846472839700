// GPTQ (Frantar et al. 2022): columns are rounded one after another; each rounding error is made up
// for in the columns that follow, by U / U_ii with U^T U = H^-1, H the moments of the inputs.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/quantization/weight_grid.h"

namespace octavo {
namespace {

using Doubles = std::vector<double>;

// The lower Cholesky factor, in place. False if the matrix is not positive definite.
bool cholesky(Doubles& a, size_t n) {
  for (size_t j = 0; j < n; ++j) {
    double* row_j = a.data() + j * n;
    double diagonal = row_j[j];
    for (size_t k = 0; k < j; ++k) diagonal -= row_j[k] * row_j[k];
    if (!(diagonal > 0)) return false;
    row_j[j] = std::sqrt(diagonal);
    for (size_t i = j + 1; i < n; ++i) {
      double* row_i = a.data() + i * n;
      double sum = row_i[j];
      for (size_t k = 0; k < j; ++k) sum -= row_i[k] * row_j[k];
      row_i[j] = sum / row_j[j];
    }
  }
  return true;
}

// U, upper, with U^T U = H^-1: with the columns in reverse order the Cholesky factor of H is
// upper, H = V V^T, and U = V^-1. `h`: full symmetric.
bool inverse_factor(const Doubles& h, size_t n, Doubles& u) {
  Doubles reversed(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) reversed[i * n + j] = h[(n - 1 - i) * n + (n - 1 - j)];
  }
  if (!cholesky(reversed, n)) return false;
  // The inverse of the lower factor L, row by row: x_i = (e_i - sum_k<i L_ik x_k) / L_ii.
  Doubles inverse(n * n, 0);
  for (size_t i = 0; i < n; ++i) {
    double* x = inverse.data() + i * n;
    for (size_t k = 0; k < i; ++k) {
      const double factor = reversed[i * n + k];
      const double* x_k = inverse.data() + k * n;
      for (size_t j = 0; j <= k; ++j) x[j] -= factor * x_k[j];
    }
    x[i] += 1;
    const double diagonal = reversed[i * n + i];
    for (size_t j = 0; j <= i; ++j) x[j] /= diagonal;
  }
  u.assign(n * n, 0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i; j < n; ++j) u[i * n + j] = inverse[(n - 1 - i) * n + (n - 1 - j)];
  }
  return true;
}

}  // namespace

Status gptq(WeightMatrix& m, const WeightGrid& grid, const Moments& moments,
            const GptqOptions& options, ThreadPool* pool) {
  const size_t n = m.columns;
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  if (options.actorder) {
    std::ranges::stable_sort(
        order, [&](size_t a, size_t b) { return moments.diagonal(a) > moments.diagonal(b); });
  }
  double mean = 0;
  for (size_t i = 0; i < n; ++i) mean += moments.diagonal(i) / static_cast<double>(n);
  if (!(mean > 0)) mean = 1;
  Doubles h(n * n), u;
  const auto moment = [&](size_t i, size_t j) {
    return moments.sums[std::min(i, j) * n + std::max(i, j)];
  };
  double damping = options.percdamp;
  constexpr double kMostDamping = 1;
  while (true) {
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) h[i * n + j] = moment(order[i], order[j]);
      // An input that is always zero leaves its weights free.
      if (h[i * n + i] == 0) h[i * n + i] = mean;
      h[i * n + i] += damping * mean;
    }
    if (inverse_factor(h, n, u)) break;
    damping *= 10;
    if (damping > kMostDamping) {
      return fail(ErrorCode::kInternal, "the moments of the layer's inputs cannot be inverted");
    }
  }
  parallel_for(pool, static_cast<int64_t>(m.rows), 1, [&](int64_t begin, int64_t end) {
    Doubles w(n);
    std::vector<float> group;
    for (auto r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r) {
      const auto row = m.row(r);
      for (size_t i = 0; i < n; ++i) w[i] = row[order[i]];
      if (options.actorder) {  // groups are scattered over the order: their scales come first
        for (size_t c = 0; c < n; c += m.group) {
          m.group_params(r, c) = grid.choose(row.subspan(c, std::min(m.group, n - c)));
        }
      }
      for (size_t i = 0; i < n; ++i) {
        const size_t column = order[i];
        if (!options.actorder && i % m.group == 0) {
          group.assign(w.begin() + static_cast<int64_t>(i),
                       w.begin() + static_cast<int64_t>(std::min(i + m.group, n)));
          m.group_params(r, i) = grid.choose(group);
        }
        const ScaleZero& params = m.group_params(r, column);
        const int q = grid.quantize(static_cast<float>(w[i]), params);
        m.integers[r * n + column] = static_cast<int8_t>(q);
        const double* factors = u.data() + i * n;
        const double error = (w[i] - grid.dequantize(q, params)) / factors[i];
        for (size_t j = i + 1; j < n; ++j) w[j] -= error * factors[j];
      }
    }
  });
  return {};
}

}  // namespace octavo
