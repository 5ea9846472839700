#include "runtime/infer.h"

#include "runtime/limits.h"
#include "runtime/quantize_view.h"

namespace octavo {
namespace {

Status with_node(Status status, const Node& node) {
  if (status || !status.error().node.empty()) return status;
  Error error = std::move(status).error();
  error.node = node.name;
  error.message = concat(op_name(node.kind), ": ", error.message);
  return std::unexpected(std::move(error));
}

// Rows rely on their required inputs; a graph that was not validated may lack them.
Status check_arity(const OpDef& op, std::span<const TensorInfo* const> inputs, size_t outputs) {
  const auto out_of = [](size_t count, int least, int most) {
    return count < static_cast<size_t>(least) || (most >= 0 && count > static_cast<size_t>(most));
  };
  if (out_of(inputs.size(), op.min_inputs, op.max_inputs)) {
    return fail(ErrorCode::kInvalidModel, "it has ", inputs.size(), " inputs");
  }
  if (out_of(outputs, op.min_outputs, op.max_outputs)) {
    return fail(ErrorCode::kInvalidModel, "it has ", outputs, " outputs");
  }
  for (int i = 0; i < op.min_inputs; ++i) {
    if (inputs[static_cast<size_t>(i)] == nullptr) {
      return fail(ErrorCode::kInvalidModel, "required input ", i, " is absent");
    }
  }
  return {};
}

bool has_quant(const TensorView& view) { return view.quant != nullptr; }

// Whether the reference function can work on the integers themselves.
bool runs_on_integers(const OpDef& op, const KernelContext& context) {
  if ((op.flags & kIntegerReference) != 0 || op.kind == OpKind::kQuantizeLinear ||
      op.kind == OpKind::kDequantizeLinear) {
    return true;
  }
  if (std::ranges::none_of(context.inputs, has_quant) &&
      std::ranges::none_of(context.outputs, has_quant)) {
    return true;
  }
  if (op.quant.policy != QuantPolicy::kSameScale || context.inputs.empty()) return false;
  const QuantParams* first = context.inputs[0].quant;
  if (first == nullptr || !first->per_tensor()) return false;
  return std::ranges::all_of(context.outputs, [&](const TensorView& out) {
    return out.quant == nullptr ? out.dtype != DType::kF32 : *out.quant == *first;
  });
}

}  // namespace

Status run_dequantized(const OpDef& op, KernelContext& context) {
  std::vector<TensorView> inputs(context.inputs.begin(), context.inputs.end());
  std::vector<TensorView> outputs(context.outputs.begin(), context.outputs.end());
  std::vector<Tensor> held;
  const auto make_float = [&](const TensorView& view) -> Result<TensorView> {
    OCTAVO_ASSIGN(Tensor tensor, Tensor::create(DType::kF32, view.shape));
    TensorView made = tensor.view();
    made.layout = view.layout;
    held.push_back(std::move(tensor));
    return made;
  };
  for (TensorView& input : inputs) {
    if (!input.present() || input.quant == nullptr) continue;
    OCTAVO_ASSIGN(const TensorView real, make_float(input));
    OCTAVO_TRY(dequantize_view(input, real.as<float>()));
    input = real;
  }
  for (TensorView& output : outputs) {
    if (output.quant == nullptr) continue;
    if (output.data != nullptr) {
      OCTAVO_ASSIGN(output, make_float(output));
    } else {
      output.dtype = DType::kF32;
      output.quant = nullptr;
    }
  }
  KernelContext inner{context.node, inputs, outputs, context.pool, context.runner};
  inner.allocate = [&](size_t i, DType dtype, const Shape& shape) -> Result<TensorView> {
    if (context.outputs[i].quant == nullptr) return context.make_output(i, dtype, shape);
    if (dtype != DType::kF32) {
      return fail(ErrorCode::kShapeMismatch, "output ", i, " is quantized, but computed as ",
                  dtype_name(dtype));
    }
    return make_float(TensorView{nullptr, DType::kF32, Layout::kPlain, shape});
  };
  OCTAVO_TRY(op.reference(inner));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const QuantParams* quant = context.outputs[i].quant;
    if (quant == nullptr || outputs[i].data == nullptr) continue;
    OCTAVO_ASSIGN(TensorView out,
                  context.make_output(i, context.outputs[i].dtype, outputs[i].shape));
    out.quant = quant;
    OCTAVO_TRY(quantize_view(outputs[i].as<const float>(), out));
  }
  return {};
}

Status infer_node(const Node& node, std::span<const TensorInfo* const> inputs,
                  std::span<TensorInfo> outputs) {
  const OpDef* op = find_op(node.kind);
  if (op == nullptr || op->infer == nullptr) {
    return fail(ErrorCode::kUnsupportedOp, "operator ", op_name(node.kind), " is not supported");
  }
  OCTAVO_TRY(with_node(check_arity(*op, inputs, outputs.size()), node));
  bool any_quant = false;
  for (const TensorInfo* input : inputs) any_quant |= input != nullptr && input->quant != nullptr;
  std::vector<TensorInfo> declared(outputs.begin(), outputs.end());
  for (TensorInfo& output : outputs) output.shape = Shape::unknown();
  InferContext context(node, inputs, outputs);
  OCTAVO_TRY(with_node(op->infer(context), node));
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i].quant = declared[i].quant;
    // Among quantized values the graph says where precision changes.
    if ((declared[i].quant != nullptr || any_quant) && declared[i].dtype != DType::kUndefined) {
      outputs[i].dtype = declared[i].dtype;
    }
  }
  return {};
}

