#include "core/quantization/moments.h"

#include <algorithm>

#include "runtime/ops/convolve.h"

namespace octavo {

void Moments::scale(std::span<const float> factors) {
  if (factors.size() != groups * columns) return;
  for (size_t g = 0; g < groups; ++g) {
    const float* f = factors.data() + g * columns;
    for (size_t i = 0; i < columns; ++i) {
      totals[g * columns + i] *= f[i];
      double* row = sums.data() + (g * columns + i) * columns;
      for (size_t j = 0; j < columns; ++j) row[j] *= static_cast<double>(f[i]) * f[j];
    }
  }
}

Result<MatrixProduct> MatrixProduct::create(std::optional<Tensor> b, SessionOptions options) {
  Graph graph;
  const Shape any{kUnknownDim, kUnknownDim};
  const auto add = [&](const char* name, const Shape& shape) {
    return graph.add_value({.name = name, .dtype = DType::kF32, .shape = shape});
  };
  graph.inputs.push_back(add("a", any));
  const ValueId right = add("b", b ? b->shape() : any);
  if (b) {
    graph.value(right).constant = *std::move(b);
  } else {
    graph.inputs.push_back(right);
  }
  graph.outputs.push_back(add("product", any));
  graph.nodes.push_back({.kind = OpKind::kMatMul,
                         .inputs = {graph.inputs[0], right},
                         .outputs = graph.outputs,
                         .name = "product"});
  OCTAVO_ASSIGN(Session session, Session::create(std::make_shared<const Graph>(std::move(graph)),
                                                 std::move(options)));
  return MatrixProduct(std::move(session));
}

Result<std::span<const float>> MatrixProduct::run(const Tensor& a, const Tensor* b) {
  std::vector<TensorView> inputs = {a.view()}, outputs(1);
  if (b != nullptr) inputs.push_back(b->view());
  OCTAVO_TRY(session_.run(inputs, outputs));
  return outputs[0].span<const float>();
}

size_t MomentsObserver::watch(const RowSource& source) {
  const auto same = [&](const Layer& layer) {
    return layer.source.value == source.value && layer.source.axis == source.axis &&
           !layer.source.conv && !source.conv;
  };
  const auto at = static_cast<size_t>(std::ranges::find_if(layers_, same) - layers_.begin());
  if (at == layers_.size()) layers_.push_back({source, {}});
  return at;
}

const Moments* MomentsObserver::moments(size_t layer) const {
  const Moments& found = layers_[layer].moments;
  return found.rows == 0 ? nullptr : &found;
}

void MomentsObserver::scale(ValueId value, std::span<const float> factors) {
  for (Layer& layer : layers_) {
    if (layer.source.value != value || factors.empty()) continue;
    Moments& m = layer.moments;
    // Each channel's factor for all positions of a kernel.
    std::vector<float> of_columns(m.groups * m.columns);
    const size_t kernel = std::max<size_t>(of_columns.size() / factors.size(), 1);
    for (size_t i = 0; i < of_columns.size(); ++i) {
      of_columns[i] = factors[std::min(i / kernel, factors.size() - 1)];
    }
    m.scale(of_columns);
  }
}

bool MomentsObserver::wants(ValueId value) const {
  return std::ranges::any_of(layers_,
                             [&](const Layer& layer) { return layer.source.value == value; });
}

Status MomentsObserver::on_value(ValueId value, const TensorView& tensor) {
  if (tensor.dtype != DType::kF32 || tensor.elements() == 0) return {};
  for (Layer& layer : layers_) {
    if (layer.source.value == value) OCTAVO_TRY(add(layer, tensor));
  }
  return {};
}

namespace {

// Rows along one axis of a tensor.
Result<Tensor> axis_rows(const TensorView& tensor, int wanted) {
  const int rank = tensor.shape.rank();
  const Shape stored = physical_shape(tensor.shape, tensor.layout);
  const int axis = physical_axis(wanted < 0 ? rank - 1 : wanted, rank, tensor.layout);
  const int64_t n = stored[axis], inner = stored.elements(axis + 1, rank);
  const int64_t rows = tensor.elements() / n, taken = std::min(rows, MomentsObserver::kRows);
  OCTAVO_ASSIGN(Tensor made, Tensor::create(DType::kF32, Shape{taken, n}));
  float* to = made.data<float>().data();
  for (int64_t t = 0; t < taken; ++t) {
    const int64_t row = t * rows / taken;
    const float* from = tensor.as<const float>() + row / inner * n * inner + row % inner;
    for (int64_t i = 0; i < n; ++i) *to++ = from[i * inner];
  }
  return made;
}

// Patches of a convolution's input, zeros where they lie on padding.
Result<Tensor> patch_rows(const TensorView& tensor, const Node& node, const Shape& weight) {
  OCTAVO_ASSIGN(const ops::ConvShape s, ops::conv_shape(node, tensor.shape, weight));
  const int64_t channels = s.groups * s.in_channels, plane = s.in[0] * s.in[1] * s.in[2];
  const bool last = tensor.layout == Layout::kChannelsLast;
  const int64_t channel_step = last ? 1 : plane, pixel_step = last ? channels : 1;
  const auto& [kd, kh, kw] = s.window.kernel;
  const int64_t kernel = kd * kh * kw, pixels = s.out[0] * s.out[1] * s.out[2];
  const int64_t rows = s.batch * pixels, taken = std::min(rows, MomentsObserver::kRows);
  OCTAVO_ASSIGN(Tensor made, Tensor::create(DType::kF32, Shape{taken, channels * kernel}));
  for (int64_t t = 0; t < taken; ++t) {
    const int64_t row = t * rows / taken, pixel = row % pixels;
    const float* image = tensor.as<const float>() + row / pixels * channels * plane;
    float* to = made.data<float>().data() + t * channels * kernel;
    const ops::Spatial out = {pixel / (s.out[1] * s.out[2]), pixel / s.out[2] % s.out[1],
                              pixel % s.out[2]};
    for (int64_t k = 0; k < kernel; ++k) {
      const ops::Spatial tap = {k / (kh * kw), k / kw % kh, k % kw};
      int64_t at = 0;
      bool inside = true;
      for (size_t a = 0; a < tap.size(); ++a) {
        const int64_t position =
            out[a] * s.window.stride[a] + tap[a] * s.window.dilation[a] - s.window.pad_begin[a];
        inside = inside && position >= 0 && position < s.in[a];
        at = at * s.in[a] + position;
      }
      if (!inside) continue;
      const float* from = image + at * pixel_step;
      for (int64_t c = 0; c < channels; ++c) to[c * kernel + k] = from[c * channel_step];
    }
  }
  return made;
}

}  // namespace

Status MomentsObserver::add(Layer& layer, const TensorView& tensor) {
  const RowSource& source = layer.source;
  OCTAVO_ASSIGN(const Tensor rows, source.conv ? patch_rows(tensor, *source.conv, source.weight)
                                               : axis_rows(tensor, source.axis));
  if (rows.elements() == 0) return {};
  Moments& m = layer.moments;
  const auto width = static_cast<size_t>(rows.shape()[1]);
  if (m.columns == 0) {
    m.groups = !source.conv ? 1 : static_cast<size_t>(source.conv->get_int("group"));
    m.columns = width / m.groups;
    m.sums.assign(m.groups * m.columns * m.columns, 0);
    m.totals.assign(m.groups * m.columns, 0);
  }
  if (m.groups * m.columns != width) {
    return fail(ErrorCode::kShapeMismatch, "the number of channels changes from ",
                m.groups * m.columns, " to ", width);
  }
  return add_rows(m, rows);
}

Status MomentsObserver::add_rows(Moments& m, const Tensor& rows) {
  const auto taken = static_cast<size_t>(rows.shape()[0]);
  const size_t width = m.groups * m.columns, n = m.columns;
  const float* x = rows.data<const float>().data();
  m.rows += static_cast<int64_t>(taken);
  for (size_t t = 0; t < taken; ++t) {
    for (size_t i = 0; i < width; ++i) m.totals[i] += x[t * width + i];
  }
  if (m.groups > 1) {  // small ones, mostly nine columns
    for (size_t t = 0; t < taken; ++t) {
      for (size_t i = 0; i < width; ++i) {
        const double x_i = x[t * width + i];
        const float* group = x + t * width + i / n * n;
        double* sums = m.sums.data() + i * n;
        for (size_t j = 0; j < n; ++j) sums[j] += x_i * group[j];
      }
    }
    return {};
  }
  OCTAVO_ASSIGN(Tensor transposed,
                Tensor::create(DType::kF32, Shape{rows.shape()[1], rows.shape()[0]}));
  float* to = transposed.data<float>().data();
  for (size_t t = 0; t < taken; ++t) {
    for (size_t i = 0; i < n; ++i) to[i * taken + t] = x[t * n + i];
  }
  if (!product_) {
    OCTAVO_ASSIGN(product_, MatrixProduct::create(std::nullopt, options_));
  }
  OCTAVO_ASSIGN(const auto sums, product_->run(transposed, &rows));
  for (size_t i = 0; i < sums.size(); ++i) m.sums[i] += sums[i];
  return {};
}

}  // namespace octavo
