// Where the elements of a resized axis come from, by ONNX's formulas.
#pragma once

#include "runtime/ops/resize.h"

namespace octavo::ops {

enum class Transform {
  kHalfPixel,
  kHalfPixelSymmetric,
  kPytorchHalfPixel,
  kAlignCorners,
  kAsymmetric,
  kCropAndResize,
};
enum class Mode { kNearest, kLinear, kCubic };
enum class Rounding { kRoundPreferFloor, kRoundPreferCeil, kFloor, kCeil };

struct ResizeOptions {
  Transform transform;
  Mode mode;
  Rounding rounding;
  bool antialias, exclude_outside;
  float cubic_a;
};

/// Error kInvalidModel: the attribute has no such value.
Result<ResizeOptions> read_resize_options(const Node& node);

/// One resized axis.
struct ResizeAxis {
  int64_t in, out;
  float scale, roi_begin, roi_end;

  /// Where output position x lies in the input; the output's size counts as scale * in, which may
  /// be fractional.
  float source(Transform transform, int64_t x) const;
  /// Crops may reach outside the input, where the extrapolation value stands.
  bool is_outside(Transform transform, float at) const {
    return transform == Transform::kCropAndResize && !(at >= 0 && at <= static_cast<float>(in - 1));
  }
  /// The input's element nearest to `at`.
  int64_t nearest(Rounding rounding, float at) const;
  /// The pass along the axis, of which taps, in and out are set.
  ResizePass taps(const ResizeOptions& options) const;
};

}  // namespace octavo::ops
