#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/infer.h"
#include "runtime/ops/average.h"
#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/spatial.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kAveragePoolFields[] = {
    string_field("auto_pad", "NOTSET"),
    int_field("ceil_mode"),
    int_field("count_include_pad"),
    ints_field("dilations", 1),
    required(ints_field("kernel_shape")),
    ints_field("pads", 0),
    ints_field("strides", 1),
};
constexpr FieldDef kMaxPoolFields[] = {
    string_field("auto_pad", "NOTSET"),
    int_field("ceil_mode"),
    ints_field("dilations", 1),
    required(ints_field("kernel_shape")),
    ints_field("pads", 0),
    int_field("storage_order"),
    ints_field("strides", 1),
};
constexpr FieldDef kLpPoolFields[] = {
    string_field("auto_pad", "NOTSET"),
    int_field("ceil_mode"),
    ints_field("dilations", 1),
    required(ints_field("kernel_shape")),
    int_field("p", 2),
    ints_field("pads", 0),
    ints_field("strides", 1),
};
constexpr FieldDef kGlobalLpPoolFields[] = {int_field("p", 2)};
constexpr FieldDef kMaxUnpoolFields[] = {
    required(ints_field("kernel_shape")),
    ints_field("pads", 0),
    ints_field("strides", 1),
};

Status check_rank(const Shape& x, size_t spatial) {
  if (x.rank() < 3 || (spatial > 0 && static_cast<size_t>(x.rank()) != spatial + 2)) {
    return fail(ErrorCode::kShapeMismatch, "an input of shape ", x.to_string(),
                "; expected batch, ", "channels and ",
                spatial == 0 ? std::string("1 to 3") : std::to_string(spatial),
                " spatial dimensions");
  }
  return {};
}

Result<Shape> pool_output_shape(const Node& node, const Shape& x, Window& window) {
  const auto kernel = node.get_ints("kernel_shape");
  OCTAVO_TRY(check_rank(x, kernel.size()));
  for (const int64_t size : kernel) {
    if (size < 1) return fail(ErrorCode::kInvalidModel, "attribute 'kernel_shape' holds ", size);
  }
  OCTAVO_ASSIGN(window, read_window(node, x.dims().subspan(2), kernel));
  Shape out{x[0], x[1]};
  for (int i = 0; i < window.rank; ++i) {
    OCTAVO_ASSIGN(const int64_t size,
                  window_output(window, i, x[i + 2], node.get_int("ceil_mode") != 0));
    out.push_back(size);
  }
  return out;
}

Status infer_pool(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.shape(0).has_rank()) {
    Window window;
    OCTAVO_ASSIGN(out, pool_output_shape(c.node, c.shape(0), window));
  }
  c.set_output(0, c.dtype(0), out);
  c.set_output(1, DType::kI64, out);  // MaxPool's indices
  return {};
}

