// Operators that are one primitive and nothing else: pooling, sums, products and matrix products of
// half-precision values, which the portable backend would widen to float32 and round again;
// functions, softmax and layer normalization of float32.
#include <algorithm>

#include "native/onednn/epilogue.h"
#include "native/onednn/ops.h"
#include "native/onednn/primitive_step.h"
#include "runtime/kernels/half.h"
#include "runtime/kernels/kernel_step.h"

namespace octavo::onednn {
namespace {

bool is_native_half(const PlanGraph& graph, ValueId id) {
  return id != kNoValue && !graph.is_constant(id) && kernels::is_half(graph.info(id).dtype) &&
         current_device()->computes_in(graph.info(id).dtype);
}

std::unique_ptr<PrimitiveStep> make_step(const Node& node, const dnnl::primitive& primitive,
                                         const dnnl::memory::desc& scratchpad,
                                         std::vector<PrimitiveStep::Binding> bindings,
                                         const char* kernel,
                                         std::vector<std::pair<int, dnnl::memory>> constants = {}) {
  auto step = std::make_unique<PrimitiveStep>(primitive, scratchpad, bindings, constants);
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

// Of two computed tensors, whose leading dimensions oneDNN broadcasts as numpy does.
bool supports_product(const PlanGraph& graph, const Node& node) {
  const ValueId a = node.input(0), b = node.input(1);
  return is_native_half(graph, a) && is_native_half(graph, b) &&
         graph.info(a).dtype == graph.info(b).dtype &&
         graph.info(a).dtype == graph.info(node.output(0)).dtype &&
         graph.info(a).shape.rank() >= 2 &&
         graph.info(a).shape.rank() == graph.info(b).shape.rank() &&
         graph.info(a).shape.elements() > 0 && graph.info(node.output(0)).shape.elements() > 0;
}

Result<std::unique_ptr<Step>> create_product(const PlanGraph& graph, const Node& node, Layout) {
  return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
    const auto desc = [&](ValueId id) {
      return desc_of(graph.info(id).shape, graph.info(id).dtype, Layout::kPlain);
    };
    const auto a = desc(node.input(0)), b = desc(node.input(1)), y = desc(node.output(0));
    const dnnl::matmul::primitive_desc description(current_device()->engine(), a, b, y,
                                                   user_scratchpad());
    return make_step(
        node, dnnl::matmul(description), description.scratchpad_desc(),
        {{DNNL_ARG_SRC, false, 0, a}, {DNNL_ARG_WEIGHTS, false, 1, b}, {DNNL_ARG_DST, true, 0, y}},
        description.impl_info_str());
  });
}

bool is_f32_of_one_input(const PlanGraph& graph, const Node& node) {
  const ValueId x = node.input(0);
  return kernels::is_f32(graph, x) && kernels::is_f32(graph, node.output(0)) &&
         !graph.is_constant(x) && graph.info(x).shape.rank() > 0 &&
         graph.info(x).shape.elements() > 0;
}

bool is_last_axis(const PlanGraph& graph, const Node& node) {
  const int rank = graph.info(node.input(0)).shape.rank();
  return normalize_axis(node.get_int("axis"), rank) == rank - 1;
}

// All elements as one row, or as rows of the last dimension.
dnnl::memory::desc rows_of(const Shape& x, int64_t length) {
  return desc_of(Shape{x.elements() / length, length}, DType::kF32, Layout::kPlain);
}

Result<std::unique_ptr<Step>> create_function(const PlanGraph& graph, const Node& node, Layout) {
  const Shape& x = graph.info(node.input(0)).shape;
  const Eltwise function = *eltwise_of(node);
  return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
    const auto desc = rows_of(x, x.elements());
    const dnnl::eltwise_forward::primitive_desc description(
        current_device()->engine(), dnnl::prop_kind::forward_inference, function.algorithm, desc,
        desc, function.alpha, function.beta, user_scratchpad());
    return make_step(node, dnnl::eltwise_forward(description), description.scratchpad_desc(),
                     {{DNNL_ARG_SRC, false, 0, desc}, {DNNL_ARG_DST, true, 0, desc}},
                     description.impl_info_str());
  });
}

bool supports_softmax(const PlanGraph& graph, const Node& node) {
  return is_f32_of_one_input(graph, node) && is_last_axis(graph, node);
}

