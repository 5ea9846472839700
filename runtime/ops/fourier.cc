#include "runtime/ops/fourier.h"

#include <bit>
#include <cmath>
#include <numbers>
#include <utility>

namespace octavo::ops {
namespace {

Complex multiply(Complex a, Complex b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

/// exp(i * pi * numerator / denominator)
Complex half_turns(double numerator, double denominator) {
  const double angle = std::numbers::pi * numerator / denominator;
  return {std::cos(angle), std::sin(angle)};
}

/// Length a power of two: iterative, decimation in time.
void transform_power_of_two(std::vector<Complex>& data, bool inverse) {
  const size_t n = data.size();
  for (size_t i = 1, j = 0; i < n; ++i) {
    size_t bit = n >> 1;
    for (; (j & bit) != 0; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(data[i], data[j]);
  }
  std::vector<Complex> roots(n / 2);
  for (size_t i = 0; i < roots.size(); ++i) {
    roots[i] = half_turns((inverse ? 2.0 : -2.0) * static_cast<double>(i), static_cast<double>(n));
  }
  for (size_t size = 2; size <= n; size *= 2) {
    for (size_t start = 0; start < n; start += size) {
      for (size_t i = 0; i < size / 2; ++i) {
        Complex& a = data[start + i];
        Complex& b = data[start + i + size / 2];
        const Complex t = multiply(b, roots[i * (n / size)]);
        b = {a.re - t.re, a.im - t.im};
        a = {a.re + t.re, a.im + t.im};
      }
    }
  }
}

/// Any length, as a convolution of a power of two's length (Bluestein).
void transform_any(std::vector<Complex>& data, bool inverse) {
  const size_t n = data.size();
  const size_t padded = std::bit_ceil(2 * n - 1);
  std::vector<Complex> chirp(n), a(padded), b(padded);
  for (size_t i = 0; i < n; ++i) {
    // i * i modulo 2n keeps the angle exact for long signals.
    const auto square = static_cast<double>(i * i % (2 * n));
    chirp[i] = half_turns(inverse ? square : -square, static_cast<double>(n));
    a[i] = multiply(data[i], chirp[i]);
    const Complex conjugate{chirp[i].re, -chirp[i].im};
    b[i] = conjugate;
    if (i > 0) b[padded - i] = conjugate;
  }
  transform_power_of_two(a, false);
  transform_power_of_two(b, false);
  for (size_t i = 0; i < padded; ++i) a[i] = multiply(a[i], b[i]);
  transform_power_of_two(a, true);
  const double scale = 1 / static_cast<double>(padded);
  for (size_t i = 0; i < n; ++i) {
    data[i] = multiply({a[i].re * scale, a[i].im * scale}, chirp[i]);
  }
}

}  // namespace

void fourier_transform(std::vector<Complex>& data, bool inverse) {
  if (data.size() < 2) return;
  if (std::has_single_bit(data.size())) {
    transform_power_of_two(data, inverse);
  } else {
    transform_any(data, inverse);
  }
}

}  // namespace octavo::ops
