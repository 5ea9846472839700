#include "runtime/kernels/reorder.h"

#include <algorithm>
#include <string>

namespace octavo::kernels {

void reorder(const TensorView& in, const TensorView& out, ThreadPool* pool) {
  const Shape& shape = in.shape;
  if (shape.elements() == 0) return;
  const int64_t channels = shape.rank() >= 2 ? shape[1] : 1;
  const int64_t pixels = shape.rank() >= 3 ? shape.elements(2, shape.rank()) : 1;
  const bool moves = in.layout != out.layout && channels > 1 && pixels > 1;
  const bool to_pixels = out.layout == Layout::kChannelsLast;
  if (in.dtype == DType::kString) {
    for (int64_t i = 0; i < shape.elements(); ++i) {
      const int64_t image = i / (channels * pixels) * channels * pixels, at = i - image;
      const int64_t to = !moves      ? at
                         : to_pixels ? at % pixels * channels + at / pixels
                                     : at % channels * pixels + at / channels;
      out.as<std::string>()[image + to] = in.as<const std::string>()[i];
    }
    return;
  }
  const int64_t bytes = dtype_bytes(in.dtype);
  if (!moves) {
    std::copy_n(in.as<const std::byte>(), in.bytes(), out.as<std::byte>());
    return;
  }
  const int64_t image = channels * pixels * bytes;
  for (int64_t b = 0; b < shape[0]; ++b) {
    parallel_for(pool, pixels, 16384 / channels + 1, [&](int64_t begin, int64_t end) {
      reorder_image(in.as<const std::byte>() + b * image, out.as<std::byte>() + b * image, bytes,
                    to_pixels, {channels, pixels, begin, end});
    });
  }
}

}  // namespace octavo::kernels
