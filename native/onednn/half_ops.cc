// Pooling, softmax and sums of half-precision values, which the portable backend would widen to
// float32 and round again.
#include <algorithm>

#include "native/onednn/epilogue.h"
#include "native/onednn/ops.h"
#include "native/onednn/primitive_step.h"
#include "runtime/kernels/half.h"

namespace octavo::onednn {
namespace {

bool is_native_half(const PlanGraph& graph, ValueId id) {
  return id != kNoValue && !graph.is_constant(id) && kernels::is_half(graph.info(id).dtype) &&
         current_device()->computes_in(graph.info(id).dtype);
}

std::unique_ptr<PrimitiveStep> make_step(const Node& node, const dnnl::primitive& primitive,
                                         const dnnl::memory::desc& scratchpad,
                                         std::vector<PrimitiveStep::Binding> bindings,
                                         const char* kernel) {
  auto step = std::make_unique<PrimitiveStep>(primitive, scratchpad, bindings,
                                              std::vector<std::pair<int, dnnl::memory>>{});
  step->kernel = kernel;
  for (const PrimitiveStep::Binding& binding : bindings) {
    if (!binding.is_output) step->inputs.push_back(node.input(binding.index));
  }
  step->outputs = {node.output(0)};
  return step;
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

bool supports_pool(const PlanGraph& graph, const Node& node) {
  if (!is_native_half(graph, node.input(0)) || node.output(1) != kNoValue) return false;
  const Shape &x = graph.info(node.input(0)).shape, &y = graph.info(node.output(0)).shape;
  if (x.rank() < 3 || x.rank() > 5 || x.elements() == 0 || y.elements() == 0) return false;
  const auto window = ops::pool_window(node, x);
  if (!window) return false;
  for (int d = 0; d < window->rank; ++d) {
    // oneDNN has no windows that lie in the padding alone, and counts in the mean what ceil_mode
    // adds behind the padding.
    const auto i = static_cast<size_t>(d);
    const int64_t end = window_end_pad(*window, d, x[d + 2], y[d + 2]);
    if (end >= window->kernel[i] || window->dilation[i] != 1 ||
        (end > window->pad_end[i] && ops::is_average_pool(node.kind))) {
      return false;
    }
  }
  return true;
}

Result<std::unique_ptr<Step>> create_pool(const PlanGraph& graph, const Node& node, Layout layout) {
  const TensorInfo &x = graph.info(node.input(0)), &y = graph.info(node.output(0));
  OCTAVO_ASSIGN(const ops::Window window, ops::pool_window(node, x.shape));
  return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
    dnnl::memory::dims kernel, strides, dilates, begin, end;
    for (int d = 0; d < window.rank; ++d) {
      const auto i = static_cast<size_t>(d);
      kernel.push_back(window.kernel[i]);
      strides.push_back(window.stride[i]);
      dilates.push_back(0);
      begin.push_back(window.pad_begin[i]);
      end.push_back(window_end_pad(window, d, x.shape[d + 2], y.shape[d + 2]));
    }
    const auto algorithm =
        !ops::is_average_pool(node.kind) ? dnnl::algorithm::pooling_max
        : node.kind == OpKind::kAveragePool && node.get_int("count_include_pad") != 0
            ? dnnl::algorithm::pooling_avg_include_padding
            : dnnl::algorithm::pooling_avg_exclude_padding;
    const auto src = desc_of(x.shape, x.dtype, layout), dst = desc_of(y.shape, y.dtype, layout);
    const dnnl::pooling_forward::primitive_desc description(
        current_device()->engine(), dnnl::prop_kind::forward_inference, algorithm, src, dst,
        strides, kernel, dilates, begin, end, user_scratchpad());
    return make_step(node, dnnl::pooling_forward(description), description.scratchpad_desc(),
                     {{DNNL_ARG_SRC, false, 0, src}, {DNNL_ARG_DST, true, 0, dst}},
                     description.impl_info_str());
  });
}

// x * sigmoid(x) and the like, which the portable backend computes in one step.
bool is_gate(const PlanGraph& graph, const Node& node) {
  return std::ranges::any_of(graph.graph.nodes, [&](const Node& function) {
    return function.inputs.size() == 1 && function.outputs.size() == 1 &&
           std::ranges::contains(node.inputs, function.inputs[0]) &&
           std::ranges::contains(node.inputs, function.outputs[0]);
  });
}

// Of two computed tensors of one shape.
bool supports_binary(const PlanGraph& graph, const Node& node) {
  const ValueId a = node.input(0), b = node.input(1);
  return node.inputs.size() == 2 && is_native_half(graph, a) && is_native_half(graph, b) &&
         graph.info(a).dtype == graph.info(b).dtype && graph.info(a).shape == graph.info(b).shape &&
         graph.info(a).shape.rank() > 0 && graph.info(a).shape.elements() > 0 &&
         !is_gate(graph, node);
}

Result<std::unique_ptr<Step>> create_binary(const PlanGraph& graph, const Node& node,
                                            Layout layout) {
  const TensorInfo &x = graph.info(node.input(0)), &y = graph.info(node.output(0));
  return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
    const auto src = desc_of(x.shape, x.dtype, layout), dst = desc_of(y.shape, y.dtype, layout);
    const auto algorithm =
        node.kind == OpKind::kAdd ? dnnl::algorithm::binary_add : dnnl::algorithm::binary_mul;
    const dnnl::binary::primitive_desc description(current_device()->engine(), algorithm, src, src,
                                                   dst, user_scratchpad());
    return make_step(node, dnnl::binary(description), description.scratchpad_desc(),
                     {{DNNL_ARG_SRC_0, false, 0, src},
                      {DNNL_ARG_SRC_1, false, 1, src},
                      {DNNL_ARG_DST, true, 0, dst}},
                     description.impl_info_str());
  });
}

const PrimitiveDef kRows[] = {
    {"max_pool", OpKind::kMaxPool, ClaimLayout::kChannelsLast, supports_pool, create_pool},
    {"max_pool", OpKind::kGlobalMaxPool, ClaimLayout::kChannelsLast, supports_pool, create_pool},
    {"average_pool", OpKind::kAveragePool, ClaimLayout::kChannelsLast, supports_pool, create_pool},
    {"average_pool", OpKind::kGlobalAveragePool, ClaimLayout::kChannelsLast, supports_pool,
     create_pool},
    {"add", OpKind::kAdd, ClaimLayout::kFollow, supports_binary, create_binary},
    {"mul", OpKind::kMul, ClaimLayout::kFollow, supports_binary, create_binary},
};

}  // namespace

std::span<const PrimitiveDef> half_primitives() { return kRows; }

}  // namespace octavo::onednn
