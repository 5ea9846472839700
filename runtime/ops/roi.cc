// Operators on boxes: pooling of regions of interest and non-maximum suppression.
#include <algorithm>
#include <cmath>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/indexing.h"
#include "runtime/sort.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kMaxRoiPoolFields[] = {required(ints_field("pooled_shape")),
                                          float_field("spatial_scale", 1)};
constexpr FieldDef kRoiAlignFields[] = {
    string_field("coordinate_transformation_mode", "half_pixel"),
    string_field("mode", "avg"),
    int_field("output_height", 1),
    int_field("output_width", 1),
    int_field("sampling_ratio"),
    float_field("spatial_scale", 1),
};
constexpr FieldDef kSuppressionFields[] = {int_field("center_point_box")};

constexpr int64_t kPooledLimit = 1 << 15;

Result<Shape> pooled_shape(const Shape& x, const Shape& rois, int64_t roi_size, int64_t height,
                           int64_t width) {
  const bool fits = x.rank() == 4 && rois.rank() == 2 && (rois[1] < 0 || rois[1] == roi_size);
  if (!fits) {
    return fail(ErrorCode::kShapeMismatch, "regions of shape ", rois.to_string(),
                " on an input of shape ", x.to_string());
  }
  if (height < 1 || width < 1 || height > kPooledLimit || width > kPooledLimit) {
    return fail(ErrorCode::kInvalidModel, "regions pooled to ", height, " x ", width);
  }
  return Shape{rois[0], x[1], height, width};
}

// ---- MaxRoiPool ----

Result<Shape> max_roi_shape(const Node& node, const Shape& x, const Shape& rois) {
  const auto size = node.get_ints("pooled_shape");
  if (size.size() != 2) return fail(ErrorCode::kInvalidModel, "pooled_shape is not two numbers");
  return pooled_shape(x, rois, 5, size[0], size[1]);
}

Status infer_max_roi(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.ranks_known()) {
    OCTAVO_ASSIGN(out, max_roi_shape(c.node, c.shape(0), c.shape(1)));
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

// The input rows (or columns) of each pooled row of a region.
std::vector<std::pair<int64_t, int64_t>> roi_bins(double begin, double end, double scale,
                                                  int64_t bins, int64_t size) {
  const double first = std::round(begin * scale), last = std::round(end * scale);
  const double step = std::max(last - first + 1, double{1}) / static_cast<double>(bins);
  const auto clamp = [&](double at) {
    return at > 0 ? static_cast<int64_t>(std::min(at, static_cast<double>(size))) : int64_t{0};
  };
  std::vector<std::pair<int64_t, int64_t>> out;
  for (int64_t b = 0; b < bins; ++b) {
    out.emplace_back(clamp(std::floor(static_cast<double>(b) * step) + first),
                     clamp(std::ceil(static_cast<double>(b + 1) * step) + first));
  }
  return out;
}

Result<int64_t> image_index(double at, int64_t count) {
  if (!(at >= 0 && at < static_cast<double>(count))) {
    return fail(ErrorCode::kInvalidData, "a region of image ", at, " among ", count);
  }
  return static_cast<int64_t>(at);
}

Status run_max_roi(KernelContext& c) {
  const TensorView &x = c.in(0), &rois = c.in(1);
  OCTAVO_ASSIGN(const Shape shape, max_roi_shape(c.node, x.shape, rois.shape));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, x.dtype, shape));
  if (rois.dtype != x.dtype) return bad_dtype(rois.dtype);
  OCTAVO_TRY(check_double(x.dtype));
  const double scale = static_cast<double>(c.node.get_float("spatial_scale"));
  double* to = out.as<double>();
  for (int64_t r = 0; r < shape[0]; ++r) {
    const double* roi = rois.as<const double>() + r * 5;
    OCTAVO_ASSIGN(const int64_t image, image_index(static_cast<double>(roi[0]), x.shape[0]));
    const auto columns = roi_bins(roi[1], roi[3], scale, shape[3], x.shape[3]);
    const auto rows = roi_bins(roi[2], roi[4], scale, shape[2], x.shape[2]);
    for (int64_t channel = 0; channel < shape[1]; ++channel) {
      const double* plane =
          x.as<const double>() + (image * shape[1] + channel) * x.shape[2] * x.shape[3];
      for (const auto& [top, bottom] : rows) {
        for (const auto& [left, right] : columns) {
          double best = 0;
          for (int64_t i = top; i < bottom; ++i) {
            for (int64_t j = left; j < right; ++j) {
              const double value = plane[i * x.shape[3] + j];
              best = i == top && j == left ? value : std::max(best, value);
            }
          }
          *to++ = best;
        }
      }
    }
  }
  return {};
}

// ---- RoiAlign ----

Result<Shape> roi_align_shape(const Node& node, const Shape& x, const Shape& rois) {
  return pooled_shape(x, rois, 4, node.get_int("output_height"), node.get_int("output_width"));
}

