// The `itex` backend: oneDNN's Graph API. A node with its quantization is emitted as
// Dequantize -> op (-> Add) (-> ReLU / Clamp) -> Quantize over logical tensors; the library fuses
// that into partitions, which are compiled and run.
#include <omp.h>

#include <map>

#include "native/onednn/epilogue.h"
#include "native/onednn/onednn.h"
#include "native/onednn/ops.h"
#include "native/onednn/primitive_step.h"
#include "runtime/ops/spatial.h"
#include <oneapi/dnnl/dnnl_graph.hpp>

namespace octavo {
namespace onednn {
namespace {

using graph_op = dnnl::graph::op;
using dnnl::graph::logical_tensor;

logical_tensor::data_type graph_type(DType dtype) {
  return static_cast<logical_tensor::data_type>(data_type_of(dtype));
}

// What is compiled: partitions in order, and where each tensor's bytes are.
class GraphStep final : public Step {
 public:
  struct Part {
    dnnl::graph::compiled_partition compiled;
    std::vector<dnnl::graph::tensor> inputs, outputs;
  };
  struct Binding {
    size_t part;
    bool part_output;
    size_t position;  // among the part's tensors
    bool is_output;   // of the step
    size_t index;
  };

  GraphStep() : stream_(cpu_engine()) {}

  Status run(const StepContext& context) override {
    try {
      for (const Binding& b : bindings) {
        auto& tensors = b.part_output ? parts[b.part].outputs : parts[b.part].inputs;
        tensors[b.position].set_data_handle(b.is_output ? context.outputs[b.index].data
                                                        : context.inputs[b.index].data);
      }
      omp_set_num_threads(context.pool == nullptr ? 1 : context.pool->thread_count());
      for (Part& part : parts) part.compiled.execute(stream_, part.inputs, part.outputs);
      stream_.wait();
    } catch (const dnnl::error& e) {
      return fail(ErrorCode::kInternal, "oneDNN Graph: ", e.what());
    }
    return {};
  }

  std::vector<Part> parts;
  std::vector<Binding> bindings;
  std::vector<Tensor> held;  // constants' bytes and tensors between partitions

 private:
  dnnl::stream stream_;
};

// Emits one node of the plan.
class Emitter {
 public:
  Emitter(const PlanGraph& graph, const Node& node, Layout layout)
      : graph_(graph), node_(node), layout_(layout), built_(dnnl::engine::kind::cpu) {}

  Result<std::unique_ptr<Step>> compile();

 private:
  struct Source {
    enum class Kind { kInput, kOutput, kConstant } kind;
    size_t index = 0;
    const void* data = nullptr;
  };

  // The plan's tensor, dims in storage order (data_format NXC).
  logical_tensor activation(ValueId id, Source source) {
    const TensorInfo& info = graph_.info(id);
    const Shape shape = flatten(physical_shape(info.shape, layout_));
    const logical_tensor made(next_id_, graph_type(info.dtype), dims_of(shape),
                              logical_tensor::layout_type::strided);
    sources_[next_id_++] = source;
    return made;
  }
  logical_tensor constant(const Shape& shape, DType dtype, const void* data) {
    const logical_tensor made(next_id_, graph_type(dtype), dims_of(shape),
                              logical_tensor::layout_type::strided,
                              logical_tensor::property_type::constant);
    sources_[next_id_++] = {Source::Kind::kConstant, 0, data};
    return made;
  }
  // A float tensor between two ops.
  logical_tensor between(const logical_tensor& like) {
    return logical_tensor(next_id_++, logical_tensor::data_type::f32, like.get_dims(),
                          logical_tensor::layout_type::strided);
  }
  graph_op& add(graph_op::kind kind, const std::vector<logical_tensor>& inputs,
                const logical_tensor& output, const std::function<void(graph_op&)>& set = {}) {
    ops_.emplace_back(ops_.size(), kind, concat("op", ops_.size()));
    for (const logical_tensor& input : inputs) ops_.back().add_input(input);
    ops_.back().add_output(output);
    if (set) set(ops_.back());
    return ops_.back();
  }
  logical_tensor dequantize(const logical_tensor& in, const QuantParams* quant, int64_t axis) {
    if (quant == nullptr) return in;
    const logical_tensor out = between(in);
    add(graph_op::kind::Dequantize, {in}, out, [&](graph_op& op) { set_quant(op, *quant, axis); });
    return out;
  }
  static void set_quant(graph_op& op, const QuantParams& quant, int64_t axis) {
    op.set_attr(graph_op::attr::scales, quant.scale);
    op.set_attr(graph_op::attr::zps,
                std::vector<int64_t>(quant.zero_point.begin(), quant.zero_point.end()));
    op.set_attr<std::string>(graph_op::attr::qtype,
                             quant.per_tensor() ? "per_tensor" : "per_channel");
    op.set_attr<int64_t>(graph_op::attr::axis, quant.per_tensor() ? 1 : axis);
  }
  // Matrix products see [rows, k].
  Shape flatten(const Shape& shape) const {
    if (node_.kind == OpKind::kConv || shape.rank() <= 2) return shape;
    return {shape.elements(0, shape.rank() - 1), shape.back()};
  }
  static logical_tensor::dims dims_of(const Shape& shape) { return {shape.begin(), shape.end()}; }

