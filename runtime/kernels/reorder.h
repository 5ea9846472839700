// Movement of a tensor between layouts.
#pragma once

#include "runtime/parallel.h"
#include "runtime/tensor.h"

namespace octavo::kernels {

/// Copies `in` to `out`, which differ at most in layout: same logical shape, same dtype, no
/// overlap.
void reorder(const TensorView& in, const TensorView& out, ThreadPool* pool);

/// Pixels [begin, end) of an image of `pixels`.
struct PlaneRange {
  int64_t channels, pixels, begin, end;
};

/// One image between planes, [channels][pixels], and pixels, [pixels][channels], with elements of
/// 1, 2, 4 or 8 bytes. SIMD (reorder_simd.cc).
void reorder_image(const void* in, void* out, int64_t bytes, bool to_pixels,
                   const PlaneRange& range);

}  // namespace octavo::kernels