Status infer_roi_align(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.shape(0).has_rank() && c.shape(1).has_rank()) {
    OCTAVO_ASSIGN(out, roi_align_shape(c.node, c.shape(0), c.shape(1)));
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

// A sample between two input rows (or columns).
struct RoiSample {
  int64_t low, high;
  double low_weight, high_weight;
};
// The samples of each bin along one axis that lie on the input, and how many there are in all.
struct RoiAxis {
  std::vector<std::vector<RoiSample>> bins;
  double count;  // samples of a bin; those off the input count as zeros
};

RoiAxis roi_samples(double begin, double end, bool half_pixel, int64_t bins, int64_t ratio,
                    int64_t size) {
  RoiAxis axis{std::vector<std::vector<RoiSample>>(static_cast<size_t>(bins)), 1};
  double length = end - begin;
  if (!half_pixel) length = std::max(length, 1.0);
  const double bin = length / static_cast<double>(bins);
  const double count = ratio > 0 ? static_cast<double>(ratio) : std::ceil(bin);
  if (!std::isfinite(begin) || !(count >= 1) || !std::isfinite(bin)) return axis;
  axis.count = count;
  const double step = bin / count;
  for (size_t b = 0; b < axis.bins.size(); ++b) {
    const double first = begin + static_cast<double>(b) * bin + step / 2;
    // Positions first + k * step within [-1, size].
    double k0 = 0, k1 = count;
    if (step > 0) {
      k0 = std::max(k0, std::ceil((-1 - first) / step));
      k1 = std::min(k1, std::floor((static_cast<double>(size) - first) / step) + 1);
    }
    // Counted from k0: far from zero, adding 1 to k itself would not change it.
    for (double i = 0; i < k1 - k0; ++i) {
      double at = first + (k0 + i) * step;
      if (at < -1 || at > static_cast<double>(size)) continue;
      at = std::max(at, 0.0);
      const int64_t low = std::min(static_cast<int64_t>(at), size - 1);
      const int64_t high = std::min(low + 1, size - 1);
      const double part = low == high ? 0 : at - static_cast<double>(low);
      axis.bins[b].push_back({low, high, 1 - part, part});
    }
  }
  return axis;
}

Status run_roi_align(KernelContext& c) {
  const TensorView &x = c.in(0), &rois = c.in(1);
  OCTAVO_ASSIGN(const Shape shape, roi_align_shape(c.node, x.shape, rois.shape));
  OCTAVO_ASSIGN(const Tensor images, as_i64(c.in(2)));
  const std::string_view mode = c.node.get_string("mode");
  const int64_t ratio = c.node.get_int("sampling_ratio");
  if (ratio < 0 || ratio > 4096) {
    return fail(ErrorCode::kInvalidModel, "attribute 'sampling_ratio' is ", ratio);
  }
  if (mode != "avg" && mode != "max") {
    return fail(ErrorCode::kInvalidModel, "mode '", mode, "' does not exist");
  }
  if (images.elements() != shape[0] || x.shape[2] == 0 || x.shape[3] == 0) {
    return fail(ErrorCode::kShapeMismatch, images.elements(), " image numbers for ", shape[0],
                " regions of an input of shape ", x.shape.to_string());
  }
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, x.dtype, shape));
  if (rois.dtype != x.dtype) return bad_dtype(rois.dtype);
  const bool half_pixel = c.node.get_string("coordinate_transformation_mode") == "half_pixel";
  const auto scale = static_cast<double>(c.node.get_float("spatial_scale"));
  const double offset = half_pixel ? 0.5 : 0;
  OCTAVO_TRY(check_double(x.dtype));
  double* to = out.as<double>();
  for (int64_t r = 0; r < shape[0]; ++r) {
    const double* roi = rois.as<const double>() + r * 4;
    const auto at = [&](int i) { return static_cast<double>(roi[i]) * scale - offset; };
    const int64_t number = images.data<int64_t>()[static_cast<size_t>(r)];
    OCTAVO_ASSIGN(const int64_t image, image_index(static_cast<double>(number), x.shape[0]));
    const RoiAxis rows = roi_samples(at(1), at(3), half_pixel, shape[2], ratio, x.shape[2]);
    const RoiAxis columns = roi_samples(at(0), at(2), half_pixel, shape[3], ratio, x.shape[3]);
    for (int64_t channel = 0; channel < shape[1]; ++channel) {
      const double* plane =
          x.as<const double>() + (image * shape[1] + channel) * x.shape[2] * x.shape[3];
      for (const auto& row_bin : rows.bins) {
        for (const auto& column_bin : columns.bins) {
          double sum = 0, best = 0;
          bool any = false;
          for (const RoiSample& v : row_bin) {
            for (const RoiSample& h : column_bin) {
              const auto corner = [&](int64_t i, int64_t j, double weight) {
                return weight * static_cast<double>(plane[i * x.shape[3] + j]);
              };
              const double a = corner(v.low, h.low, v.low_weight * h.low_weight);
              const double b = corner(v.low, h.high, v.low_weight * h.high_weight);
              const double d = corner(v.high, h.low, v.high_weight * h.low_weight);
              const double e = corner(v.high, h.high, v.high_weight * h.high_weight);
              sum += a + b + d + e;
              // As ONNX defines it: the largest weighted corner, not the largest sample.
              const double largest = std::max({a, b, d, e});
              best = any ? std::max(best, largest) : largest;
              any = true;
            }
          }
          *to++ = static_cast<double>(mode == "avg" ? sum / (rows.count * columns.count) : best);
        }
      }
    }
  }
  return {};
}

