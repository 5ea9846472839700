#include "runtime/ops/math.h"

namespace octavo::ops::math {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// ln 2 in two parts; the products of the first with whole numbers up to 2^20 are exact.
constexpr double kLn2High = 0x1.62e42fee00000p-1, kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kLog2E = 1.44269504088896340736;
constexpr double kTwoOverSqrtPi = 1.12837916709551257390;

// (e^r - 1) / r for |r| <= 0.35, by its Taylor series: the first term left out is r^14 / 15! <
// 4e-19.
double exp_series(double r) {
  constexpr double kFactorials[] = {1,        2,         6,          24,         120,
                                    720,      5040,      40320,      362880,     3628800,
                                    39916800, 479001600, 6227020800, 87178291200};
  double sum = 0;
  for (int i = 13; i >= 0; --i) sum = sum * r + 1 / kFactorials[i];
  return sum;
}

// log((1 + s) / (1 - s)) for |s| <= 0.172; the first term left out is 2 s^25 / 25 < 1e-20.
double log_series(double s) {
  const double square = s * s;
  double sum = 0;
  for (int i = 23; i >= 1; i -= 2) sum = sum * square + 1.0 / i;
  return 2 * s * sum;
}

}  // namespace

double exp(double x) {
  if (x != x) return x;
  if (x > 709.79) return kInfinity;
  if (x < -745.2) return 0;
  const double k = std::nearbyint(x * kLog2E);
  const double r = (x - k * kLn2High) - k * kLn2Low;
  return std::ldexp(1 + r * exp_series(r), static_cast<int>(k));
}

double expm1(double x) {
  if (x > -0.35 && x < 0.35) return x * exp_series(x);
  return exp(x) - 1;
}

double log(double x) {
  if (x != x || x < 0) return kNan;
  if (x == 0) return -kInfinity;
  if (x == kInfinity) return x;
  int exponent = 0;
  double m = std::frexp(x, &exponent);
  if (m < 0.70710678118654752440) {
    m *= 2;
    --exponent;
  }
  return exponent * kLn2High + (log_series((m - 1) / (m + 1)) + exponent * kLn2Low);
}

double log1p(double x) {
  if (x > -0.25 && x < 0.25) return log_series(x / (2 + x));
  return log(1 + x);
}

double tanh(double x) {
  if (x != x) return x;
  const double t = expm1(2 * std::fabs(x > 22 || x < -22 ? 22 : x));
  return std::copysign(t / (t + 2), x);
}

// erf x = 2 / sqrt(pi) e^(-x^2) (x + 2 x^3 / 3 + 4 x^5 / 15 + ...), all of one sign; from 3 on
// 1 - erfc x by its continued fraction, 1 / (x + (1/2) / (x + (2/2) / (x + ...))).
double erf(double x) {
  if (x != x) return x;
  const double u = std::fabs(x);
  if (u > 6) return std::copysign(1.0, x);
  const double gauss = exp(-u * u);
  if (u < 3) {
    double term = u, sum = u;
    for (int n = 1; n < 80 && term > sum * 1e-18; ++n) {
      term = term * (2 * u * u) / (2 * n + 1);
      sum += term;
    }
    return std::copysign(kTwoOverSqrtPi * gauss * sum, x);
  }
  double fraction = u;
  for (int n = 60; n >= 1; --n) fraction = u + 0.5 * n / fraction;
  return std::copysign(1 - 0.5 * kTwoOverSqrtPi * gauss / fraction, x);
}

}  // namespace octavo::ops::math
