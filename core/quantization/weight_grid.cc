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

// Alternates between e, the shrunk error (a generalized soft threshold), and the zero point that
// fits what e leaves: z = mean(q - (w - e) / s).
void half_quadratic(WeightMatrix& m, const WeightGrid& grid, const HqqOptions& options,
                    ThreadPool* pool) {
  round_to_nearest(m, grid, pool);
  if (grid.symmetric) return;
  parallel_for(pool, static_cast<int64_t>(m.rows), 8, [&](int64_t begin, int64_t end) {
    for (auto r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r) {
      for (size_t c = 0; c < m.columns; c += m.group) {
        const auto group = m.row(r).subspan(c, std::min(m.group, m.columns - c));
        ScaleZero& params = m.group_params(r, c);
        const double scale = params.scale;
        double zero = params.zero_point, beta = options.beta, least = INFINITY;
        // The error at the integer nearest to a real zero point.
        const auto error_of = [&](double z) {
          const ScaleZero at{params.scale, static_cast<int32_t>(std::nearbyint(z))};
          double error = 0;
          for (const float w : group) {
            error +=
                std::pow(std::fabs(w - grid.dequantize(grid.quantize(w, at), at)), options.norm);
          }
          return error;
        };
        int32_t best = params.zero_point;
        for (int64_t step = 0; step <= options.steps; ++step) {
          zero = std::clamp<double>(zero, 0, grid.high());
          if (const double error = error_of(zero); error < least) {
            least = error;
            best = static_cast<int32_t>(std::nearbyint(zero));
          }
          double sum = 0;
          for (const float w : group) {
            const double q = std::clamp<double>(std::nearbyint(w / scale + zero), 0, grid.high());
            const double e = w - (q - zero) * scale;
            const double threshold = e == 0 ? 0 : std::pow(std::fabs(e), options.norm - 1) / beta;
            const double shrunk = std::copysign(std::max(std::fabs(e) - threshold, 0.0), e);
            sum += q - (w - shrunk) / scale;
          }
          zero = sum / static_cast<double>(group.size());
          beta *= options.kappa;
        }
        params.zero_point = best;
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
