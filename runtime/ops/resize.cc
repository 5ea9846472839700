#include <algorithm>
#include <cmath>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/move.h"
#include "runtime/ops/resize_coordinates.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kFields[] = {
    int_field("antialias"),
    ints_field("axes"),
    string_field("coordinate_transformation_mode", "half_pixel"),
    float_field("cubic_coeff_a", -0.75f),
    int_field("exclude_outside"),
    float_field("extrapolation_value"),
    string_field("keep_aspect_ratio_policy", "stretch"),
    string_field("mode", "nearest"),
    string_field("nearest_mode", "round_prefer_floor"),
};

constexpr int64_t kSizeLimit = int64_t{1} << 31;

// ---- Sizes ----

struct ResizeShape {
  Shape out;
  std::array<float, kMaxRank> scale{};
  std::array<float, kMaxRank> roi_begin{}, roi_end{};  // as parts of the input
};

Result<std::vector<int64_t>> resized_axes(const Node& node, int rank) {
  const auto given = node.get_ints("axes");
  std::vector<int64_t> axes(given.begin(), given.end());
  for (int i = 0; given.empty() && i < rank; ++i) axes.push_back(i);
  OCTAVO_TRY(normalize_axes(axes, rank));
  return axes;
}

Result<std::vector<float>> read_floats(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.elements()));
  if (!dtype_info(view.dtype).is_float) return bad_dtype(view.dtype);
  OCTAVO_TRY(cast_elements(view, {values.data(), DType::kF32, view.layout, view.shape}));
  return values;
}

// Output sizes and scales of `in` (of which some dimensions may be unknown), from scales or sizes.
Result<ResizeShape> resize_shape(const Node& node, const Shape& in, const TensorView* scales,
                                 const TensorView* sizes) {
  ResizeShape r{in};
  r.scale.fill(1);
  OCTAVO_ASSIGN(const auto axes, resized_axes(node, in.rank()));
  const auto count_error = [&](size_t count) {
    return fail(ErrorCode::kShapeMismatch, count, " scales or sizes for ", axes.size(), " axes");
  };
  const auto bad_scale = [](float scale) {
    return fail(ErrorCode::kInvalidData, "a scale of ", scale);
  };
  if (scales != nullptr) {
    OCTAVO_ASSIGN(const auto values, read_floats(*scales));
    if (values.size() != axes.size()) return count_error(values.size());
    for (size_t k = 0; k < axes.size(); ++k) {
      const int axis = static_cast<int>(axes[k]);
      const float scale = values[k];
      if (!(scale > 0) || scale > static_cast<float>(kSizeLimit)) return bad_scale(scale);
      r.scale[static_cast<size_t>(axis)] = scale;
      if (in[axis] < 0) {
        if (scale != 1) r.out[axis] = kUnknownDim;
        continue;
      }
      const float size = std::floor(static_cast<float>(in[axis]) * scale);
      if (size > static_cast<float>(kSizeLimit)) return bad_scale(scale);
      r.out[axis] = scale == 1 ? in[axis] : static_cast<int64_t>(size);
    }
    return r;
  }
  OCTAVO_ASSIGN(const auto values, to_int64s(*sizes));
  if (values.size() != axes.size()) return count_error(values.size());
  const std::string_view policy = node.get_string("keep_aspect_ratio_policy");
  const bool larger = policy == "not_smaller", keep = larger || policy == "not_larger";
  float common = larger ? 0 : std::numeric_limits<float>::infinity();
  bool known = true;
  for (size_t k = 0; k < axes.size(); ++k) {
    const int64_t dim = in[static_cast<int>(axes[k])];
    if (values[k] < 0 || values[k] > kSizeLimit) {
      return fail(ErrorCode::kInvalidData, "a size of ", values[k]);
    }
    known &= dim >= 0;
    if (dim == 0 && values[k] != 0) {
      return fail(ErrorCode::kShapeMismatch, "nothing to make a size of ", values[k], " from");
    }
    if (dim <= 0) continue;
    const float scale = static_cast<float>(values[k]) / static_cast<float>(dim);
    r.scale[static_cast<size_t>(axes[k])] = scale;
    common = larger ? std::max(common, scale) : std::min(common, scale);
  }
  for (size_t k = 0; k < axes.size(); ++k) {
    const int axis = static_cast<int>(axes[k]);
    if (!keep) {
      r.out[axis] = values[k];
    } else if (!known) {
      r.out[axis] = kUnknownDim;
    } else {
      const float size = std::floor(static_cast<float>(in[axis]) * common + 0.5f);
      if (!(size <= static_cast<float>(kSizeLimit))) return bad_scale(common);
      r.out[axis] = static_cast<int64_t>(size);
      r.scale[static_cast<size_t>(axis)] = common;
    }
  }
  return r;
}

