#include "core/quantization/weight_grid.h"

#include <algorithm>
#include <cmath>

namespace octavo {
namespace {

constexpr double kErrorPower = 2.4;  // GPTQ's code
constexpr int kSearchSteps = 20;
constexpr double kSmallestRange = 0.4;

Range range_of(std::span<const float> group) {
  Range range;
  for (const float x : group) range = {std::min(range.min, x), std::max(range.max, x)};
  return range;
}

}  // namespace

ScaleZero WeightGrid::from_range(const Range& range) const {
  const double low = std::min(range.min, 0.0f), top = std::max(range.max, 0.0f);
  if (symmetric) {
    const double scale = std::max(low / this->low(), top / high());
    return {std::max(static_cast<float>(scale), kMinScale), 0};
  }
  const double scale = (top - low) / high();
  if (scale < kMinScale) return {1.0f, 0};
  const double zero = std::nearbyint(-low / scale);
  return {static_cast<float>(scale), static_cast<int32_t>(std::clamp<double>(zero, 0, high()))};
}

int WeightGrid::quantize(float value, const ScaleZero& params) const {
  if (symmetric && bits == 1) return value < 0 ? -1 : 1;
  const float q = std::nearbyint(value / params.scale) + static_cast<float>(params.zero_point);
  return static_cast<int>(std::clamp(q, static_cast<float>(low()), static_cast<float>(high())));
}

ScaleZero WeightGrid::choose(std::span<const float> group, std::span<const float> weight) const {
  if (symmetric && bits == 1) {
    double sum = 0;
    for (const float x : group) sum += std::fabs(x);
    const double mean = group.empty() ? 0 : sum / static_cast<double>(group.size());
    return {std::max(static_cast<float>(mean), kMinScale), 0};
  }
  const Range whole = range_of(group);
  ScaleZero best = from_range(whole);
  if (!search && bits > 2) return best;
  double least = INFINITY;
  for (int step = 0; step < kSearchSteps; ++step) {
    const auto shrink = static_cast<float>(1 - step * (1 - kSmallestRange) / (kSearchSteps - 1));
    const ScaleZero candidate = from_range({whole.min * shrink, whole.max * shrink});
    double error = 0;
    for (size_t i = 0; i < group.size(); ++i) {
      const double e = std::fabs(dequantize(quantize(group[i], candidate), candidate) - group[i]);
      error += weight.empty() ? std::pow(e, kErrorPower) : e * e * weight[i];
    }
    if (error < least) {
      least = error;
      best = candidate;
    }
  }
  return best;
}

void round_to_nearest(WeightMatrix& m, const WeightGrid& grid, ThreadPool* pool) {
  parallel_for(pool, static_cast<int64_t>(m.rows), 8, [&](int64_t begin, int64_t end) {
    for (auto r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r) {
      const auto row = m.row(r);
      for (size_t c = 0; c < m.columns; ++c) {
        if (c % m.group == 0) {
          m.group_params(r, c) = grid.choose(row.subspan(c, std::min(m.group, m.columns - c)));
        }
        m.set(grid, r, c, row[c]);
      }
    }
  });
}

// Alternates between e, the shrunk error (a generalized soft threshold), and the scale that fits
// what e leaves, s = sum d (w - e) / sum d^2 with d = q - z: the least squares solution. Errors are
// counted in steps of the first scale, so that a group's magnitude does not matter.
void half_quadratic(WeightMatrix& m, const WeightGrid& grid, const HqqOptions& options,
                    ThreadPool* pool) {
  round_to_nearest(m, grid, pool);
  if (grid.symmetric && grid.bits == 1) return;  // the mean of |w| is the solution
  const auto solve = [&](std::span<const float> group, ScaleZero start) {
    ScaleZero params = start, best = start;
    double beta = options.beta, least = INFINITY;
    for (int64_t step = 0; step <= options.steps; ++step) {
      double error = 0, product = 0, squares = 0;
      for (const float w : group) {
        const double d = grid.quantize(w, params) - params.zero_point;
        const double e = (w - d * params.scale) / start.scale, size = std::fabs(e);
        error += std::pow(size, options.norm);
        const double threshold = size == 0 ? 0 : std::pow(size, options.norm - 1) / beta;
        const double shrunk = std::copysign(std::max(size - threshold, 0.0), e) * start.scale;
        product += d * (w - shrunk);
        squares += d * d;
      }
      if (error < least) {
        least = error;
        best = params;
      }
      const double scale = squares > 0 ? product / squares : 0;
      if (!(scale >= kMinScale)) break;
      params.scale = static_cast<float>(scale);
      beta *= options.kappa;
    }
    return best;
  };
  parallel_for(pool, static_cast<int64_t>(m.rows), 8, [&](int64_t begin, int64_t end) {
    for (auto r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r) {
      for (size_t c = 0; c < m.columns; c += m.group) {
        const auto group = m.row(r).subspan(c, std::min(m.group, m.columns - c));
        m.group_params(r, c) = solve(group, m.group_params(r, c));
        for (size_t i = 0; i < group.size(); ++i) m.set(grid, r, c + i, group[i]);
      }
    }
  });
}

double output_error(const WeightMatrix& m, const WeightGrid& grid,
                    std::span<const float> importance) {
  double sum = 0;
  for (size_t r = 0; r < m.rows; ++r) {
    for (size_t c = 0; c < m.columns; ++c) {
      const ScaleZero& params = m.params[r * m.groups() + c / m.group];
      const int8_t stored = m.integers[r * m.columns + c];
      const int q = grid.symmetric ? stored : static_cast<uint8_t>(stored);
      const double e = m.real[r * m.columns + c] - grid.dequantize(q, params);
      sum += e * e * importance[c];
    }
  }
  return sum;
}

}  // namespace octavo
