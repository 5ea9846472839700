// Movement of a tensor between layouts.
#pragma once

#include "runtime/parallel.h"
#include "runtime/tensor.h"

namespace octavo::kernels {

/// Copies `in` to `out`, which differ at most in layout: same logical shape, same dtype, no
/// overlap.
void reorder(const TensorView& in, const TensorView& out, ThreadPool* pool);

}  // namespace octavo::kernels
