// What the reference of Resize and its kernel share.
#pragma once

#include <cstdint>
#include <vector>

namespace octavo::ops {

/// Resizes one axis of a tensor seen as [outer][in][inner] by a filter. Output position x is the
/// sum over t < taps of weight[t * out + x] * (the element at index[t * out + x]), in this order.
struct ResizePass {
  int64_t outer = 1, in = 0, out = 0, inner = 1;
  int64_t taps = 0;
  std::vector<int32_t> index;
  std::vector<float> weight;
};

}  // namespace octavo::ops