Status infer_resize(InferContext& c) {
  const Shape& in = c.shape(0);
  Shape out = Shape::unknown();
  if (in.has_rank()) {
    const size_t given = c.has_input(2) ? 2 : 3;
    if (!c.has_input(given)) return fail(ErrorCode::kInvalidModel, "neither scales nor sizes");
    if (const Tensor* known = c.constant(given)) {
      const TensorView view = known->view();
      OCTAVO_ASSIGN(const ResizeShape r, resize_shape(c.node, in, given == 2 ? &view : nullptr,
                                                      given == 3 ? &view : nullptr));
      out = r.out;
    } else {
      OCTAVO_ASSIGN(const auto axes, resized_axes(c.node, in.rank()));
      out = in;
      for (const int64_t axis : axes) out[static_cast<int>(axis)] = kUnknownDim;
    }
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

// ---- Running ----

// out[o][x][i] = sum over taps of weight * in[o][index][i].
void interpolate(const ResizePass& pass, const float* in, float* out) {
  for (int64_t o = 0; o < pass.outer; ++o, in += pass.in * pass.inner) {
    for (int64_t x = 0; x < pass.out; ++x, out += pass.inner) {
      std::fill_n(out, pass.inner, 0.0f);
      for (int64_t t = 0; t < pass.taps; ++t) {
        const auto tap = static_cast<size_t>(t * pass.out + x);
        const float* row = in + pass.index[tap] * pass.inner;
        for (int64_t i = 0; i < pass.inner; ++i) out[i] += pass.weight[tap] * row[i];
      }
    }
  }
}

ResizeAxis make_axis(const ResizeShape& r, const Shape& in, int axis) {
  const auto at = static_cast<size_t>(axis);
  return {in[axis], r.out[axis], r.scale[at], r.roi_begin[at], r.roi_end[at]};
}

// For copy_mapped.
std::vector<std::vector<int64_t>> nearest_offsets(const TensorView& in, Layout out_layout,
                                                  const ResizeShape& r, const ResizeOptions& o) {
  const int rank = in.shape.rank();
  const auto strides = memory_strides(in.shape, in.layout);
  std::vector<std::vector<int64_t>> offsets(static_cast<size_t>(std::max(rank, 1)), {0});
  for (int i = 0; i < rank; ++i) {
    const ResizeAxis axis = make_axis(r, in.shape, i);
    auto& list = offsets[static_cast<size_t>(physical_axis(i, rank, out_layout))];
    list.clear();
    for (int64_t x = 0; x < axis.out; ++x) {
      // An axis of scale 1 keeps its elements, whatever the rounding does to exact positions.
      const int64_t from =
          axis.scale == 1 && axis.in == axis.out && o.transform != Transform::kCropAndResize
              ? x
              : axis.nearest(o.rounding, axis.source(o.transform, x));
      list.push_back(from * strides[static_cast<size_t>(i)]);
    }
  }
  return offsets;
}

// Along the innermost axis first: where an image grows, there is least to do.
std::vector<ResizePass> make_passes(const TensorView& in, const ResizeShape& r,
                                    const ResizeOptions& o) {
  const int rank = in.shape.rank();
  Shape shape = physical_shape(in.shape, in.layout);    // as far as axes are done
  std::vector<int> logical(static_cast<size_t>(rank));  // axes in storage order
  for (int i = 0; i < rank; ++i) {
    logical[static_cast<size_t>(physical_axis(i, rank, in.layout))] = i;
  }
  std::vector<ResizePass> passes;
  for (int at = rank - 1; at >= 0; --at) {
    const int i = logical[static_cast<size_t>(at)];
    const bool same = in.shape[i] == r.out[i] && r.scale[static_cast<size_t>(i)] == 1;
    if (same && o.transform != Transform::kCropAndResize) continue;
    ResizePass& pass = passes.emplace_back(make_axis(r, in.shape, i).taps(o));
    pass.outer = shape.elements(0, at);
    pass.inner = shape.elements(at + 1, rank);
    shape[at] = pass.out;
  }
  return passes;
}

// `in` and `out` have one layout and are f32.
Status run_filtered(const TensorView& in, const TensorView& out,
                    const std::vector<ResizePass>& passes) {
  if (passes.empty()) {
    copy_elements(in, out);
    return {};
  }
  Tensor held;
  const float* from = in.as<const float>();
  for (const ResizePass& pass : passes) {
    Tensor next;
    float* to = out.as<float>();
    if (&pass != &passes.back()) {
      OCTAVO_ASSIGN(next, Tensor::create(DType::kF32, {pass.outer, pass.out, pass.inner}));
      to = next.data<float>().data();
    }
    interpolate(pass, from, to);
    held = std::move(next);
    from = to;
  }
  return {};
}

// Writes the extrapolation value wherever an axis is outside the input.
template <class T>
void extrapolate(const Shape& in, const TensorView& out, const ResizeShape& r,
                 const ResizeOptions& o, T value) {
  const int rank = in.rank();
  const Shape shape = physical_shape(out.shape, out.layout);
  for (int i = 0; i < rank; ++i) {
    const ResizeAxis axis = make_axis(r, in, i);
    const int at = physical_axis(i, rank, out.layout);
    const int64_t inner = shape.elements(at + 1, rank), outer = shape.elements(0, at);
    for (int64_t x = 0; x < axis.out; ++x) {
      if (!axis.is_outside(o.transform, axis.source(o.transform, x))) continue;
      for (int64_t k = 0; k < outer; ++k) {
        std::fill_n(out.as<T>() + (k * axis.out + x) * inner, inner, value);
      }
    }
  }
}

struct Request {
  ResizeOptions options;
  ResizeShape shape;
};

Result<Request> read_request(const Node& node, std::span<const TensorView> inputs) {
  const auto given = [&](size_t i) {
    return i < inputs.size() && inputs[i].present() ? &inputs[i] : nullptr;
  };
  const Shape& in = inputs[0].shape;
  Request request{};
  OCTAVO_ASSIGN(request.options, read_resize_options(node));
  const bool by_scales = given(2) != nullptr;
  if (!by_scales && given(3) == nullptr) {
    return fail(ErrorCode::kInvalidModel, "neither scales nor sizes");
  }
  ResizeShape& r = request.shape;
  OCTAVO_ASSIGN(r, resize_shape(node, in, given(2), by_scales ? nullptr : given(3)));
  r.roi_end.fill(1);
  if (request.options.transform != Transform::kCropAndResize) return request;
  if (given(1) == nullptr) {
    return fail(ErrorCode::kInvalidModel, "tf_crop_and_resize without a roi");
  }
  OCTAVO_ASSIGN(const auto roi, read_floats(inputs[1]));
  OCTAVO_ASSIGN(const auto axes, resized_axes(node, in.rank()));
  if (roi.size() != 2 * axes.size()) {
    return fail(ErrorCode::kShapeMismatch, "a roi of ", roi.size(), " numbers for ", axes.size(),
                " axes");
  }
  for (size_t k = 0; k < axes.size(); ++k) {
    r.roi_begin[static_cast<size_t>(axes[k])] = roi[k];
    r.roi_end[static_cast<size_t>(axes[k])] = roi[k + axes.size()];
  }
  return request;
}

Status run_resize(KernelContext& c) {
  TensorView in = c.in(0);
  if (in.dtype == DType::kString) return bad_dtype(in.dtype);
  OCTAVO_ASSIGN(const Request request, read_request(c.node, c.inputs));
  const ResizeOptions& o = request.options;
  const ResizeShape& r = request.shape;
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, r.out));
  if (out.elements() == 0) return {};
  if (in.elements() == 0) return fail(ErrorCode::kShapeMismatch, "an empty input");

  if (o.mode == Mode::kNearest) {
    copy_mapped(in.dtype, in.data, out.data, nearest_offsets(in, out.layout, r, o));
  } else {
    // Filters run in float32, on one layout.
    constexpr DType kWide = DType::kF32;
    Tensor plain, wide_in, wide_out;
    if (in.layout != out.layout) {
      OCTAVO_ASSIGN(plain, to_tensor(in));
      in = plain.view();
    }
    TensorView to = out;
    if (in.dtype != kWide) {
      OCTAVO_ASSIGN(wide_in, Tensor::create(kWide, in.shape));
      TensorView view = wide_in.view();
      view.layout = in.layout;
      OCTAVO_TRY(cast_elements(in, view));
      in = view;
    }
    if (out.dtype != kWide || in.layout != out.layout) {
      OCTAVO_ASSIGN(wide_out, Tensor::create(kWide, out.shape));
      to = wide_out.view();
      to.layout = in.layout;
    }
    OCTAVO_TRY(run_filtered(in, to, make_passes(in, r, o)));
    if (to.data != out.data) {
      if (to.layout != out.layout) {
        return fail(ErrorCode::kInternal, "layouts of a plain input and its output differ");
      }
      OCTAVO_TRY(cast_elements(to, out));
    }
  }
  if (o.transform != Transform::kCropAndResize) return {};
  float value = c.node.get_float("extrapolation_value");
  uint64_t element = 0;
  OCTAVO_TRY(cast_elements({&value, DType::kF32, Layout::kPlain, Shape{}},
                           {&element, out.dtype, Layout::kPlain, Shape{}}));
  visit_dtype_size(out.dtype, [&]<class T>() {
    if constexpr (!std::is_same_v<T, std::string>) {
      extrapolate<T>(c.in(0).shape, out, r, o, *reinterpret_cast<const T*>(&element));
    }
  });
  return {};
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kResize,
     .name = "Resize",
     .max_inputs = 4,
     .fields = kFields,
     .infer = infer_resize,
     .reference = run_resize,
     .quant = {.policy = QuantPolicy::kRequantize, .data_inputs = 1},
     .mixed = {.policy = MixedPolicy::kInfer, .data_inputs = 1},
     .layout = LayoutRule::kAgnostic},
};

}  // namespace

Result<Resizing> make_resizing(const Node& node, std::span<const TensorView> inputs,
                               Layout layout) {
  OCTAVO_ASSIGN(const Request request, read_request(node, inputs));
  const ResizeOptions& o = request.options;
  if (o.transform == Transform::kCropAndResize) {
    return fail(ErrorCode::kUnsupportedOp, "tf_crop_and_resize is not a mapping of whole axes");
  }
  Resizing resizing;
  if (o.mode == Mode::kNearest) {
    resizing.offsets = nearest_offsets(inputs[0], layout, request.shape, o);
  } else {
    resizing.passes = make_passes(inputs[0], request.shape, o);
  }
  return resizing;
}

std::span<const OpDef> resize_ops() { return kOps; }

}  // namespace octavo::ops
