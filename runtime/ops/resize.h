// What the reference of Resize and its kernel share.
#pragma once

#include <span>
#include <vector>

#include "runtime/op.h"

namespace octavo::ops {

/// Resizes one axis of a tensor seen as [outer][in][inner] by a filter. Output position x is the
/// sum over t < taps of weight[t * out + x] * (the element at index[t * out + x]), in this order.
struct ResizePass {
  int64_t outer = 1, in = 0, out = 0, inner = 1;
  int64_t taps = 0;
  std::vector<int32_t> index;
  std::vector<float> weight;
};

/// How a node resizes: one of the two is filled.
struct Resizing {
  std::vector<ResizePass> passes;             // filters, in order
  std::vector<std::vector<int64_t>> offsets;  // nearest elements: for copy_mapped
};
/// `inputs`: the node's, of which the first needs no data. Its layout and `layout`, the output's,
/// are the same where there are passes. Errors: kUnsupportedOp (cropping), and the reference's.
Result<Resizing> make_resizing(const Node& node, std::span<const TensorView> inputs, Layout layout);

}  // namespace octavo::ops
