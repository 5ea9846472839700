// What calibration computes of every element: extremes and histograms.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo::kernels {

struct Extent {
  float min = 0, max = 0;
  uint32_t magnitude_bits = 0;  // the largest |x| as IEEE bits; from 0x7F800000: infinite, or NaN
};

/// Of at least one element.
Extent find_extent(const float* data, size_t count);

/// Widens low[c] and high[c] to hold each row's element c. Returns the largest magnitude's bits, as
/// in Extent.
uint32_t widen_columns(const float* data, size_t rows, size_t columns, float* low, float* high);

/// Adds each column's elements to sum, their squares to squares, and the number of those that reach
/// `bound` to reaching. The same on every target.
void sum_columns(const float* data, size_t rows, size_t columns, float bound, double* sum,
                 double* squares, double* reaching);

/// Adds one to zero_bin[floor(x * inverse_width)] for each element. inverse_width: a power of two;
/// no product may leave the table or int32.
void count_bins(const float* data, size_t count, float inverse_width, uint32_t* zero_bin);

/// Adds the counts to the `size` sums, and leaves zeros. `shift`: 0, or 1: two counts to a sum.
void move_counts(uint32_t* counts, size_t size, int64_t* sums, int shift);

}  // namespace octavo::kernels
