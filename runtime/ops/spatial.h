// Geometry of sliding windows: kernels, strides, dilations and pads of convolutions and pools.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/graph.h"

namespace octavo::ops {

/// Convolutions and pools run on at most three spatial dimensions.
inline constexpr int kMaxSpatial = 3;
using Spatial = std::array<int64_t, kMaxSpatial>;

struct Window {
  int rank = 0;  // spatial dimensions
  Spatial kernel{}, stride{}, dilation{}, pad_begin{}, pad_end{};
  bool pads_known = true;  // false: auto_pad with an unknown input size

  /// Size of the dilated kernel along dimension i; negative if unknown.
  int64_t extent(int i) const {
    const auto at = static_cast<size_t>(i);
    return kernel[at] < 0 ? kUnknownDim : (kernel[at] - 1) * dilation[at] + 1;
  }
};

/// The window of a Conv, ConvTranspose or pool node (attributes auto_pad, dilations, pads,
/// strides). `input` and `kernel`: spatial sizes, negative where unknown. Pads of auto_pad are
/// resolved for a forward window (not for ConvTranspose). Errors: counts that do not fit, values
/// out of range.
Result<Window> read_window(const Node& node, std::span<const int64_t> input,
                           std::span<const int64_t> kernel);

bool is_global_pool(OpKind kind);
bool is_average_pool(OpKind kind);
/// The window of a pool over an input of shape `x` (N, C, spatial...). A global pool has one, which
/// covers everything. Errors: as read_window.
Result<Window> pool_window(const Node& node, const Shape& x);

/// Output size of a forward window along dimension i for an input of size `input`; symbols survive
/// where the size does not change. An error if the kernel does not fit.
Result<int64_t> window_output(const Window& window, int i, int64_t input, bool ceil_mode);

/// Window with kernel, stride and dilation 1 and no pads prepended until it has three dimensions.
Window to_three(const Window& window);
/// Sizes with ones prepended until there are three.
Spatial to_three(std::span<const int64_t> sizes);

/// Positions o in [begin, end) for which offset + o * stride lies within [0, size).
struct Range {
  int64_t begin, end;
};
Range valid_range(int64_t offset, int64_t stride, int64_t size, int64_t count);

/// The part of a window that lies inside the input, for one output position along one dimension.
struct Span {
  int64_t begin, end, step;  // input positions
  int64_t padded;            // positions inside the padded input
};
/// For every output position along dimension `axis` of three.
std::vector<Span> make_spans(const Window& window, size_t axis, int64_t in, int64_t out);

}  // namespace octavo::ops
