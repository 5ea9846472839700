// Discrete Fourier transforms of any length.
#pragma once

#include <cstdint>
#include <vector>

namespace octavo::ops {

struct Complex {
  double re = 0, im = 0;
};

/// In place, without scaling; `inverse`: the conjugate transform. O(n log n).
void fourier_transform(std::vector<Complex>& data, bool inverse);

}  // namespace octavo::ops