Result<std::vector<TensorInfo>> infer_graph(const Graph& graph, std::span<const TensorInfo> inputs,
                                            int64_t fold_elements) {
  std::vector<TensorInfo> infos(graph.values.size());
  for (size_t i = 0; i < infos.size(); ++i) {
    const Value& value = graph.values[i];
    infos[i] = {value.dtype, value.shape, value.constant, value.quant};
  }
  for (size_t i = 0; i < graph.inputs.size() && i < inputs.size(); ++i) {
    TensorInfo& info = infos[static_cast<size_t>(graph.inputs[i])];
    if (inputs[i].dtype != DType::kUndefined) info.dtype = inputs[i].dtype;
    if (inputs[i].shape.has_rank()) info.shape = inputs[i].shape;
    if (inputs[i].constant.present()) info.constant = inputs[i].constant;
    if (inputs[i].quant != nullptr) info.quant = inputs[i].quant;
  }
  std::vector<const TensorInfo*> node_inputs;
  std::vector<TensorInfo> node_outputs;
  std::vector<TensorView> views;
  for (const Node& node : graph.nodes) {
    node_inputs.clear();
    bool all_constant = true;
    for (const ValueId id : node.inputs) {
      node_inputs.push_back(id == kNoValue ? nullptr : &infos[static_cast<size_t>(id)]);
      all_constant &= id == kNoValue || node_inputs.back()->constant.present();
    }
    node_outputs.assign(node.outputs.size(), {});
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      const TensorInfo& declared = infos[static_cast<size_t>(node.outputs[i])];
      node_outputs[i] = {declared.dtype, Shape::unknown(), {}, declared.quant};
    }
    OCTAVO_TRY(infer_node(node, node_inputs, node_outputs));

    const OpDef* op = find_op(node.kind);
    int64_t elements = 0;
    for (const TensorInfo& output : node_outputs) {
      elements = output.shape.is_static() && elements <= fold_elements
                     ? elements + output.shape.elements()
                     : fold_elements + 1;
    }
    const bool foldable = all_constant && !node.inputs.empty() && elements <= fold_elements &&
                          (op->flags & (kNondeterministic | kHasBody)) == 0;
    if (foldable && !node_outputs[0].constant.present()) {
      views.clear();
      for (const TensorInfo* input : node_inputs) {
        views.push_back(input == nullptr ? TensorView{} : input->constant.view(input->quant.get()));
      }
      // A node that fails here is left for the run, which reports it.
      if (auto folded = evaluate(node, views, node_outputs)) {
        for (size_t i = 0; i < node_outputs.size(); ++i) node_outputs[i].constant = (*folded)[i];
      }
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) {
        infos[static_cast<size_t>(node.outputs[i])] = std::move(node_outputs[i]);
      }
    }
  }
  return infos;
}

Status infer_in_place(Graph& graph) {
  OCTAVO_ASSIGN(const std::vector<TensorInfo> infos,
                infer_graph(graph, {}, limits::kPlanFoldElements));
  for (size_t i = 0; i < infos.size(); ++i) {
    Value& value = graph.values[i];
    value.dtype = infos[i].dtype;
    if (!infos[i].shape.has_rank()) continue;  // what the file declares is better than nothing
    Shape shape = infos[i].shape;
    for (int d = 0; d < shape.rank() && value.shape.rank() == shape.rank(); ++d) {
      if (shape[d] == kUnknownDim) shape[d] = value.shape[d];
    }
    value.shape = shape;
  }
  return {};
}

Status run_reference(const OpDef& op, KernelContext& context) {
  if (op.reference == nullptr) {
    return fail(ErrorCode::kUnsupportedOp, "operator ", op.name, " cannot run");
  }
  return with_node(
      runs_on_integers(op, context) ? op.reference(context) : run_dequantized(op, context),
      context.node);
}

Result<std::vector<Tensor>> evaluate(const Node& node, std::span<const TensorView> inputs,
                                     std::span<const TensorInfo> outputs, GraphRunner* runner) {
  const OpDef* op = find_op(node.kind);
  if (op == nullptr) {
    return fail(ErrorCode::kUnsupportedOp, "operator ", op_name(node.kind), " is not supported");
  }
  std::vector<Tensor> results(outputs.size());
  std::vector<TensorView> views(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    views[i] = {nullptr, outputs[i].dtype, Layout::kPlain, Shape{}, outputs[i].quant.get()};
    if (!outputs[i].shape.is_static()) continue;
    OCTAVO_ASSIGN(results[i], Tensor::create(outputs[i].dtype, outputs[i].shape));
    views[i] = results[i].view(outputs[i].quant.get());
  }
  KernelContext context{node, inputs, views, nullptr, runner};
  context.allocate = [&](size_t i, DType dtype, const Shape& shape) -> Result<TensorView> {
    OCTAVO_ASSIGN(results[i], Tensor::create(dtype, shape));
    return results[i].view(outputs[i].quant.get());
  };
  OCTAVO_TRY(run_reference(*op, context));
  return results;
}

}  // namespace octavo
