// Functions whose results are the same bits on every machine, as the standard library's are not:
// made of IEEE operations (+ - * /, rounding, scaling by powers of two) in a fixed order, in
// double. Errors are a few units in the last place of a double; to a float they round correctly but
// for rare cases near the middle.
#pragma once

#include <cmath>
#include <limits>

namespace octavo::ops::math {

double exp(double x);
double expm1(double x);
double log(double x);
double log1p(double x);
double tanh(double x);
double erf(double x);

inline float exp(float x) { return static_cast<float>(exp(static_cast<double>(x))); }
inline float expm1(float x) { return static_cast<float>(expm1(static_cast<double>(x))); }
inline float log(float x) { return static_cast<float>(log(static_cast<double>(x))); }
inline float log1p(float x) { return static_cast<float>(log1p(static_cast<double>(x))); }
inline float tanh(float x) { return static_cast<float>(tanh(static_cast<double>(x))); }
inline float erf(float x) { return static_cast<float>(erf(static_cast<double>(x))); }

}  // namespace octavo::ops::math
