#include <algorithm>
#include <cmath>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/move.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kGridSampleFields[] = {int_field("align_corners"),
                                          string_field("mode", "linear"),
                                          string_field("padding_mode", "zeros")};
constexpr FieldDef kAffineGridFields[] = {int_field("align_corners")};

// ---- GridSample ----

Result<Shape> grid_sample_shape(const Shape& x, const Shape& grid) {
  if (x.rank() < 3 || x.rank() > 5 || grid.rank() != x.rank() ||
      (grid.back() >= 0 && grid.back() != x.rank() - 2)) {
    return fail(ErrorCode::kShapeMismatch, "a grid of shape ", grid.to_string(),
                " for an input of shape ", x.to_string());
  }
  if (x[0] >= 0 && grid[0] >= 0 && x[0] != grid[0]) {
    return fail(ErrorCode::kShapeMismatch, "a grid for ", grid[0], " images, given ", x[0]);
  }
  Shape out{x[0], x[1]};
  for (int i = 1; i + 1 < grid.rank(); ++i) out.push_back(grid[i]);
  return out;
}

Status infer_grid_sample(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.ranks_known()) {
    OCTAVO_ASSIGN(out, grid_sample_shape(c.shape(0), c.shape(1)));
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

enum class Padding { kZeros, kBorder, kReflection };
enum class Sampling { kNearest, kLinear, kCubic };

// One spatial axis of a sampled image.
struct SampleAxis {
  int64_t size, stride;
  double low, high;  // where the image ends: between them lies every pixel, and its half width

  double reflect(double x) const {
    const double range = high - low;
    if (range <= 0) return 0;
    const double distance = x < low ? low - x : x > high ? x - high : 0;
    if (distance == 0) return x;
    const double turns = std::floor(distance / range), rest = distance - turns * range;
    const bool from_low = (x < low) == (std::fmod(turns, 2) == 0);
    return from_low ? low + rest : high - rest;
  }

  // The pixel at position x, as an offset in memory; -1 if it counts as zero.
  int64_t pixel(double x, Padding padding) const {
    if (x < 0 || x > static_cast<double>(size - 1)) {
      if (padding == Padding::kZeros) return -1;
      if (padding == Padding::kReflection) x = std::trunc(reflect(x));
      x = std::clamp(x, 0.0, static_cast<double>(size - 1));
    }
    return static_cast<int64_t>(x) * stride;
  }
};

double cubic_weight(double x) {
  constexpr double kA = -0.75;
  x = std::abs(x);
  if (x <= 1) return ((kA + 2) * x - (kA + 3)) * x * x + 1;
  return x < 2 ? ((kA * x - 5 * kA) * x + 8 * kA) * x - 4 * kA : 0;
}

struct Tap {
  int64_t offset;  // -1: zero
  double weight;
};

// Taps along one axis for the grid's coordinate `at` in [-1, 1]; returns how many.
int axis_taps(const SampleAxis& axis, double at, bool align, Sampling mode, Padding padding,
              Tap* taps) {
  const auto size = static_cast<double>(axis.size);
  double x = align ? (at + 1) / 2 * (size - 1) : ((at + 1) * size - 1) / 2;
  if (!(std::abs(x) < 1e15)) x = std::isnan(x) ? -2 : std::copysign(1e15, x);
  if (mode == Sampling::kNearest) x = std::nearbyint(x);
  if (x < axis.low || x > axis.high) {
    if (padding == Padding::kBorder) x = std::clamp(x, 0.0, size - 1);
    if (padding == Padding::kReflection) x = axis.reflect(x);
  }
  if (mode == Sampling::kNearest) {
    taps[0] = {axis.pixel(x, padding), 1};
    return 1;
  }
  const double left = std::floor(x), ratio = x - left;
  if (mode == Sampling::kLinear) {
    taps[0] = {axis.pixel(left, padding), 1 - ratio};
    taps[1] = {axis.pixel(left + 1, padding), ratio};
    return 2;
  }
  for (int k = 0; k < 4; ++k) {
    taps[k] = {axis.pixel(left + k - 1, padding), cubic_weight(k - 1 - ratio)};
  }
  return 4;
}

void sample_grid(const TensorView& x, const TensorView& grid, const TensorView& out, bool align,
                 Sampling mode, Padding padding, ThreadPool* pool) {
  const int spatial = x.shape.rank() - 2;
  const auto strides = dense_strides(x.shape);
  std::array<SampleAxis, 3> axes{};
  for (int i = 0; i < spatial; ++i) {
    const int64_t size = x.shape[i + 2];
    const auto edge = static_cast<double>(size);
    axes[static_cast<size_t>(i)] = {size, strides[static_cast<size_t>(i + 2)], align ? 0 : -0.5,
                                    align ? edge - 1 : edge - 0.5};
  }
  const int64_t channels = x.shape[1], plane = x.shape.elements(2, x.shape.rank());
  const int64_t points = out.shape.elements(2, out.shape.rank());
  parallel_for(pool, x.shape[0] * points, 64, [&](int64_t begin, int64_t end) {
    std::array<Tap, 64> taps;
    for (int64_t p = begin; p < end; ++p) {
      // Products of the axes' taps; the grid names the last axis first.
      int count = 1;
      taps[0] = {0, 1};
      for (int i = 0; i < spatial; ++i) {
        std::array<Tap, 4> along;
        const auto at = grid.as<const double>()[p * spatial + spatial - 1 - i];
        const int added =
            axis_taps(axes[static_cast<size_t>(i)], at, align, mode, padding, along.data());
        std::array<Tap, 64> product;
        int kept = 0;
        for (int a = 0; a < count; ++a) {
          for (int b = 0; b < added; ++b) {
            const Tap& tap = along[static_cast<size_t>(b)];
            if (tap.offset < 0 || tap.weight == 0) continue;
            const Tap& before = taps[static_cast<size_t>(a)];
            product[static_cast<size_t>(kept++)] = {before.offset + tap.offset,
                                                    before.weight * tap.weight};
          }
        }
        taps = product;
        count = kept;
      }
      const int64_t n = p / points;
      for (int64_t c = 0; c < channels; ++c) {
        const double* from = x.as<const double>() + (n * channels + c) * plane;
        double sum = 0;
        for (int k = 0; k < count; ++k) {
          const Tap& tap = taps[static_cast<size_t>(k)];
          sum += tap.weight * from[tap.offset];
        }
        out.as<double>()[(n * channels + c) * points + p % points] = sum;
      }
    }
  });
}

Status run_grid_sample(KernelContext& c) {
  const TensorView &x = c.in(0), &grid = c.in(1);
  OCTAVO_ASSIGN(const Shape shape, grid_sample_shape(x.shape, grid.shape));
  const std::string_view mode = c.node.get_string("mode"), pad = c.node.get_string("padding_mode");
  Sampling sampling{};
  if (mode == "nearest") {
    sampling = Sampling::kNearest;
  } else if (mode == "linear" || mode == "bilinear") {
    sampling = Sampling::kLinear;
  } else if (mode == "cubic" || mode == "bicubic") {
    sampling = Sampling::kCubic;
  } else {
    return fail(ErrorCode::kInvalidModel, "mode '", mode, "' does not exist");
  }
  Padding padding{};
  if (pad == "border") {
    padding = Padding::kBorder;
  } else if (pad == "reflection") {
    padding = Padding::kReflection;
  } else if (pad != "zeros") {
    return fail(ErrorCode::kInvalidModel, "padding_mode '", pad, "' does not exist");
  }
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, x.dtype, shape));
  if (out.elements() == 0) return {};
  if (x.elements() == 0) return fail(ErrorCode::kShapeMismatch, "an empty image");
  if (grid.dtype != x.dtype) return bad_dtype(grid.dtype);
  OCTAVO_TRY(check_double(x.dtype));
  sample_grid(x, grid, out, c.node.get_int("align_corners") != 0, sampling, padding, c.pool);
  return {};
}

