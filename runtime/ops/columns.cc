// Operators on the columns of a convolution: the values under a window, one column a position.
#include <algorithm>
#include <cmath>

#include "runtime/ops/common.h"
#include "runtime/ops/convolve.h"
#include "runtime/ops/families.h"
#include "runtime/ops/matrix.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kCol2ImFields[] = {ints_field("dilations", 1), ints_field("pads", 0),
                                      ints_field("strides", 1)};
constexpr FieldDef kDeformConvFields[] = {
    ints_field("dilations", 1),   int_field("group", 1), ints_field("kernel_shape"),
    int_field("offset_group", 1), ints_field("pads", 0), ints_field("strides", 1),
};

// ---- Col2Im ----

struct Col2ImShape {
  Window window;
  Shape image;    // N, C, spatial
  Shape columns;  // positions along each spatial dimension
};

Result<Col2ImShape> col2im_shape(const Node& node, const Shape& in, const TensorView& image,
                                 const TensorView& block) {
  Col2ImShape s;
  OCTAVO_ASSIGN(const auto sizes, to_int64s(image));
  OCTAVO_ASSIGN(const auto kernel, to_int64s(block));
  for (const int64_t size : kernel) {
    if (size < 1) return fail(ErrorCode::kShapeMismatch, "a block of size ", size);
  }
  for (const int64_t size : sizes) {
    if (size < 0) return fail(ErrorCode::kShapeMismatch, "an image of size ", size);
  }
  OCTAVO_ASSIGN(s.window, read_window(node, sizes, kernel));
  const int64_t area = Shape(kernel).elements();
  if (in.rank() != 3 || (in[1] >= 0 && in[1] % area != 0)) {
    return fail(ErrorCode::kShapeMismatch, "columns of shape ", in.to_string(), " for blocks of ",
                Shape(kernel).to_string());
  }
  s.image = Shape{in[0], in[1] < 0 ? kUnknownDim : in[1] / area};
  s.columns = Shape{};
  for (int i = 0; i < s.window.rank; ++i) {
    s.image.push_back(sizes[static_cast<size_t>(i)]);
    OCTAVO_ASSIGN(const int64_t positions, window_output(s.window, i, s.image[i + 2], false));
    s.columns.push_back(positions);
  }
  if (in[2] >= 0 && in[2] != s.columns.elements()) {
    return fail(ErrorCode::kShapeMismatch, in[2], " columns for ", s.columns.to_string(),
                " positions");
  }
  return s;
}

Status infer_col2im(InferContext& c) {
  Shape out = Shape::unknown();
  const Tensor *image = c.constant(1), *block = c.constant(2);
  if (c.shape(0).has_rank() && image != nullptr && block != nullptr) {
    OCTAVO_ASSIGN(const Col2ImShape s,
                  col2im_shape(c.node, c.shape(0), image->view(), block->view()));
    out = s.image;
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

Status run_col2im(KernelContext& c) {
  const TensorView& in = c.in(0);
  OCTAVO_ASSIGN(const Col2ImShape s, col2im_shape(c.node, in.shape, c.in(1), c.in(2)));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, s.image));
  const Window w = to_three(s.window);
  const Spatial size = to_three(s.image.dims().subspan(2)), count = to_three(s.columns.dims());
  const auto& [kd, kh, kw] = w.kernel;
  if (out.elements() == 0) return {};
  OCTAVO_TRY(check_double(in.dtype));
  double* to = out.as<double>();
  std::fill_n(to, out.elements(), double{0});
  const double* from = in.as<const double>();
  const int64_t plane = size[0] * size[1] * size[2];
  for (int64_t p = 0; p < s.image[0] * s.image[1]; ++p, to += plane) {
    for (int64_t k = 0; k < kd * kh * kw; ++k) {
      const Spatial at = {k / (kh * kw), k / kw % kh, k % kw};
      Spatial offset;
      for (size_t i = 0; i < 3; ++i) offset[i] = at[i] * w.dilation[i] - w.pad_begin[i];
      const Range row = valid_range(offset[2], w.stride[2], size[2], count[2]);
      for (int64_t d = 0; d < count[0]; ++d) {
        for (int64_t h = 0; h < count[1]; ++h, from += count[2]) {
          const int64_t z = offset[0] + d * w.stride[0], y = offset[1] + h * w.stride[1];
          if (z < 0 || z >= size[0] || y < 0 || y >= size[1]) continue;
          double* line = to + (z * size[1] + y) * size[2] + offset[2];
          for (int64_t x = row.begin; x < row.end; ++x) line[x * w.stride[2]] += from[x];
        }
      }
    }
  }
  return {};
}

// ---- DeformConv: inputs X, W, offset, bias, mask; two spatial dimensions ----

Result<Shape> deform_shape(const Node& node, const Shape& x, const Shape& weight) {
  if (x.rank() != 4 || weight.rank() != 4) {
    return fail(ErrorCode::kUnsupportedOp, "an input of shape ", x.to_string(),
                "; two spatial dimensions are supported");
  }
  return conv_output_shape(node, x, weight);
}