Status infer_global(InferContext& c) {
  Shape out = c.shape(0);
  if (out.has_rank()) {
    OCTAVO_TRY(check_rank(out, 0));
    for (int i = 2; i < out.rank(); ++i) out[i] = 1;
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

// Calls fn(plane, output index, depth, height, width spans) for every output element.
struct PoolGeometry {
  int64_t planes;
  Spatial in, out;
  std::array<std::vector<Span>, 3> spans;

  int64_t in_plane() const { return in[0] * in[1] * in[2]; }
  int64_t out_plane() const { return out[0] * out[1] * out[2]; }

  template <class Fn>
  void for_each(ThreadPool* pool, const Fn& fn) const {
    parallel_for(pool, planes, 1, [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        int64_t index = plane * out_plane();
        for (const Span& d : spans[0]) {
          for (const Span& h : spans[1]) {
            for (const Span& w : spans[2]) fn(plane, index++, d, h, w);
          }
        }
      }
    });
  }
};

PoolGeometry geometry(const Window& window, const Shape& x, const Shape& y) {
  PoolGeometry g;
  g.planes = x[0] * x[1];
  g.in = to_three(x.dims().subspan(2));
  g.out = to_three(y.dims().subspan(2));
  const Window three = to_three(window);
  for (size_t i = 0; i < 3; ++i) g.spans[i] = make_spans(three, i, g.in[i], g.out[i]);
  return g;
}

// The window that covers everything.
PoolGeometry global_geometry(const Shape& x) {
  PoolGeometry g;
  g.planes = x[0] * x[1];
  const int64_t size = x.elements(2, x.rank());
  g.in = {1, 1, size};
  g.out = {1, 1, 1};
  g.spans = {std::vector<Span>{{0, 1, 1, 1}}, {{0, 1, 1, 1}}, {{0, size, 1, size}}};
  return g;
}

// Geometry and output of a pool that may be global.
Result<PoolGeometry> prepare(KernelContext& c, TensorView& y) {
  const TensorView& x = c.in(0);
  Window window;
  Shape out;
  const bool global = is_global_pool(c.node.kind);
  if (global) {
    OCTAVO_TRY(check_rank(x.shape, 0));
    out = x.shape;
    for (int i = 2; i < out.rank(); ++i) out[i] = 1;
  } else {
    OCTAVO_ASSIGN(out, pool_output_shape(c.node, x.shape, window));
  }
  const bool quantized = x.quant != nullptr;
  OCTAVO_ASSIGN(y, c.make_output(0, quantized ? c.out(0).dtype : x.dtype, out));
  if (y.elements() == 0) return PoolGeometry{};
  return global ? global_geometry(x.shape) : geometry(window, x.shape, out);
}

// Calls fn(row pointer, width span) for every row of a window.
template <class T, class Fn>
void for_each_row(const PoolGeometry& g, const T* plane, const Span& d, const Span& h,
                  const Fn& fn) {
  for (int64_t z = d.begin; z < d.end; z += d.step) {
    for (int64_t y = h.begin; y < h.end; y += h.step) fn(plane + (z * g.in[1] + y) * g.in[2]);
  }
}

bool is_byte_tensor(const TensorView& view) {
  return view.quant != nullptr && view.quant->per_tensor() && view.quant->scale.size() == 1 &&
         view.quant->zero_point.size() == 1 &&
         (view.dtype == DType::kU8 || view.dtype == DType::kI8);
}

// Elements of the window that count in a mean.
int64_t count_of(const Span& d, const Span& h, const Span& w, bool include_pad) {
  const auto inside = [](const Span& s) { return (s.end - s.begin) / s.step; };
  return include_pad ? d.padded * h.padded * w.padded : inside(d) * inside(h) * inside(w);
}

// runtime/ops/average.h.
void average_bytes(const PoolGeometry& g, const TensorView& x, const TensorView& y,
                   bool include_pad, ThreadPool* pool) {
  const AverageParams params(*x.quant, *y.quant);
  const auto run = [&]<class T, class Out>(const T* in, Out* out) {
    g.for_each(pool, [&](int64_t plane, int64_t at, const Span& d, const Span& h, const Span& w) {
      uint32_t sum = 0;
      for_each_row(g, in + plane * g.in_plane(), d, h, [&](const T* row) {
        for (int64_t i = w.begin; i < w.end; i += w.step) {
          sum += static_cast<uint32_t>(row[i] - params.zero_x);
        }
      });
      out[at] = params.apply<Out>(static_cast<int32_t>(sum), count_of(d, h, w, include_pad));
    });
  };
  const auto from = [&](const auto* in) {
    y.dtype == DType::kU8 ? run(in, y.as<uint8_t>()) : run(in, y.as<int8_t>());
  };
  x.dtype == DType::kU8 ? from(x.as<const uint8_t>()) : from(x.as<const int8_t>());
}

bool includes_pad(const Node& node) {
  return !is_global_pool(node.kind) && node.get_int("count_include_pad") != 0;
}

Status average_double(KernelContext& c) {
  OCTAVO_TRY(check_double(c.in(0).dtype));
  TensorView y;
  OCTAVO_ASSIGN(const PoolGeometry g, prepare(c, y));
  const bool include_pad = includes_pad(c.node);
  const auto* x = c.in(0).as<const double>();
  auto* out = y.as<double>();
  g.for_each(c.pool, [&](int64_t plane, int64_t at, const Span& d, const Span& h, const Span& w) {
    double sum = 0;
    for_each_row(g, x + plane * g.in_plane(), d, h, [&](const double* row) {
      for (int64_t i = w.begin; i < w.end; i += w.step) sum += row[i];
    });
    const int64_t count = count_of(d, h, w, include_pad);
    out[at] = count == 0 ? 0 : sum / static_cast<double>(count);
  });
  return {};
}

Status run_average(KernelContext& c) {
  const TensorView& in = c.in(0);
  if (in.quant == nullptr && c.out(0).quant == nullptr) return in_double<average_double>(c);
  if (!is_byte_tensor(in) || !is_byte_tensor(c.out(0))) {
    return run_dequantized(*find_op(c.node.kind), c);
  }
  TensorView y;
  OCTAVO_ASSIGN(const PoolGeometry g, prepare(c, y));
  average_bytes(g, in, y, includes_pad(c.node), c.pool);
  return {};
}

Status run_lp(KernelContext& c) {
  OCTAVO_TRY(check_double(c.in(0).dtype));
  TensorView y;
  OCTAVO_ASSIGN(const PoolGeometry g, prepare(c, y));
  const int64_t p = c.node.get_int("p");
  if (p < 1) return fail(ErrorCode::kInvalidModel, "attribute 'p' is ", p);
  const auto power = static_cast<double>(p);
  const auto* x = c.in(0).as<const double>();
  auto* out = y.as<double>();
  g.for_each(c.pool, [&](int64_t plane, int64_t at, const Span& d, const Span& h, const Span& w) {
    double sum = 0;
    for_each_row(g, x + plane * g.in_plane(), d, h, [&](const double* row) {
      for (int64_t i = w.begin; i < w.end; i += w.step) {
        const double v = std::abs(row[i]);
        sum += p == 1 ? v : p == 2 ? v * v : std::pow(v, power);
      }
    });
    out[at] = p == 1 ? sum : p == 2 ? std::sqrt(sum) : std::pow(sum, 1 / power);
  });
  return {};
}

Status max_wide(KernelContext& c) {
  TensorView y;
  OCTAVO_ASSIGN(const PoolGeometry g, prepare(c, y));
  int64_t* indices = nullptr;
  if (!is_global_pool(c.node.kind) && c.has_output(1)) {
    OCTAVO_ASSIGN(const TensorView out, c.make_output(1, DType::kI64, y.shape));
    indices = out.as<int64_t>();
  }
  // Indices count row-major, or column-major within a plane.
  const bool column_major = !is_global_pool(c.node.kind) && c.node.get_int("storage_order") != 0;
  const auto [step_d, step_h, step_w] = column_major ? Spatial{g.in[1] * g.in[2], 1, g.in[1]}
                                                     : Spatial{g.in[1] * g.in[2], g.in[2], 1};
  if (y.elements() == 0) return {};
  return visit_wide(y.dtype, [&]<class T>() -> Status {
    const T* x = c.in(0).as<const T>();
    T* out = y.as<T>();
    g.for_each(c.pool, [&](int64_t plane, int64_t at, const Span& d, const Span& h, const Span& w) {
      const T* from = x + plane * g.in_plane();
      T best = std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity()
                                           : std::numeric_limits<T>::lowest();
      if (indices == nullptr) {
        for_each_row(g, from, d, h, [&](const T* row) {
          for (int64_t i = w.begin; i < w.end; i += w.step) {
            best = std::max(best, row[i]);
          }
        });
      } else {
        int64_t where = -1;
        for (int64_t z = d.begin; z < d.end; z += d.step) {
          for (int64_t v = h.begin; v < h.end; v += h.step) {
            for (int64_t i = w.begin; i < w.end; i += w.step) {
              const T value = from[(z * g.in[1] + v) * g.in[2] + i];
              if (where >= 0 && !(value > best)) continue;
              best = value;
              where = z * step_d + v * step_h + i * step_w;
            }
          }
        }
        indices[at] = plane * g.in_plane() + std::max<int64_t>(where, 0);
      }
      out[at] = best;
    });
    return {};
  });
}

Status run_max(KernelContext& c) { return run_widened(c, max_wide, widen_number); }

Result<Shape> unpool_shape(const Node& node, const Shape& x) {
  const auto kernel = node.get_ints("kernel_shape");
  OCTAVO_TRY(check_rank(x, kernel.size()));
  OCTAVO_ASSIGN(const Window w, read_window(node, x.dims().subspan(2), kernel));
  Shape out{x[0], x[1]};
  for (int i = 0; i < w.rank; ++i) {
    const auto at = static_cast<size_t>(i);
    if (x[i + 2] < 0) {
      out.push_back(kUnknownDim);
      continue;
    }
    out.push_back((x[i + 2] - 1) * w.stride[at] - w.pad_begin[at] - w.pad_end[at] + w.kernel[at]);
    if (out.back() < 0) return fail(ErrorCode::kShapeMismatch, "pads leave an empty output");
  }
  return out;
}

Result<Shape> explicit_shape(const TensorView& view) {
  OCTAVO_ASSIGN(const std::vector<int64_t> dims, to_int64s(view));
  if (dims.size() > kMaxRank) return fail(ErrorCode::kLimitExceeded, "output_shape is too long");
  for (const int64_t dim : dims) {
    if (dim < 0) return fail(ErrorCode::kShapeMismatch, "output_shape holds ", dim);
  }
  return Shape(dims);
}

Status infer_unpool(InferContext& c) {
  Shape out = Shape::unknown();
  if (c.has_input(2)) {
    if (const Tensor* shape = c.constant(2)) {
      OCTAVO_ASSIGN(out, explicit_shape(shape->view()));
    }
  } else if (c.shape(0).has_rank()) {
    OCTAVO_ASSIGN(out, unpool_shape(c.node, c.shape(0)));
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

// Indices count in the output that the kernel, strides and pads give; with output_shape that
// output lies in the first corner of the larger one.
Status run_unpool(KernelContext& c) {
  const TensorView &x = c.in(0), &indices = c.in(1);
  if (indices.dtype != DType::kI64 || !(indices.shape == x.shape)) {
    return fail(ErrorCode::kShapeMismatch, "indices must be i64 of the input's shape ",
                x.shape.to_string());
  }
  OCTAVO_ASSIGN(const Shape natural, unpool_shape(c.node, x.shape));
  Shape shape = natural;
  if (c.has_input(2)) {
    OCTAVO_ASSIGN(shape, explicit_shape(c.in(2)));
    if (shape.rank() != natural.rank()) {
      return fail(ErrorCode::kShapeMismatch, "output_shape has ", shape.rank(), " dimensions, not ",
                  natural.rank());
    }
  }
  OCTAVO_ASSIGN(const TensorView y, c.make_output(0, x.dtype, shape));
  const auto strides = dense_strides(shape);
  const bool direct = shape == natural;
  const int64_t count = natural.elements();
  Status status;
  visit_dtype_size(x.dtype, [&]<class T>() {
    T* out = y.as<T>();
    std::fill_n(out, y.elements(), T{});
    for (int64_t i = 0; i < x.elements(); ++i) {
      int64_t at = indices.as<const int64_t>()[i];
      if (at < 0 || at >= count) {
        status = fail(ErrorCode::kInvalidData, "index ", at, " is outside an output of shape ",
                      natural.to_string());
        return;
      }
      if (!direct) {
        int64_t rest = at, target = 0;
        bool inside = true;
        for (int d = natural.rank() - 1; d >= 0; --d) {
          inside &= rest % natural[d] < shape[d];
          target += rest % natural[d] * strides[static_cast<size_t>(d)];
          rest /= natural[d];
        }
        if (!inside) continue;
        at = target;
      }
      out[at] = x.as<const T>()[i];
    }
  });
  return status;
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kAveragePool,
     .name = "AveragePool",
     .fields = kAveragePoolFields,
     .infer = infer_pool,
     .reference = run_average,
     .quant = {.policy = QuantPolicy::kRequantize},
     .mixed = kInferHalf,
     .flags = kIntegerReference},
    {.kind = OpKind::kMaxPool,
     .name = "MaxPool",
     .max_outputs = 2,
     .fields = kMaxPoolFields,
     .infer = infer_pool,
     .reference = run_max,
     .quant = {.policy = QuantPolicy::kSameScale},
     .mixed = kInferHalf},
    {.kind = OpKind::kGlobalAveragePool,
     .name = "GlobalAveragePool",
     .infer = infer_global,
     .reference = run_average,
     .quant = {.policy = QuantPolicy::kRequantize},
     .mixed = kInferHalf,
     .flags = kIntegerReference},
    {.kind = OpKind::kGlobalMaxPool,
     .name = "GlobalMaxPool",
     .infer = infer_global,
     .reference = run_max,
     .quant = {.policy = QuantPolicy::kSameScale},
     .mixed = kInferHalf},
    {.kind = OpKind::kLpPool,
     .name = "LpPool",
     .fields = kLpPoolFields,
     .infer = infer_pool,
     .reference = in_double<run_lp>},
    {.kind = OpKind::kGlobalLpPool,
     .name = "GlobalLpPool",
     .fields = kGlobalLpPoolFields,
     .infer = infer_global,
     .reference = in_double<run_lp>},
    {.kind = OpKind::kMaxUnpool,
     .name = "MaxUnpool",
     .min_inputs = 2,
     .max_inputs = 3,
     .fields = kMaxUnpoolFields,
     .infer = infer_unpool,
     .reference = run_unpool},
};

}  // namespace

std::span<const OpDef> pool_ops() { return kOps; }

}  // namespace octavo::ops
