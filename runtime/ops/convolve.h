// Shapes and sums of convolutions: shared by Conv, ConvTranspose, ConvInteger and DeformConv.
#pragma once

#include <cstdint>

#include "runtime/ops/spatial.h"
#include "runtime/parallel.h"
#include "runtime/tensor.h"

namespace octavo::ops {

/// A convolution whose shapes are known; spatial sizes are padded to three dimensions.
struct ConvShape {
  int64_t batch = 0, groups = 1;
  int64_t in_channels = 0, out_channels = 0;  // of one group
  Spatial in{}, out{};
  Window window;
};

/// The output's shape for shapes of which some dimensions may be unknown. Ranks must be known.
Result<Shape> conv_output_shape(const Node& node, const Shape& x, const Shape& weight);
/// The same for ConvTranspose: attributes output_padding and output_shape included.
Result<Shape> conv_transpose_output_shape(const Node& node, const Shape& x, const Shape& weight);

/// For static shapes. Errors as above.
Result<ConvShape> conv_shape(const Node& node, const Shape& x, const Shape& weight);
Result<ConvShape> conv_transpose_shape(const Node& node, const Shape& x, const Shape& weight);

/// y += x * weight in plain layout, without bias. T: float, double, or uint32_t for integers (sums
/// that wrap like int32 without being undefined).
template <class T>
void convolve(const ConvShape& s, const T* x, const T* weight, T* y, ThreadPool* pool) {
  const int64_t in_plane = s.in[0] * s.in[1] * s.in[2];
  const int64_t out_plane = s.out[0] * s.out[1] * s.out[2];
  const auto& [kd, kh, kw] = s.window.kernel;
  const int64_t kernel = kd * kh * kw;
  const int64_t stride = s.window.stride[2];
  parallel_for(pool, s.batch * s.groups * s.out_channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {  // item: (batch, group, output channel)
      const int64_t batch_group = item / s.out_channels;
      const int64_t out_channel = item % (s.groups * s.out_channels);
      const T* x_group = x + batch_group * s.in_channels * in_plane;
      const T* w_channel = weight + out_channel * s.in_channels * kernel;
      T* y_channel = y + item * out_plane;
      for (int64_t row = 0; row < s.out[0] * s.out[1]; ++row) {
        const int64_t d0 = row / s.out[1] * s.window.stride[0] - s.window.pad_begin[0];
        const int64_t h0 = row % s.out[1] * s.window.stride[1] - s.window.pad_begin[1];
        const Range depth = valid_range(d0, s.window.dilation[0], s.in[0], kd);
        const Range height = valid_range(h0, s.window.dilation[1], s.in[1], kh);
        T* y_row = y_channel + row * s.out[2];
        for (int64_t c = 0; c < s.in_channels; ++c) {
          for (int64_t zk = depth.begin; zk < depth.end; ++zk) {
            for (int64_t yk = height.begin; yk < height.end; ++yk) {
              const int64_t d = d0 + zk * s.window.dilation[0];
              const int64_t h = h0 + yk * s.window.dilation[1];
              const T* x_row = x_group + c * in_plane + (d * s.in[1] + h) * s.in[2];
              const T* w_row = w_channel + c * kernel + (zk * kh + yk) * kw;
              for (int64_t xk = 0; xk < kw; ++xk) {
                const int64_t offset = xk * s.window.dilation[2] - s.window.pad_begin[2];
                const Range width = valid_range(offset, stride, s.in[2], s.out[2]);
                const T w = w_row[xk];
                if (stride == 1) {
                  const T* from = x_row + offset;
                  for (int64_t o = width.begin; o < width.end; ++o) y_row[o] += w * from[o];
                } else {
                  for (int64_t o = width.begin; o < width.end; ++o) {
                    y_row[o] += w * x_row[offset + o * stride];
                  }
                }
              }
            }
          }
        }
      }
    }
  });
}

/// y += the transposed convolution of x with weight [groups * in_channels, out_channels, kernel].
template <class T>
void convolve_transposed(const ConvShape& s, const T* x, const T* weight, T* y, ThreadPool* pool) {
  const int64_t in_plane = s.in[0] * s.in[1] * s.in[2];
  const int64_t out_plane = s.out[0] * s.out[1] * s.out[2];
  const auto& [kd, kh, kw] = s.window.kernel;
  const int64_t kernel = kd * kh * kw;
  const int64_t stride = s.window.stride[2];
  // Where input position i meets kernel position k.
  const auto target = [&](size_t axis, int64_t i, int64_t k) {
    return i * s.window.stride[axis] + k * s.window.dilation[axis] - s.window.pad_begin[axis];
  };
  parallel_for(pool, s.batch * s.groups * s.out_channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t batch_group = item / s.out_channels;
      const int64_t group = batch_group % s.groups;
      T* y_channel = y + item * out_plane;
      for (int64_t c = 0; c < s.in_channels; ++c) {
        const T* x_channel = x + (batch_group * s.in_channels + c) * in_plane;
        const T* w_channel =
            weight +
            ((group * s.in_channels + c) * s.out_channels + item % s.out_channels) * kernel;
        for (int64_t row = 0; row < s.in[0] * s.in[1]; ++row) {
          const T* x_row = x_channel + row * s.in[2];
          for (int64_t k = 0; k < kd * kh; ++k) {
            const int64_t d = target(0, row / s.in[1], k / kh);
            const int64_t h = target(1, row % s.in[1], k % kh);
            if (d < 0 || d >= s.out[0] || h < 0 || h >= s.out[1]) continue;
            T* y_row = y_channel + (d * s.out[1] + h) * s.out[2];
            for (int64_t xk = 0; xk < kw; ++xk) {
              const int64_t offset = target(2, 0, xk);
              const Range width = valid_range(offset, stride, s.out[2], s.in[2]);
              const T w = w_channel[k * kw + xk];
              for (int64_t i = width.begin; i < width.end; ++i) {
                y_row[offset + i * stride] += w * x_row[i];
              }
            }
          }
        }
      }
    }
  });
}

}  // namespace octavo::ops