  Status set_window(graph_op& op) const;
  Result<std::unique_ptr<Step>> finish();

  const PlanGraph& graph_;
  const Node& node_;
  Layout layout_;
  dnnl::graph::graph built_;
  std::vector<graph_op> ops_;
  std::map<size_t, Source> sources_;
  std::vector<Tensor> held_;
  size_t next_id_ = 0;
};

Status Emitter::set_window(graph_op& op) const {
  const Shape &x = graph_.info(node_.input(0)).shape, &w = graph_.info(node_.input(1)).shape;
  const Shape& y = graph_.info(node_.output(0)).shape;
  OCTAVO_ASSIGN(const ops::Window window,
                ops::read_window(node_, x.dims().subspan(2), w.dims().subspan(2)));
  std::vector<int64_t> strides, dilations, begin, end;
  for (int d = 0; d < window.rank; ++d) {
    const auto i = static_cast<size_t>(d);
    strides.push_back(window.stride[i]);
    dilations.push_back(window.dilation[i]);
    begin.push_back(window.pad_begin[i]);
    end.push_back(window_end_pad(window, d, x[d + 2], y[d + 2]));
  }
  op.set_attr(graph_op::attr::strides, strides);
  op.set_attr(graph_op::attr::dilations, dilations);
  op.set_attr(graph_op::attr::pads_begin, begin);
  op.set_attr(graph_op::attr::pads_end, end);
  op.set_attr<int64_t>(graph_op::attr::groups, node_.get_int("group"));
  op.set_attr<std::string>(graph_op::attr::data_format, "NXC");
  op.set_attr<std::string>(graph_op::attr::weights_format, "OIX");
  return {};
}

Result<std::unique_ptr<Step>> Emitter::compile() {
  const bool conv = node_.kind == OpKind::kConv;
  const bool transposed = node_.kind == OpKind::kGemm && node_.get_int("transB") != 0;
  const TensorInfo &x = graph_.info(node_.input(0)), &w = graph_.info(node_.input(1));
  const TensorInfo& y = graph_.info(node_.output(0));
  const int64_t channels = w.shape[conv || transposed ? 0 : 1];
  OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node_));

  std::vector<logical_tensor> inputs = {
      dequantize(activation(node_.input(0), {Source::Kind::kInput, 0}), x.quant.get(), 1),
      dequantize(constant(w.shape, w.dtype, w.constant.raw()), w.quant.get(),
                 conv || transposed ? 0 : 1)};
  if (node_.input(2) != kNoValue) {
    const TensorInfo& bias = graph_.info(node_.input(2));
    // The bias as real numbers, whatever it is stored as.
    const QuantParams unit{{1}, {0}};
    OCTAVO_ASSIGN(const Requantize real,
                  make_requantize(x.quant ? *x.quant : unit, w.quant ? *w.quant : unit, nullptr,
                                  DType::kF32, bias.constant.view(bias.quant.get()), channels, {}));
    held_.push_back(Tensor::of<float>({channels}, real.bias));
    inputs.push_back(constant({channels}, DType::kF32, held_.back().raw()));
  }
  const logical_tensor out = activation(node_.output(0), {Source::Kind::kOutput, 0});
  const bool add_residual = node_.input(3) != kNoValue;
  const bool activated = std::isfinite(bounds.lo) || std::isfinite(bounds.hi);
  const bool quantized = y.quant != nullptr;
  int remaining = 1 + (add_residual ? 1 : 0) + (activated ? 1 : 0) + (quantized ? 1 : 0);
  const auto next = [&] { return --remaining == 0 ? out : between(out); };

