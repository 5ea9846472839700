#include "runtime/kernels/reorder.h"

#include <gtest/gtest.h>

#include <cstring>

namespace octavo::kernels {
namespace {

TEST(Reorder, MovesEveryElementBothWays) {
  for (const DType dtype : {DType::kU8, DType::kBF16, DType::kF32, DType::kI64}) {
    for (const int64_t channels : {1, 2, 3, 4, 7, 12, 85}) {
      for (const int64_t pixels : {1, 15, 64, 333}) {
        const Shape shape{2, channels, 1, pixels};
        Tensor plain = *Tensor::create(dtype, shape);
        const auto bytes = static_cast<size_t>(dtype_bytes(dtype));
        auto* data = static_cast<uint8_t*>(plain.raw());
        for (size_t i = 0; i < static_cast<size_t>(plain.bytes()); ++i) {
          data[i] = static_cast<uint8_t>(i * 2654435761U >> 13);
        }
        Tensor last = *Tensor::create(dtype, shape), back = *Tensor::create(dtype, shape);
        TensorView view = last.view();
        view.layout = Layout::kChannelsLast;
        reorder(plain.view(), view, nullptr);
        for (int64_t n = 0; n < 2; ++n) {
          for (int64_t c = 0; c < channels; ++c) {
            for (int64_t p = 0; p < pixels; ++p) {
              const auto from = static_cast<size_t>((n * channels + c) * pixels + p);
              const auto to = static_cast<size_t>((n * pixels + p) * channels + c);
              ASSERT_EQ(std::memcmp(data + from * bytes,
                                    static_cast<uint8_t*>(last.raw()) + to * bytes, bytes),
                        0)
                  << dtype_name(dtype) << " of " << channels << "x" << pixels;
            }
          }
        }
        reorder(view, back.view(), nullptr);
        ASSERT_EQ(std::memcmp(data, back.raw(), static_cast<size_t>(plain.bytes())), 0);
      }
    }
  }
}

}  // namespace
}  // namespace octavo::kernels
