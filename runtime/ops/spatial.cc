#include "runtime/ops/spatial.h"

#include <algorithm>

namespace octavo::ops {
namespace {

// Keeps every product of two of these numbers within int64.
constexpr int64_t kSizeLimit = int64_t{1} << 31;

Status read_sizes(const Node& node, const char* attribute, int rank, int64_t minimum,
                  int64_t otherwise, Spatial& out) {
  out.fill(otherwise);
  const auto values = node.get_ints(attribute);
  if (values.empty()) return {};
  if (values.size() != static_cast<size_t>(rank)) {
    return fail(ErrorCode::kShapeMismatch, "attribute '", attribute, "' has ", values.size(),
                " values for ", rank, " spatial dimensions");
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < minimum || values[i] > kSizeLimit) {
      return fail(ErrorCode::kInvalidModel, "attribute '", attribute, "' holds ", values[i],
                  "; it must be at least ", minimum);
    }
    out[i] = values[i];
  }
  return {};
}

}  // namespace

Result<Window> read_window(const Node& node, std::span<const int64_t> input,
                           std::span<const int64_t> kernel) {
  if (kernel.empty() || kernel.size() > kMaxSpatial) {
    return fail(ErrorCode::kUnsupportedOp, kernel.size(), " spatial dimensions; 1 to ", kMaxSpatial,
                " are supported");
  }
  if (input.size() != kernel.size()) {
    return fail(ErrorCode::kShapeMismatch, "a kernel of ", kernel.size(),
                " spatial dimensions on an input of ", input.size());
  }
  Window window;
  window.rank = static_cast<int>(kernel.size());
  for (size_t i = 0; i < kernel.size(); ++i) {
    if (kernel[i] == 0 || kernel[i] > kSizeLimit || input[i] > kSizeLimit) {
      return fail(ErrorCode::kInvalidModel, "a window of size ", kernel[i], " on an input of size ",
                  input[i]);
    }
    window.kernel[i] = kernel[i];
  }
  OCTAVO_TRY(read_sizes(node, "strides", window.rank, 1, 1, window.stride));
  OCTAVO_TRY(read_sizes(node, "dilations", window.rank, 1, 1, window.dilation));

  const std::string_view auto_pad = node.get_string("auto_pad");
  if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
    for (int i = 0; i < window.rank; ++i) {
      const auto at = static_cast<size_t>(i);
      const int64_t stride = window.stride[at], extent = window.extent(i);
      // With stride 1 the input's size cancels out.
      const int64_t size = stride == 1 ? 1 : input[at];
      if (size < 0 || extent < 0) {
        window.pads_known = false;
        continue;
      }
      const int64_t out = (size + stride - 1) / stride;
      const int64_t total = std::max<int64_t>(0, (out - 1) * stride + extent - size);
      window.pad_begin[at] = auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
      window.pad_end[at] = total - window.pad_begin[at];
    }
  } else if (auto_pad.empty() || auto_pad == "NOTSET") {
    const auto pads = node.get_ints("pads");
    if (!pads.empty() && pads.size() != 2 * kernel.size()) {
      return fail(ErrorCode::kShapeMismatch, "attribute 'pads' has ", pads.size(), " values for ",
                  window.rank, " spatial dimensions");
    }
    for (size_t i = 0; i < pads.size(); ++i) {
      if (pads[i] < 0 || pads[i] > kSizeLimit) {
        return fail(ErrorCode::kInvalidModel, "attribute 'pads' holds ", pads[i],
                    "; pads of a window may not be negative");
      }
      const size_t half = kernel.size();
      (i < half ? window.pad_begin[i] : window.pad_end[i - half]) = pads[i];
    }
  } else if (auto_pad != "VALID") {
    return fail(ErrorCode::kInvalidModel, "auto_pad '", auto_pad, "' does not exist");
  }
  return window;
}

bool is_global_pool(OpKind kind) {
  return kind == OpKind::kGlobalAveragePool || kind == OpKind::kGlobalMaxPool ||
         kind == OpKind::kGlobalLpPool;
}

bool is_average_pool(OpKind kind) {
  return kind == OpKind::kAveragePool || kind == OpKind::kGlobalAveragePool;
}

Result<Window> pool_window(const Node& node, const Shape& x) {
  const auto sizes = x.dims().subspan(2);
  if (!is_global_pool(node.kind)) return read_window(node, sizes, node.get_ints("kernel_shape"));
  Window window;
  window.rank = static_cast<int>(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    window.kernel[i] = sizes[i];
    window.stride[i] = window.dilation[i] = 1;
  }
  return window;
}

Result<int64_t> window_output(const Window& window, int i, int64_t input, bool ceil_mode) {
  const auto at = static_cast<size_t>(i);
  const int64_t extent = window.extent(i), stride = window.stride[at];
  if (!window.pads_known || extent < 0) return kUnknownDim;
  const int64_t pads = window.pad_begin[at] + window.pad_end[at];
  if (input < 0) return stride == 1 && pads == extent - 1 ? input : kUnknownDim;
  const int64_t room = input + pads - extent;
  if (room < 0) {
    return fail(ErrorCode::kShapeMismatch, "a window of extent ", extent,
                " does not fit an input of size ", input, " with ", pads, " of padding");
  }
  int64_t out = (ceil_mode ? (room + stride - 1) / stride : room / stride) + 1;
  // A last window that starts past the input and its leading pad would see nothing.
  if (ceil_mode && (out - 1) * stride >= input + window.pad_begin[at]) --out;
  return out;
}

Window to_three(const Window& window) {
  Window out;
  out.rank = kMaxSpatial;
  out.kernel.fill(1);
  out.stride.fill(1);
  out.dilation.fill(1);
  const auto shift = static_cast<size_t>(kMaxSpatial - window.rank);
  for (size_t i = 0; i < static_cast<size_t>(window.rank); ++i) {
    out.kernel[i + shift] = window.kernel[i];
    out.stride[i + shift] = window.stride[i];
    out.dilation[i + shift] = window.dilation[i];
    out.pad_begin[i + shift] = window.pad_begin[i];
    out.pad_end[i + shift] = window.pad_end[i];
  }
  return out;
}

Spatial to_three(std::span<const int64_t> sizes) {
  Spatial out;
  out.fill(1);
  const size_t count = std::min<size_t>(sizes.size(), kMaxSpatial);
  std::copy_n(sizes.begin(), count, out.begin() + static_cast<std::ptrdiff_t>(kMaxSpatial - count));
  return out;
}

Range valid_range(int64_t offset, int64_t stride, int64_t size, int64_t count) {
  const int64_t begin = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
  const int64_t end = offset >= size ? 0 : (size - 1 - offset) / stride + 1;
  return {std::min(begin, count), std::max(std::min(end, count), std::min(begin, count))};
}

std::vector<Span> make_spans(const Window& window, size_t axis, int64_t in, int64_t out) {
  std::vector<Span> spans;
  for (int64_t o = 0; o < out; ++o) {
    const int64_t start = o * window.stride[axis] - window.pad_begin[axis];
    const int64_t step = window.dilation[axis];
    const Range inside = valid_range(start, step, in, window.kernel[axis]);
    const Range padded = valid_range(start, step, in + window.pad_end[axis], window.kernel[axis]);
    spans.push_back({start + inside.begin * step, start + inside.end * step, step, padded.end});
  }
  return spans;
}

}  // namespace octavo::ops
