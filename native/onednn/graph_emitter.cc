#include "native/onednn/graph_emitter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "native/onednn/ops.h"
#include "native/onednn/primitive_step.h"
#include "runtime/ops/common.h"
#include "runtime/ops/spatial.h"
#include "runtime/requantize.h"

namespace octavo::onednn {
namespace {

using graph_op = dnnl::graph::op;
using dnnl::graph::logical_tensor;

logical_tensor::data_type graph_type(DType dtype) {
  return static_cast<logical_tensor::data_type>(data_type_of(dtype));
}

logical_tensor::dims dims_of(const Shape& shape) { return {shape.begin(), shape.end()}; }

void set_quant(graph_op& op, const QuantParams& quant, int64_t axis) {
  op.set_attr(graph_op::attr::scales, quant.scale);
  op.set_attr(graph_op::attr::zps,
              std::vector<int64_t>(quant.zero_point.begin(), quant.zero_point.end()));
  op.set_attr<std::string>(graph_op::attr::qtype,
                           quant.per_tensor() ? "per_tensor" : "per_channel");
  op.set_attr<int64_t>(graph_op::attr::axis, quant.per_tensor() ? 1 : axis);
}

void set_bounds(graph_op& op, const ActivationBounds& bounds) {
  constexpr float kMost = std::numeric_limits<float>::max();
  op.set_attr(graph_op::attr::min, std::max(bounds.lo, -kMost));
  op.set_attr(graph_op::attr::max, std::min(bounds.hi, kMost));
}

bool is_relu(const ActivationBounds& bounds) { return bounds.lo == 0 && std::isinf(bounds.hi); }

struct SimpleOp {
  OpKind kind;
  graph_op::kind op;
  size_t inputs;
};
constexpr SimpleOp kSimpleOps[] = {
    {OpKind::kRelu, graph_op::kind::ReLU, 1}, {OpKind::kSigmoid, graph_op::kind::Sigmoid, 1},
    {OpKind::kTanh, graph_op::kind::Tanh, 1}, {OpKind::kHardSwish, graph_op::kind::HardSwish, 1},
    {OpKind::kAdd, graph_op::kind::Add, 2},   {OpKind::kMul, graph_op::kind::Multiply, 2},
};

const SimpleOp* find_simple(OpKind kind) {
  const auto found = std::ranges::find(kSimpleOps, kind, &SimpleOp::kind);
  return found == std::end(kSimpleOps) ? nullptr : found;
}

// All operands computed, of one shape, and either all quantized to 8 bits or all of one float type.
bool supports_simple(const PlanGraph& graph, const Node& node, const SimpleOp& simple) {
  if (node.inputs.size() != simple.inputs) return false;
  const TensorInfo& y = graph.info(node.output(0));
  const auto is_byte = [](const TensorInfo& info) {
    return (info.dtype == DType::kU8 || info.dtype == DType::kI8) && info.quant != nullptr &&
           info.quant->per_tensor();
  };
  const bool quantized = is_byte(y);
  if (!quantized && (y.quant != nullptr || !current_device()->computes_in(y.dtype))) return false;
  return y.shape.rank() >= 2 && std::ranges::all_of(node.inputs, [&](ValueId id) {
           if (id == kNoValue || graph.is_constant(id)) return false;
           const TensorInfo& x = graph.info(id);
           return x.shape == y.shape && (quantized ? is_byte(x) : x.dtype == y.dtype);
         });
}

}  // namespace

bool GraphEmitter::is_compute(const Node& node) {
  return node.kind == OpKind::kConv || node.kind == OpKind::kMatMul || node.kind == OpKind::kGemm;
}

bool GraphEmitter::supports(const PlanGraph& graph, const Node& node, Layout layout) {
  if (const SimpleOp* simple = find_simple(node.kind)) {
    return supports_simple(graph, node, *simple);
  }
  if (supports_conv(graph, node)) return layout == Layout::kChannelsLast;
  return supports_matmul(graph, node) &&
         (layout == Layout::kPlain || graph.info(node.input(0)).shape.rank() == 2);
}

// A value of the plan, dims in storage order (data_format NXC). The tensor's id is the value's.
logical_tensor GraphEmitter::value(ValueId id) const {
  const TensorInfo& info = graph_.info(id);
  const Layout layout = info.shape.rank() < 3 ? Layout::kPlain : layout_;
  return {static_cast<size_t>(id), graph_type(info.dtype),
          dims_of(physical_shape(info.shape, layout)), logical_tensor::layout_type::strided};
}

// The value under another id.
logical_tensor GraphEmitter::alias(ValueId id) {
  const logical_tensor same = value(id);
  aliases_[next_id_] = id;
  return {next_id_++, same.get_data_type(), same.get_dims(), logical_tensor::layout_type::strided};
}

ValueId GraphEmitter::value_of(size_t tensor_id) const {
  if (tensor_id < graph_.infos.size()) return static_cast<ValueId>(tensor_id);
  const auto found = aliases_.find(tensor_id);
  return found == aliases_.end() ? kNoValue : found->second;
}

logical_tensor GraphEmitter::constant(const Shape& shape, DType dtype, const void* data) {
  constants_[next_id_] = data;
  return {next_id_++, graph_type(dtype), dims_of(shape), logical_tensor::layout_type::strided,
          logical_tensor::property_type::constant};
}

// A float tensor between two operators of a node.
logical_tensor GraphEmitter::between(const logical_tensor& like) {
  const auto type = like.get_data_type();
  const bool is_float =
      type == logical_tensor::data_type::bf16 || type == logical_tensor::data_type::f16;
  return {next_id_++, is_float ? type : logical_tensor::data_type::f32, like.get_dims(),
          logical_tensor::layout_type::strided};
}

void GraphEmitter::add(graph_op::kind kind, const std::vector<logical_tensor>& inputs,
                       const std::vector<logical_tensor>& outputs, const SetAttributes& set) {
  graph_op op(ops_.size(), kind, concat("op", ops_.size()));
  op.add_inputs(inputs);
  op.add_outputs(outputs);
  if (set) set(op);
  ops_.push_back(std::move(op));
  op_nodes_.push_back(current_);
}

logical_tensor GraphEmitter::dequantize(const logical_tensor& in, const QuantParams& quant,
                                        int64_t axis) {
  const logical_tensor out = between(in);
  add(graph_op::kind::Dequantize, {in}, {out}, [&](graph_op& op) { set_quant(op, quant, axis); });
  return out;
}

// An input as floats: each reader has a Dequantize of its own. What the node reads twice, for
// instance to convolve it and to add it to the result, gets a second name: oneDNN 3.7 gives wrong
// sums where one tensor is both of a partition's inputs.
logical_tensor GraphEmitter::real(const Node& node, size_t input) {
  const ValueId id = node.input(input);
  const auto before = std::span(node.inputs).first(input);
  const logical_tensor tensor = std::ranges::contains(before, id) ? alias(id) : value(id);
  const QuantParams* quant = graph_.info(id).quant.get();
  return quant == nullptr ? tensor : dequantize(tensor, *quant, 1);
}

Status GraphEmitter::set_window(const Node& node, graph_op& op) const {
  const Shape &x = graph_.info(node.input(0)).shape, &w = graph_.info(node.input(1)).shape;
  const Shape& y = graph_.info(node.output(0)).shape;
  OCTAVO_ASSIGN(const ops::Window window,
                ops::read_window(node, x.dims().subspan(2), w.dims().subspan(2)));
  std::vector<int64_t> strides, dilations, begin, end;
  for (int d = 0; d < window.rank; ++d) {
    const auto i = static_cast<size_t>(d);
    strides.push_back(window.stride[i]);
    dilations.push_back(window.dilation[i]);
    begin.push_back(window.pad_begin[i]);
    // Elements behind the last window count as negative padding, which the Graph API refuses: it
    // leaves them out by itself.
    end.push_back(std::max<int64_t>(window_end_pad(window, d, x[d + 2], y[d + 2]), 0));
  }
  op.set_attr(graph_op::attr::strides, strides);
  op.set_attr(graph_op::attr::dilations, dilations);
  op.set_attr(graph_op::attr::pads_begin, begin);
  op.set_attr(graph_op::attr::pads_end, end);
  op.set_attr<int64_t>(graph_op::attr::groups, node.get_int("group"));
  op.set_attr<std::string>(graph_op::attr::data_format, "NXC");
  op.set_attr<std::string>(graph_op::attr::weights_format, "OIX");
  return {};
}

// Weights and bias, and the operator's attributes.
Status GraphEmitter::emit_compute(const Node& node, std::vector<logical_tensor>& inputs,
                                  SetAttributes& attributes) {
  const bool conv = node.kind == OpKind::kConv;
  const bool transposed = node.kind == OpKind::kGemm && node.get_int("transB") != 0;
  const int64_t axis = conv || transposed ? 0 : 1;
  const TensorInfo &x = graph_.info(node.input(0)), &w = graph_.info(node.input(1));
  const logical_tensor weights = constant(w.shape, w.dtype, w.constant.raw());
  inputs.push_back(w.quant == nullptr ? weights : dequantize(weights, *w.quant, axis));
  if (node.input(2) != kNoValue) {
    const TensorInfo& bias = graph_.info(node.input(2));
    const int64_t channels = w.shape[static_cast<int>(axis)];
    if (x.quant == nullptr && bias.shape == Shape{channels}) {
      inputs.push_back(constant(bias.shape, bias.dtype, bias.constant.raw()));
    } else {
      // The bias as real numbers, whatever it is stored as.
      const QuantParams unit{{1}, {0}};
      OCTAVO_ASSIGN(const Tensor wide, Tensor::create(DType::kF32, bias.shape));
      TensorView view = bias.constant.view(bias.quant.get());
      if (bias.quant == nullptr && dtype_info(bias.dtype).is_float) {
        OCTAVO_TRY(ops::cast_elements(view, wide.view()));
        view = wide.view();
      }
      OCTAVO_ASSIGN(const Requantize step,
                    make_requantize(x.quant ? *x.quant : unit, w.quant ? *w.quant : unit, nullptr,
                                    DType::kF32, view, channels, {}));
      Tensor numbers = Tensor::of<float>({channels}, step.bias);
      if (x.quant == nullptr && x.dtype != DType::kF32) {
        OCTAVO_ASSIGN(Tensor half, Tensor::create(x.dtype, numbers.shape()));
        OCTAVO_TRY(ops::cast_elements(numbers.view(), half.view()));
        numbers = std::move(half);
      }
      held_.push_back(numbers);
      inputs.push_back(constant({channels}, numbers.dtype(), numbers.raw()));
    }
  }
  if (conv) {
    // Checked here: it cannot fail later.
    graph_op probe(0, graph_op::kind::Convolution, "probe");
    OCTAVO_TRY(set_window(node, probe));
    attributes = [this, &node](graph_op& op) { std::ignore = set_window(node, op); };
  } else {
    attributes = [transposed](graph_op& op) {
      op.set_attr<bool>(graph_op::attr::transpose_b, transposed);
    };
  }
  return {};
}

Status GraphEmitter::emit_node(const Node& node) {
  const ValueId y = node.output(0);
  const QuantParams* y_quant = graph_.info(y).quant.get();
  const logical_tensor out = value(y);
  const SimpleOp* simple = find_simple(node.kind);
  std::vector<logical_tensor> inputs = {real(node, 0)};
  SetAttributes attributes;
  ActivationBounds bounds;
  graph_op::kind kind = graph_op::kind::Convolution;
  bool add_residual = false;
  if (simple != nullptr) {
    kind = simple->op;
    if (simple->inputs == 2) inputs.push_back(real(node, 1));
  } else {
    OCTAVO_ASSIGN(bounds, activation_bounds(node));
    if (node.kind != OpKind::kConv) kind = graph_op::kind::MatMul;
    OCTAVO_TRY(emit_compute(node, inputs, attributes));
    add_residual = node.input(3) != kNoValue;
  }
  const bool activated = std::isfinite(bounds.lo) || std::isfinite(bounds.hi);
  int remaining = 1 + (add_residual ? 1 : 0) + (activated ? 1 : 0) + (y_quant != nullptr ? 1 : 0);
  const auto next = [&] { return --remaining == 0 ? out : between(out); };

  logical_tensor current = next();
  add(kind, inputs, {current}, attributes);
  if (add_residual) {
    const logical_tensor residual = real(node, 3), sum = next();
    add(graph_op::kind::Add, {current, residual}, {sum});
    current = sum;
  }
  if (activated) {
    const logical_tensor result = next();
    if (is_relu(bounds)) {
      add(graph_op::kind::ReLU, {current}, {result});
    } else {
      add(graph_op::kind::Clamp, {current}, {result},
          [&](graph_op& op) { set_bounds(op, bounds); });
    }
    current = result;
  }
  if (y_quant != nullptr) {
    add(graph_op::kind::Quantize, {current}, {next()},
        [&](graph_op& op) { set_quant(op, *y_quant, 1); });
  }
  return {};
}

void GraphEmitter::find_borders(const std::vector<NodeId>& nodes, bool apart) {
  std::map<ValueId, int> uses;  // by the nodes
  std::vector<ValueId> made;
  for (const NodeId n : nodes) {
    const Node& node = graph_.graph.node(n);
    for (const ValueId id : node.inputs) {
      if (id == kNoValue || graph_.is_constant(id)) continue;
      if (++uses[id] == 1 && !std::ranges::contains(made, id)) inputs_.push_back(id);
    }
    made.push_back(node.output(0));
  }
  for (const ValueId id : made) {
    if (graph_.use_counts[static_cast<size_t>(id)] > uses[id] ||
        graph_.is_watched[static_cast<size_t>(id)]) {
      outputs_.push_back(id);
    }
  }
  current_ = -1;
  for (const ValueId id : apart ? made : outputs_) {
    if (uses[id] > 0) add(graph_op::kind::End, {value(id)}, {});
  }
}

Status GraphEmitter::emit(const std::vector<NodeId>& nodes, bool apart) {
  for (const NodeId n : nodes) {
    current_ = n;
    OCTAVO_TRY(emit_node(graph_.graph.node(n)));
  }
  find_borders(nodes, apart);
  return {};
}

std::vector<dnnl::graph::partition> GraphEmitter::partitions() {
  for (const graph_op& op : ops_) built_.add_op(op);
  built_.finalize();
  return built_.get_partitions();
}

}  // namespace octavo::onednn