  logical_tensor current = next();
  Status status;
  if (conv) {
    add(graph_op::kind::Convolution, inputs, current,
        [&](graph_op& op) { status = set_window(op); });
  } else {
    add(graph_op::kind::MatMul, inputs, current,
        [&](graph_op& op) { op.set_attr<bool>(graph_op::attr::transpose_b, transposed); });
  }
  OCTAVO_TRY(status);
  if (add_residual) {
    const logical_tensor residual =
        dequantize(activation(node_.input(3), {Source::Kind::kInput, 1}),
                   graph_.info(node_.input(3)).quant.get(), 1);
    const logical_tensor sum = next();
    add(graph_op::kind::Add, {current, residual}, sum);
    current = sum;
  }
  if (activated) {
    const logical_tensor result = next();
    if (bounds.lo == 0 && std::isinf(bounds.hi)) {
      add(graph_op::kind::ReLU, {current}, result);
    } else {
      const float most = std::numeric_limits<float>::max();
      add(graph_op::kind::Clamp, {current}, result, [&](graph_op& op) {
        op.set_attr(graph_op::attr::min, std::max(bounds.lo, -most));
        op.set_attr(graph_op::attr::max, std::min(bounds.hi, most));
      });
    }
    current = result;
  }
  if (quantized) {
    add(graph_op::kind::Quantize, {current}, next(),
        [&](graph_op& op) { set_quant(op, *y.quant, 1); });
  }
  return finish();
}

Result<std::unique_ptr<Step>> Emitter::finish() {
  for (const graph_op& op : ops_) built_.add_op(op);
  built_.finalize();
  auto step = std::make_unique<GraphStep>();
  step->held = held_;
  std::map<size_t, void*> between;  // tensors that join partitions
  for (const auto& partition : built_.get_partitions()) {
    if (!partition.is_supported()) {
      return fail(ErrorCode::kUnavailable, "oneDNN Graph does not support this operator");
    }
    const auto inputs = partition.get_input_ports();
    const auto outputs = partition.get_output_ports();
    GraphStep::Part part{partition.compile(inputs, outputs, cpu_engine()), {}, {}};
    const auto bind = [&](const std::vector<logical_tensor>& ports,
                          std::vector<dnnl::graph::tensor>& tensors, bool is_output) -> Status {
      for (const logical_tensor& port : ports) {
        const auto found = sources_.find(port.get_id());
        void* data = nullptr;
        if (found == sources_.end()) {
          void*& joint = between[port.get_id()];
          if (joint == nullptr) {
            OCTAVO_ASSIGN(
                Tensor made,
                Tensor::create(DType::kU8, Shape{static_cast<int64_t>(port.get_mem_size())}));
            step->held.push_back(made);
            joint = made.raw();
          }
          data = joint;
        } else if (found->second.kind == Source::Kind::kConstant) {
          data = const_cast<void*>(found->second.data);
        } else {
          step->bindings.push_back({step->parts.size(), is_output, tensors.size(),
                                    found->second.kind == Source::Kind::kOutput,
                                    found->second.index});
        }
        tensors.emplace_back(port, cpu_engine(), data);
      }
      return {};
    };
    OCTAVO_TRY(bind(inputs, part.inputs, false));
    OCTAVO_TRY(bind(outputs, part.outputs, true));
    step->parts.push_back(std::move(part));
  }
  step->kernel = concat("graph of ", step->parts.size());
  step->inputs = {node_.input(0)};
  if (node_.input(3) != kNoValue) step->inputs.push_back(node_.input(3));
  step->outputs = {node_.output(0)};
  return step;
}

class GraphBackend final : public Backend {
 public:
  std::string_view name() const override { return "itex"; }

  std::vector<Claim> claim(const PlanGraph& graph, const std::vector<bool>& available) override {
    std::vector<Claim> claims;
    for (size_t n = 0; n < available.size(); ++n) {
      const auto id = static_cast<NodeId>(n);
      if (available[n] && supports(graph, graph.graph.node(id))) claims.push_back({{id}});
    }
    return claims;
  }

  ClaimLayout layout(const PlanGraph& graph, const Claim& claim) override {
    return graph.graph.node(claim.nodes.front()).kind == OpKind::kConv ? ClaimLayout::kChannelsLast
                                                                       : ClaimLayout::kPlain;
  }

  Result<std::unique_ptr<Step>> compile(const PlanGraph& graph, const Claim& claim,
                                        Layout layout) override {
    const Node& node = graph.graph.node(claim.nodes.front());
    return guarded(node, [&] { return Emitter(graph, node, layout).compile(); });
  }

 private:
  static bool supports(const PlanGraph& graph, const Node& node) {
    return supports_conv(graph, node) || supports_matmul(graph, node);
  }
};

}  // namespace
}  // namespace onednn

std::shared_ptr<Backend> make_onednn_graph_backend() {
  return std::make_shared<onednn::GraphBackend>();
}

}  // namespace octavo