Result<std::unique_ptr<Step>> create_softmax(const PlanGraph& graph, const Node& node, Layout) {
  const Shape& x = graph.info(node.input(0)).shape;
  return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
    const auto desc = rows_of(x, x.back());
    const dnnl::softmax_forward::primitive_desc description(
        current_device()->engine(), dnnl::prop_kind::forward_inference,
        dnnl::algorithm::softmax_accurate, desc, desc, 1, user_scratchpad());
    return make_step(node, dnnl::softmax_forward(description), description.scratchpad_desc(),
                     {{DNNL_ARG_SRC, false, 0, desc}, {DNNL_ARG_DST, true, 0, desc}},
                     description.impl_info_str());
  });
}

bool supports_layer_norm(const PlanGraph& graph, const Node& node) {
  if (!is_f32_of_one_input(graph, node) || !is_last_axis(graph, node)) return false;
  const int64_t length = graph.info(node.input(0)).shape.back();
  for (size_t i = 1; i < 3; ++i) {
    const ValueId id = node.input(i);
    if (id == kNoValue && i == 2) continue;
    if (!graph.is_constant(id) || !kernels::is_f32(graph, id) ||
        graph.info(id).shape.elements() != length) {
      return false;
    }
  }
  return node.output(1) == kNoValue && node.output(2) == kNoValue;
}

Result<std::unique_ptr<Step>> create_layer_norm(const PlanGraph& graph, const Node& node, Layout) {
  const Shape& x = graph.info(node.input(0)).shape;
  return guarded(node, [&]() -> Result<std::unique_ptr<Step>> {
    const auto desc = rows_of(x, x.back());
    const dnnl::memory::desc factors = desc_of(Shape{x.back()}, DType::kF32, Layout::kPlain);
    std::vector<std::pair<int, dnnl::memory>> constants;
    auto flags = dnnl::normalization_flags::none;
    const auto add = [&](size_t input, dnnl::normalization_flags flag, int argument) {
      if (node.input(input) == kNoValue) return;
      flags |= flag;
      const Tensor& values = graph.info(node.input(input)).constant;
      constants.emplace_back(argument, current_device()->upload(factors, values.raw()));
    };
    add(1, dnnl::normalization_flags::use_scale, DNNL_ARG_SCALE);
    add(2, dnnl::normalization_flags::use_shift, DNNL_ARG_SHIFT);
    const dnnl::layer_normalization_forward::primitive_desc description(
        current_device()->engine(), dnnl::prop_kind::forward_inference, desc, desc,
        node.get_float("epsilon"), flags, user_scratchpad());
    return make_step(node, dnnl::layer_normalization_forward(description),
                     description.scratchpad_desc(),
                     {{DNNL_ARG_SRC, false, 0, desc}, {DNNL_ARG_DST, true, 0, desc}},
                     description.impl_info_str(), std::move(constants));
  });
}

const PrimitiveDef kRows[] = {
    {"gelu", OpKind::kGelu, ClaimLayout::kFollow, is_f32_of_one_input, create_function},
    {"softmax", OpKind::kSoftmax, ClaimLayout::kPlain, supports_softmax, create_softmax},
    {"layer_norm", OpKind::kLayerNormalization, ClaimLayout::kPlain, supports_layer_norm,
     create_layer_norm},
    {"max_pool", OpKind::kMaxPool, ClaimLayout::kChannelsLast, supports_pool, create_pool},
    {"max_pool", OpKind::kGlobalMaxPool, ClaimLayout::kChannelsLast, supports_pool, create_pool},
    {"average_pool", OpKind::kAveragePool, ClaimLayout::kChannelsLast, supports_pool, create_pool},
    {"average_pool", OpKind::kGlobalAveragePool, ClaimLayout::kChannelsLast, supports_pool,
     create_pool},
    {"product", OpKind::kMatMul, ClaimLayout::kPlain, supports_product, create_product},
    {"add", OpKind::kAdd, ClaimLayout::kFollow, supports_binary, create_binary},
    {"mul", OpKind::kMul, ClaimLayout::kFollow, supports_binary, create_binary},
};

}  // namespace

std::span<const PrimitiveDef> simple_primitives() { return kRows; }

}  // namespace octavo::onednn
