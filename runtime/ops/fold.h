// Folding a tensor along axes: the core of reductions and of normalizations.
#pragma once

#include <vector>

#include "runtime/ops/broadcast.h"

namespace octavo::ops {

/// `shape` with 1 in place of the dimensions `axes` (normalized), or, if not `keep`, without them.
Shape folded_shape(const Shape& shape, std::span<const int64_t> axes, bool keep);

/// Calls fn(row of T, count, accumulator, step) over the whole of `x`: element i of the row belongs
/// to accumulator[i * step], step 0 or 1. `accumulators` have the shape `kept` (folded_shape with
/// keep) in x's layout. Runs on one thread, in the order of storage.
template <class T, class Acc, class Fn>
Status for_each_folded(const TensorView& x, const Shape& kept, Acc* accumulators, const Fn& fn) {
  const TensorView target{accumulators, x.dtype, x.layout, kept};
  const TensorView operands[] = {target};
  OCTAVO_ASSIGN(const Broadcast walk, Broadcast::create(x, operands));
  const int64_t step = walk.stride(0);
  walk.run_in_order([&](const Broadcast::Offsets& offsets, int64_t at, int64_t count) {
    fn(x.as<T>() + at, count, accumulators + offsets[0], step);
  });
  return {};
}

/// Sum of term(x[i]) in double precision, in four interleaved sums: a fixed order, and quick.
template <class Term>
double sum_terms(const double* x, int64_t count, const Term& term) {
  double sums[4] = {};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int64_t lane = 0; lane < 4; ++lane) sums[lane] += term(x[i + lane]);
  }
  for (; i < count; ++i) sums[0] += term(x[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// Mean and variance (of the population) by position in `kept`, for f64.
struct Moments {
  std::vector<double> mean, variance;
};
inline Result<Moments> fold_moments(const TensorView& x, const Shape& kept) {
  const int64_t folds = kept.elements();
  const double count = folds > 0 ? static_cast<double>(x.elements() / folds) : 0;
  Moments moments;
  moments.mean.resize(static_cast<size_t>(folds));
  moments.variance.resize(static_cast<size_t>(folds));
  OCTAVO_TRY((for_each_folded<const double>(
      x, kept, moments.mean.data(), [](const double* row, int64_t n, double* sum, int64_t step) {
        if (step == 0) {
          *sum += sum_terms(row, n, [](double v) { return v; });
        } else {
          for (int64_t i = 0; i < n; ++i) sum[i] += row[i];
        }
      })));
  for (double& mean : moments.mean) mean /= count;
  const double* means = moments.mean.data();
  double* variances = moments.variance.data();
  OCTAVO_TRY((for_each_folded<const double>(
      x, kept, variances, [&](const double* row, int64_t n, double* sum, int64_t step) {
        const double* mean = means + (sum - variances);
        if (step == 0) {
          *sum += sum_terms(row, n, [m = *mean](double v) { return (v - m) * (v - m); });
        } else {
          for (int64_t i = 0; i < n; ++i) {
            const double d = row[i] - mean[i];
            sum[i] += d * d;
          }
        }
      })));
  for (double& variance : moments.variance) variance /= count;
  return moments;
}

}  // namespace octavo::ops
