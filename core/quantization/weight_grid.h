// Integers for groups of weights: which there are, how a group's scale and zero point are chosen.
//
//   symmetric   8 and 4 bits: -2^(b-1) .. 2^(b-1) - 1, scale = max(-min / 2^(b-1), max / (2^(b-1) -
//   1))
//               2 bits: -1, 0, 1;  1 bit: -1, 1 with scale = mean |w|
//   asymmetric  0 .. 2^b - 1, scale = (hi - lo) / (2^b - 1), zero_point = round(-lo / scale)
//
// with lo = min(min, 0) and hi = max(max, 0).
#pragma once

#include <span>
#include <vector>

#include "core/quantization/moments.h"
#include "core/quantization/params.h"
#include "runtime/parallel.h"

namespace octavo {

struct WeightGrid {
  int bits = 4;
  bool symmetric = true;
  bool search = false;  // narrow the range while that lessens sum |error|^2.4 (2 bits: always)

  int low() const { return !symmetric ? 0 : bits <= 2 ? -1 : -(1 << (bits - 1)); }
  int high() const { return !symmetric ? (1 << bits) - 1 : bits <= 2 ? 1 : (1 << (bits - 1)) - 1; }
  DType dtype() const {
    if (bits > 4) return symmetric ? DType::kI8 : DType::kU8;
    return symmetric ? DType::kI4 : DType::kU4;
  }

  /// A group's scale and zero point. `weight[i]`: what an error of weight i counts; empty: all 1.
  ScaleZero choose(std::span<const float> group, std::span<const float> weight = {}) const;
  /// The same for weights shrunk to [lo, hi].
  ScaleZero from_range(const Range& range) const;
  int quantize(float value, const ScaleZero& params) const;
  float dequantize(int q, const ScaleZero& params) const {
    return static_cast<float>(q - params.zero_point) * params.scale;
  }
};

/// The weights of a layer, one row for each output, one column for each input.
struct WeightMatrix {
  size_t rows = 0, columns = 0, group = 0;  // group: columns that share a scale
  std::vector<float> real;
  std::vector<int8_t> integers;   // as bytes: an unsigned 8-bit one as its two's complement
  std::vector<ScaleZero> params;  // rows x groups()

  size_t groups() const { return (columns + group - 1) / group; }
  std::span<float> row(size_t r) { return std::span(real).subspan(r * columns, columns); }
  std::span<const float> row(size_t r) const {
    return std::span(real).subspan(r * columns, columns);
  }
  ScaleZero& group_params(size_t r, size_t column) { return params[r * groups() + column / group]; }
  void set(const WeightGrid& grid, size_t r, size_t column, float value) {
    integers[r * columns + column] =
        static_cast<int8_t>(grid.quantize(value, group_params(r, column)));
  }
};

/// Rounds every weight to the nearest integer.
void round_to_nearest(WeightMatrix& matrix, const WeightGrid& grid, ThreadPool* pool);

struct HqqOptions {
  double norm = 0.7, beta = 10, kappa = 1.01;
  int64_t steps = 20;
};
/// Round to nearest with scales that make sum |error|^p small: Half-Quadratic Quantization (Badri
/// and Shaji 2023), whose zero points are real numbers and what is solved for. ONNX's are integers,
/// which the solution rounds to where it began; here it is the scale.
void half_quadratic(WeightMatrix& matrix, const WeightGrid& grid, const HqqOptions& options,
                    ThreadPool* pool);

struct GptqOptions {
  double percdamp = 0.01;
  bool actorder = false;
};
/// Error kInternal if the matrix of moments cannot be inverted, even damped.
Status gptq(WeightMatrix& matrix, const WeightGrid& grid, const Moments& moments,
            const GptqOptions& options, ThreadPool* pool);

/// The weights' error as the outputs see it: sum over rows of sum_i e_i^2 m_ii, m the moments.
double output_error(const WeightMatrix& matrix, const WeightGrid& grid,
                    std::span<const float> importance);

}  // namespace octavo
