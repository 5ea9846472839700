#include <algorithm>

#include "native/onednn/epilogue.h"
#include "native/onednn/ops.h"
#include "native/onednn/primitive_step.h"
#include "runtime/kernels/half.h"
#include "runtime/ops/convolve.h"

namespace octavo::onednn {

bool supports_conv(const PlanGraph& graph, const Node& node) {
  const ValueId weight = node.input(1);
  if (node.kind != OpKind::kConv || !graph.is_constant(weight) || !supports_dtypes(graph, node))
    return false;
  const int rank = graph.info(weight).shape.rank();
  if (rank < 3 || rank > 5) return false;
  const ValueId residual = node.input(3);
  return residual == kNoValue || graph.info(residual).shape == graph.info(node.output(0)).shape;
}

namespace {

Result<std::unique_ptr<Step>> create(const PlanGraph& graph, const Node& node, Layout layout,
                                     const std::optional<Eltwise>& tail, ValueId output) {
  const TensorInfo &x = graph.info(node.input(0)), &w = graph.info(node.input(1));
  const TensorInfo& y = graph.info(node.output(0));
  const int64_t group = node.get_int("group"), channels = w.shape[0];
  OCTAVO_ASSIGN(Epilogue epilogue, make_epilogue(graph, node, channels, group > 1 ? 3 : 1, tail));
  OCTAVO_ASSIGN(const ops::Window window,
                ops::read_window(node, x.shape.dims().subspan(2), w.shape.dims().subspan(2)));
  return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
    using dnnl::memory;
    memory::dims weight_dims(w.shape.begin(), w.shape.end());
    if (group > 1) {
      weight_dims[0] /= group;
      weight_dims.insert(weight_dims.begin(), group);
    }
    Shape weight_shape;
    for (const int64_t dim : weight_dims) weight_shape.push_back(dim);
    const memory::desc weight_plain = desc_of(weight_shape, w.dtype, Layout::kPlain);
    const memory::desc weight_any(weight_dims, data_type_of(w.dtype), memory::format_tag::any);
    const memory::desc src = desc_of(x.shape, x.dtype, layout),
                       dst = desc_of(y.shape, y.dtype, layout);
    memory::dims strides, dilates, begin, end;
    for (int d = 0; d < window.rank; ++d) {
      const auto i = static_cast<size_t>(d);
      strides.push_back(window.stride[i]);
      dilates.push_back(window.dilation[i] - 1);
      begin.push_back(window.pad_begin[i]);
      end.push_back(window_end_pad(window, d, x.shape[d + 2], y.shape[d + 2]));
    }
    const dnnl::convolution_forward::primitive_desc description(
        current_device()->engine(), dnnl::prop_kind::forward_inference,
        dnnl::algorithm::convolution_direct, src, weight_any, bias_desc(epilogue, {channels}), dst,
        strides, dilates, begin, end, epilogue.attributes);
    auto step = make_weighted_step<dnnl::convolution_forward>(description, epilogue, weight_plain,
                                                              w.constant.raw(), node, output);
    if (node.input(3) != kNoValue) {
      step->inputs.push_back(node.input(3));
      step->set_sum_input(1);
    }
    return step;
  });
}

Result<std::unique_ptr<Step>> create_conv(const PlanGraph& graph, const Node& node, Layout layout) {
  return create(graph, node, layout, {}, node.output(0));
}
Result<std::unique_ptr<Step>> create_conv_with_tail(const PlanGraph& graph, const Node& node,
                                                    Layout layout, const Eltwise& tail,
                                                    ValueId output) {
  return create(graph, node, layout, tail, output);
}

// Of half-precision values, which the portable backend would widen; it computes others as fast.
bool supports_conv_transpose(const PlanGraph& graph, const Node& node) {
  const ValueId weight = node.input(1);
  if (!graph.is_constant(weight) || !kernels::is_half(graph.info(weight).dtype)) return false;
  const int rank = graph.info(weight).shape.rank();
  return rank >= 3 && rank <= 5 && graph.info(node.output(0)).shape.elements() > 0 &&
         supports_dtypes(graph, node);
}

Result<std::unique_ptr<Step>> create_conv_transpose(const PlanGraph& graph, const Node& node,
                                                    Layout layout) {
  const TensorInfo &x = graph.info(node.input(0)), &w = graph.info(node.input(1));
  const TensorInfo& y = graph.info(node.output(0));
  const int64_t group = node.get_int("group"), channels = y.shape[1];
  OCTAVO_ASSIGN(Epilogue epilogue, make_epilogue(graph, node, channels, 0));
  OCTAVO_ASSIGN(const ops::ConvShape shape, ops::conv_transpose_shape(node, x.shape, w.shape));
  return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
    using dnnl::memory;
    // ONNX has the weights as [group, in, out, kernel], oneDNN as [group, out, in, kernel].
    const auto dense = dense_strides(w.shape);
    memory::dims weight_dims, weight_strides;
    if (group > 1) {
      weight_dims.push_back(group);
      weight_strides.push_back(shape.in_channels * dense[0]);
    }
    for (const int axis : {1, 0}) {
      weight_dims.push_back(axis == 0 ? shape.in_channels : shape.out_channels);
      weight_strides.push_back(dense[static_cast<size_t>(axis)]);
    }
    memory::dims strides, dilates, begin, end;
    for (int axis = 2; axis < w.shape.rank(); ++axis) {
      weight_dims.push_back(w.shape[axis]);
      weight_strides.push_back(dense[static_cast<size_t>(axis)]);
      const int d = axis + 3 - w.shape.rank();  // of three
      const auto i = static_cast<size_t>(d);
      strides.push_back(shape.window.stride[i]);
      dilates.push_back(shape.window.dilation[i] - 1);
      begin.push_back(shape.window.pad_begin[i]);
      end.push_back((shape.in[i] - 1) * strides.back() + shape.window.extent(d) - begin.back() -
                    shape.out[i]);
    }
    const memory::desc weight_plain(weight_dims, data_type_of(w.dtype), weight_strides);
    const memory::desc weight_any(weight_dims, data_type_of(w.dtype), memory::format_tag::any);
    const dnnl::deconvolution_forward::primitive_desc description(
        current_device()->engine(), dnnl::prop_kind::forward_inference,
        dnnl::algorithm::deconvolution_direct, desc_of(x.shape, x.dtype, layout), weight_any,
        bias_desc(epilogue, {channels}), desc_of(y.shape, y.dtype, layout), strides, dilates, begin,
        end, epilogue.attributes);
    return make_weighted_step<dnnl::deconvolution_forward>(description, epilogue, weight_plain,
                                                           w.constant.raw(), node, node.output(0));
  });
}

const PrimitiveDef kRows[] = {
    {"conv", OpKind::kConv, ClaimLayout::kChannelsLast, supports_conv, create_conv,
     create_conv_with_tail},
    {"conv_transpose", OpKind::kConvTranspose, ClaimLayout::kChannelsLast, supports_conv_transpose,
     create_conv_transpose},
};

}  // namespace

std::span<const PrimitiveDef> conv_primitives() { return kRows; }

}  // namespace octavo::onednn