DType widen_to_double(DType dtype) { return dtype == DType::kString ? dtype : DType::kF64; }

Status run_grid_sample_widened(KernelContext& c) {
  return run_widened(c, run_grid_sample, widen_to_double);
}

// ---- AffineGrid ----

Result<Shape> affine_grid_shape(const TensorView& sizes) {
  OCTAVO_ASSIGN(const auto list, to_int64s(sizes));
  if (list.size() != 4 && list.size() != 5) {
    return fail(ErrorCode::kShapeMismatch, "a size of ", list.size(), " numbers; expected 4 or 5");
  }
  Shape out{list[0]};
  for (size_t i = 2; i < list.size(); ++i) out.push_back(list[i]);
  for (const int64_t dim : out) {
    if (dim < 0) return fail(ErrorCode::kInvalidData, "a size of ", dim);
  }
  out.push_back(static_cast<int64_t>(list.size()) - 2);
  return out;
}

Status infer_affine_grid(InferContext& c) {
  Shape out = Shape::unknown();
  if (const Tensor* sizes = c.constant(1)) {
    OCTAVO_ASSIGN(out, affine_grid_shape(sizes->view()));
  } else if (c.shape(1).rank() == 1 && (c.shape(1)[0] == 4 || c.shape(1)[0] == 5)) {
    out = Shape::filled(static_cast<int>(c.shape(1)[0]), kUnknownDim);
    out[out.rank() - 1] = c.shape(1)[0] - 2;
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

void fill_affine_grid(const TensorView& theta, const TensorView& out, bool align) {
  const int spatial = out.shape.rank() - 2;
  const auto width = static_cast<int64_t>(spatial);
  std::array<int64_t, 3> size{1, 1, 1};  // depth, height, width
  for (int i = 0; i < spatial; ++i) size[static_cast<size_t>(3 - spatial + i)] = out.shape[1 + i];
  const auto place = [&](int64_t i, int64_t count) {
    if (align)
      return count == 1 ? double{0}
                        : static_cast<double>(2 * i) / static_cast<double>(count - 1) - 1;
    return static_cast<double>(2 * i + 1) / static_cast<double>(count) - 1;
  };
  double* to = out.as<double>();
  for (int64_t n = 0; n < out.shape[0]; ++n) {
    const double* matrix = theta.as<const double>() + n * width * (width + 1);
    for (int64_t d = 0; d < size[0]; ++d) {
      for (int64_t h = 0; h < size[1]; ++h) {
        for (int64_t w = 0; w < size[2]; ++w) {
          const double at[] = {place(w, size[2]), place(h, size[1]), place(d, size[0])};
          for (int64_t row = 0; row < width; ++row) {
            const double* weights = matrix + row * (width + 1);
            double sum = weights[width];
            for (int64_t k = 0; k < width; ++k) sum += weights[k] * at[k];
            *to++ = sum;
          }
        }
      }
    }
  }
}

Status run_affine_grid(KernelContext& c) {
  const TensorView& theta = c.in(0);
  OCTAVO_ASSIGN(const Shape shape, affine_grid_shape(c.in(1)));
  const int64_t spatial = shape.rank() - 2;
  if (!(theta.shape == Shape{shape[0], spatial, spatial + 1})) {
    return fail(ErrorCode::kShapeMismatch, "theta has shape ", theta.shape.to_string(),
                "; expected ", Shape{shape[0], spatial, spatial + 1}.to_string());
  }
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, theta.dtype, shape));
  OCTAVO_TRY(check_double(theta.dtype));
  fill_affine_grid(theta, out, c.node.get_int("align_corners") != 0);
  return {};
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kGridSample,
     .name = "GridSample",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kGridSampleFields,
     .infer = infer_grid_sample,
     .reference = run_grid_sample_widened},
    {.kind = OpKind::kAffineGrid,
     .name = "AffineGrid",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kAffineGridFields,
     .infer = infer_affine_grid,
     .reference = in_double<run_affine_grid>},
};

}  // namespace

std::span<const OpDef> image_ops() { return kOps; }

}  // namespace octavo::ops