Status infer_deform(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.shape(0).has_rank() && c.shape(1).has_rank()) {
    OCTAVO_ASSIGN(out, deform_shape(c.node, c.shape(0), c.shape(1)));
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

// Bilinear value at (y, x) of a plane surrounded by zeros.
double sample(const double* plane, int64_t height, int64_t width, double y, double x) {
  if (!(y > -1 && y < static_cast<double>(height) && x > -1 && x < static_cast<double>(width)))
    return 0;
  const auto top = static_cast<int64_t>(std::floor(y)), left = static_cast<int64_t>(std::floor(x));
  const double v = y - static_cast<double>(top), h = x - static_cast<double>(left);
  const auto at = [&](int64_t i, int64_t j) {
    return i < 0 || i >= height || j < 0 || j >= width ? double{0} : plane[i * width + j];
  };
  return (1 - v) * ((1 - h) * at(top, left) + h * at(top, left + 1)) +
         v * ((1 - h) * at(top + 1, left) + h * at(top + 1, left + 1));
}

Status run_deform_typed(KernelContext& c, const TensorView& out) {
  const TensorView &x = c.in(0), &weight = c.in(1), &offset = c.in(2);
  const int64_t height = x.shape[2], width = x.shape[3];
  const int64_t rows = out.shape[2], columns = out.shape[3], positions = rows * columns;
  const int64_t kh = weight.shape[2], kw = weight.shape[3], kernel = kh * kw;
  const int64_t group = c.node.get_int("group"), offset_group = c.node.get_int("offset_group");
  const int64_t in_channels = weight.shape[1], out_channels = out.shape[1] / group;
  OCTAVO_ASSIGN(const Window w,
                read_window(c.node, x.shape.dims().subspan(2), weight.shape.dims().subspan(2)));
  OCTAVO_ASSIGN(Tensor under,
                Tensor::create(DType::kF64, {group * in_channels * kernel, positions}));
  for (int64_t n = 0; n < out.shape[0]; ++n) {
    parallel_for(c.pool, x.shape[1] * kernel, 1, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t channel = item / kernel, k = item % kernel;
        const int64_t og = channel / (x.shape[1] / offset_group);
        const int64_t shift = ((n * offset_group + og) * kernel + k) * positions;
        const double* dy = offset.as<const double>() + 2 * shift;
        const double* dx = dy + positions;
        const double* mask = c.has_input(4) ? c.in(4).as<const double>() + shift : nullptr;
        const double* plane = x.as<const double>() + (n * x.shape[1] + channel) * height * width;
        double* to = under.data<double>().data() + item * positions;
        for (int64_t p = 0; p < positions; ++p) {
          const int64_t y0 = p / columns * w.stride[0] - w.pad_begin[0] + k / kw * w.dilation[0];
          const int64_t x0 = p % columns * w.stride[1] - w.pad_begin[1] + k % kw * w.dilation[1];
          to[p] = sample(plane, height, width, static_cast<double>(y0) + dy[p],
                         static_cast<double>(x0) + dx[p]);
          if (mask != nullptr) to[p] *= mask[p];
        }
      }
    });
    for (int64_t g = 0; g < group; ++g) {
      const int64_t depth = in_channels * kernel;
      double* to = out.as<double>() + (n * out.shape[1] + g * out_channels) * positions;
      multiply(c.pool, weight.as<const double>() + g * out_channels * depth, depth, 1,
               under.data<double>().data() + g * depth * positions, to, out_channels, positions,
               depth);
      for (int64_t m = 0; c.has_input(3) && m < out_channels; ++m) {
        const double bias = c.in(3).as<const double>()[g * out_channels + m];
        for (int64_t p = 0; p < positions; ++p) to[m * positions + p] += bias;
      }
    }
  }
  return {};
}

Status run_deform(KernelContext& c) {
  const TensorView& x = c.in(0);
  const Shape& weight = c.in(1).shape;
  OCTAVO_ASSIGN(const Shape shape, deform_shape(c.node, x.shape, weight));
  const int64_t groups = c.node.get_int("offset_group");
  if (groups < 1 || x.shape[1] % groups != 0) {
    return fail(ErrorCode::kInvalidModel, "attribute 'offset_group' is ", groups);
  }
  const int64_t kernel = weight[2] * weight[3];
  const Shape expected[] = {{shape[0], groups * kernel * 2, shape[2], shape[3]},
                            {shape[1]},
                            {shape[0], groups * kernel, shape[2], shape[3]}};
  for (size_t i = 1; i < c.inputs.size(); ++i) {
    if (!c.has_input(i)) continue;
    if (c.in(i).dtype != x.dtype) return bad_dtype(c.in(i).dtype);
    if (i >= 2 && !(c.in(i).shape == expected[i - 2])) {
      return fail(ErrorCode::kShapeMismatch, "input ", i, " has shape ", c.in(i).shape.to_string(),
                  "; expected ", expected[i - 2].to_string());
    }
  }
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, x.dtype, shape));
  if (out.elements() == 0) return {};
  OCTAVO_TRY(check_double(x.dtype));
  return run_deform_typed(c, out);
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kCol2Im,
     .name = "Col2Im",
     .min_inputs = 3,
     .max_inputs = 3,
     .fields = kCol2ImFields,
     .infer = infer_col2im,
     .reference = in_double<run_col2im>},
    {.kind = OpKind::kDeformConv,
     .name = "DeformConv",
     .min_inputs = 3,
     .max_inputs = 5,
     .fields = kDeformConvFields,
     .infer = infer_deform,
     .reference = in_double<run_deform>},
};

}  // namespace

std::span<const OpDef> columns_ops() { return kOps; }

}  // namespace octavo::ops
