#include "runtime/ops/convolve.h"

#include <limits>

namespace octavo::ops {
namespace {

// Checks ranks and channels. `in_axis`: the weight's axis of input channels per group (Conv), or of
// all input channels (ConvTranspose).
Status check_channels(const Node& node, const Shape& x, const Shape& weight, bool transposed) {
  if (x.rank() < 3 || x.rank() != weight.rank()) {
    return fail(ErrorCode::kShapeMismatch, "an input of shape ", x.to_string(),
                " and weights of shape ", weight.to_string(),
                "; both need batch or output channels, channels and 1 to 3 spatial dimensions");
  }
  const int64_t group = node.get_int("group");
  if (group < 1) return fail(ErrorCode::kInvalidModel, "attribute 'group' is ", group);
  const int64_t channels = x[1];
  bool fits = true;
  if (transposed) {
    fits = weight[0] < 0 || channels < 0 || weight[0] == channels;
    fits &= weight[0] < 0 || weight[0] % group == 0;
  } else {
    int64_t expected = 0;
    const bool known = weight[1] >= 0 && channels >= 0;
    fits = !known || (!__builtin_mul_overflow(weight[1], group, &expected) && expected == channels);
    fits &= weight[0] < 0 || weight[0] % group == 0;
  }
  if (!fits) {
    return fail(ErrorCode::kShapeMismatch, "weights of shape ", weight.to_string(), " in ", group,
                " groups do not fit an input of shape ", x.to_string());
  }
  return {};
}

// Kernel sizes: the weight's, which the attribute (if any) must repeat.
Result<Shape> kernel_sizes(const Node& node, const Shape& weight) {
  Shape kernel(weight.dims().subspan(2));
  const auto declared = node.get_ints("kernel_shape");
  if (declared.empty()) return kernel;
  if (declared.size() != kernel.dims().size()) {
    return fail(ErrorCode::kShapeMismatch, "attribute 'kernel_shape' has ", declared.size(),
                " values for ", kernel.rank(), " spatial dimensions");
  }
  for (int i = 0; i < kernel.rank(); ++i) {
    const int64_t size = declared[static_cast<size_t>(i)];
    if (kernel[i] >= 0 && kernel[i] != size) {
      return fail(ErrorCode::kShapeMismatch, "attribute 'kernel_shape' differs from weights of ",
                  weight.to_string());
    }
    kernel[i] = size;
  }
  return kernel;
}

Result<ConvShape> make_shape(const Window& window, const Shape& x, const Shape& y, int64_t groups) {
  // An empty batch can hide planes whose size overflows.
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (x.elements(2, x.rank()) == kMax || y.elements(2, y.rank()) == kMax) {
    return fail(ErrorCode::kLimitExceeded, "planes of shape ", x.to_string(), " are too large");
  }
  ConvShape s;
  s.batch = x[0];
  s.groups = groups;
  s.in_channels = x[1] / groups;
  s.out_channels = y[1] / groups;
  s.in = to_three(x.dims().subspan(2));
  s.out = to_three(y.dims().subspan(2));
  s.window = to_three(window);
  return s;
}

Result<Shape> infer_conv(const Node& node, const Shape& x, const Shape& weight, Window& window) {
  OCTAVO_TRY(check_channels(node, x, weight, false));
  OCTAVO_ASSIGN(const Shape kernel, kernel_sizes(node, weight));
  OCTAVO_ASSIGN(window, read_window(node, x.dims().subspan(2), kernel.dims()));
  Shape out{x[0], weight[0]};
  for (int i = 0; i < window.rank; ++i) {
    OCTAVO_ASSIGN(const int64_t size, window_output(window, i, x[i + 2], false));
    out.push_back(size);
  }
  return out;
}

// ONNX: output = stride * (input - 1) + output_padding + extent - pads. With output_shape, or with
// auto_pad SAME_* (output = input * stride), the pads follow from it instead; the odd one goes to
// the end for SAME_UPPER and to the beginning otherwise.
Result<Shape> infer_conv_transpose(const Node& node, const Shape& x, const Shape& weight,
                                   Window& window) {
  OCTAVO_TRY(check_channels(node, x, weight, true));
  OCTAVO_ASSIGN(const Shape kernel, kernel_sizes(node, weight));
  OCTAVO_ASSIGN(window, read_window(node, x.dims().subspan(2), kernel.dims()));
  const auto rank = static_cast<size_t>(window.rank);
  const auto output_padding = node.get_ints("output_padding");
  auto output_shape = node.get_ints("output_shape");
  if (output_shape.size() == rank + 2) output_shape = output_shape.subspan(2);
  if ((!output_padding.empty() && output_padding.size() != rank) ||
      (!output_shape.empty() && output_shape.size() != rank)) {
    return fail(ErrorCode::kShapeMismatch, "output_padding or output_shape does not have ", rank,
                " values");
  }
  const std::string_view auto_pad = node.get_string("auto_pad");
  const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
  int64_t channels = 0;
  const int64_t group = node.get_int("group");
  if (weight[1] < 0) {
    channels = group == 1 ? weight[1] : kUnknownDim;
  } else if (__builtin_mul_overflow(weight[1], group, &channels)) {
    return fail(ErrorCode::kInvalidModel, "attribute 'group' is ", group);
  }
  Shape out{x[0], channels};
  for (size_t i = 0; i < rank; ++i) {
    const int dim = static_cast<int>(i);
    const int64_t input = x[dim + 2], extent = window.extent(dim), stride = window.stride[i];
    const int64_t extra = output_padding.empty() ? 0 : output_padding[i];
    if (extra < 0 || extra > int64_t{1} << 31) {
      return fail(ErrorCode::kInvalidModel, "attribute 'output_padding' holds ", extra);
    }
    if (!output_shape.empty() && output_shape[i] < 0) {
      return fail(ErrorCode::kInvalidModel, "attribute 'output_shape' holds ", output_shape[i]);
    }
    if (input < 0 || extent < 0) {
      out.push_back(output_shape.empty() ? kUnknownDim : output_shape[i]);
      continue;
    }
    if (input == 0) return fail(ErrorCode::kShapeMismatch, "a spatial size of the input is 0");
    const int64_t full = stride * (input - 1) + extra + extent;
    int64_t size = full - window.pad_begin[i] - window.pad_end[i];
    if (same || !output_shape.empty()) {
      size = output_shape.empty() ? input * stride : output_shape[i];
      const int64_t total = std::max<int64_t>(0, full - size);
      window.pad_begin[i] = auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
      window.pad_end[i] = total - window.pad_begin[i];
    }
    if (size <= 0) {
      return fail(ErrorCode::kShapeMismatch, "pads leave an output of size ", size);
    }
    out.push_back(size);
  }
  return out;
}

}  // namespace

Result<Shape> conv_output_shape(const Node& node, const Shape& x, const Shape& weight) {
  Window window;
  return infer_conv(node, x, weight, window);
}

Result<Shape> conv_transpose_output_shape(const Node& node, const Shape& x, const Shape& weight) {
  Window window;
  return infer_conv_transpose(node, x, weight, window);
}

Result<ConvShape> conv_shape(const Node& node, const Shape& x, const Shape& weight) {
  Window window;
  OCTAVO_ASSIGN(const Shape y, infer_conv(node, x, weight, window));
  OCTAVO_ASSIGN(ConvShape s, make_shape(window, x, y, node.get_int("group")));
  // A 1x1 convolution of small planes is one long row.
  const auto all = [](const Spatial& sizes, int64_t value) {
    return sizes == Spatial{value, value, value};
  };
  const Window& w = s.window;
  if (all(w.kernel, 1) && all(w.stride, 1) && s.in == s.out &&
      s.in[0] * s.in[1] * s.in[2] <= 4096) {
    s.in = s.out = {1, 1, s.in[0] * s.in[1] * s.in[2]};
  }
  return s;
}

Result<ConvShape> conv_transpose_shape(const Node& node, const Shape& x, const Shape& weight) {
  Window window;
  OCTAVO_ASSIGN(const Shape y, infer_conv_transpose(node, x, weight, window));
  return make_shape(window, x, y, node.get_int("group"));
}

}  // namespace octavo::ops