// ---- NonMaxSuppression ----

struct Box {
  double top, left, bottom, right;
};

Box read_box(const float* at, bool center) {
  const double a = at[0], b = at[1], c = at[2], d = at[3];
  if (center) return {b - d / 2, a - c / 2, b + d / 2, a + c / 2};
  return {std::min(a, c), std::min(b, d), std::max(a, c), std::max(b, d)};
}

bool overlaps(const Box& a, const Box& b, double threshold) {
  const double height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
  if (!(height > 0 && width > 0)) return false;
  const double common = height * width;
  const auto area = [](const Box& x) { return (x.bottom - x.top) * (x.right - x.left); };
  const double both = area(a) + area(b) - common;
  return both > 0 && common / both > threshold;
}

Status infer_suppression(InferContext& c) {
  c.set_output(0, DType::kI64, Shape{kUnknownDim, 3});
  return {};
}

Status run_suppression(KernelContext& c) {
  const TensorView &boxes = c.in(0), &scores = c.in(1);
  const bool fits = boxes.shape.rank() == 3 && scores.shape.rank() == 3 && boxes.shape[2] == 4 &&
                    boxes.shape[0] == scores.shape[0] && boxes.shape[1] == scores.shape[2];
  if (!fits) {
    return fail(ErrorCode::kShapeMismatch, "boxes of shape ", boxes.shape.to_string(),
                " and scores of shape ", scores.shape.to_string());
  }
  if (boxes.dtype != DType::kF32 || scores.dtype != DType::kF32) return bad_dtype(boxes.dtype);
  int64_t limit = 0;
  if (c.has_input(2)) {
    OCTAVO_ASSIGN(limit, scalar_int(c.in(2)));
  }
  double iou = 0, minimum = -std::numeric_limits<double>::infinity();
  if (c.has_input(3)) {
    OCTAVO_ASSIGN(iou, scalar_number(c.in(3)));
  }
  if (c.has_input(4)) {
    OCTAVO_ASSIGN(minimum, scalar_number(c.in(4)));
  }
  const bool center = c.node.get_int("center_point_box") != 0;
  const int64_t classes = scores.shape[1], count = boxes.shape[1];
  std::vector<int64_t> selected;  // triples
  std::vector<int64_t> order;
  std::vector<Box> kept;
  for (int64_t row = 0; limit > 0 && row < scores.shape[0] * classes; ++row) {
    const float* score = scores.as<const float>() + row * count;
    const float* box = boxes.as<const float>() + row / classes * count * 4;
    order.clear();
    for (int64_t i = 0; i < count; ++i) {
      if (static_cast<double>(score[i]) > minimum) order.push_back(i);
    }
    sort_first(order, static_cast<int64_t>(order.size()),
               [&](int64_t a, int64_t b) { return score[a] > score[b]; });
    kept.clear();
    for (const int64_t i : order) {
      if (static_cast<int64_t>(kept.size()) >= limit) break;
      const Box candidate = read_box(box + i * 4, center);
      const auto covers = [&](const Box& other) { return overlaps(candidate, other, iou); };
      if (std::ranges::any_of(kept, covers)) continue;
      kept.push_back(candidate);
      selected.insert(selected.end(), {row / classes, row % classes, i});
    }
  }
  const Shape shape{static_cast<int64_t>(selected.size() / 3), 3};
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, DType::kI64, shape));
  std::ranges::copy(selected, out.as<int64_t>());
  return {};
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kMaxRoiPool,
     .name = "MaxRoiPool",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kMaxRoiPoolFields,
     .infer = infer_max_roi,
     .reference = in_double<run_max_roi>},
    {.kind = OpKind::kRoiAlign,
     .name = "RoiAlign",
     .min_inputs = 3,
     .max_inputs = 3,
     .fields = kRoiAlignFields,
     .infer = infer_roi_align,
     .reference = in_double<run_roi_align>},
    {.kind = OpKind::kNonMaxSuppression,
     .name = "NonMaxSuppression",
     .min_inputs = 2,
     .max_inputs = 5,
     .fields = kSuppressionFields,
     .infer = infer_suppression,
     .reference = run_suppression},
};

}  // namespace

std::span<const OpDef> roi_ops() { return kOps; }

}  // namespace octavo::ops
