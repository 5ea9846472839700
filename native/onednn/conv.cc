#include <algorithm>

#include "native/onednn/epilogue.h"
#include "native/onednn/ops.h"
#include "native/onednn/primitive_step.h"
#include "runtime/ops/spatial.h"

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

const PrimitiveDef kRows[] = {
    {"conv", OpKind::kConv, ClaimLayout::kChannelsLast, supports_conv, create_conv,
     create_conv_with_tail},
};

}  // namespace

std::span<const PrimitiveDef> conv_primitives() { return kRows; }

}  // namespace octavo::onednn
