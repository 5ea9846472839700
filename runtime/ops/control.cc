// If, Loop and Scan. A body's inputs are the operator's own followed by the captured values of the
// outer graph (runtime/graph.h), whose number is the internal attribute `captured`.
#include <algorithm>

#include "runtime/infer.h"
#include "runtime/limits.h"
#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/move.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kIfFields[] = {required(graph_field("then_branch")),
                                  required(graph_field("else_branch")),
                                  internal_field(int_field("captured"))};
constexpr FieldDef kLoopFields[] = {required(graph_field("body")),
                                    internal_field(int_field("captured"))};
constexpr FieldDef kScanFields[] = {
    required(graph_field("body")),        required(int_field("num_scan_inputs")),
    ints_field("scan_input_axes"),        ints_field("scan_input_directions"),
    ints_field("scan_output_axes"),       ints_field("scan_output_directions"),
    internal_field(int_field("captured"))};

// Symbols belong to one graph: they do not cross into or out of a body.
Shape without_symbols(Shape shape) {
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] < 0) shape[i] = kUnknownDim;
  }
  return shape;
}

// What both shapes agree on.
Shape merged(const Shape& a, const Shape& b) {
  if (!a.has_rank() || a.rank() != b.rank()) return Shape::unknown();
  Shape out = a;
  for (int i = 0; i < a.rank(); ++i) {
    if (a[i] != b[i]) out[i] = kUnknownDim;
  }
  return without_symbols(out);
}

// Constants from which shapes may follow are known inside as well; with data, inference would fold
// (that is, compute) the whole body.
TensorInfo for_body(const TensorInfo& info) {
  TensorInfo out = info;
  if (dtype_info(info.dtype).is_float && info.constant.elements() > kMaxRank) out.constant = {};
  out.shape = without_symbols(info.shape);
  return out;
}

// Dtypes and shapes of a body's outputs.
Result<std::vector<TensorInfo>> infer_body(const Graph& body, std::span<const TensorInfo> inputs) {
  if (body.inputs.size() != inputs.size()) {
    return fail(ErrorCode::kInvalidModel, "a body of ", body.inputs.size(), " inputs gets ",
                inputs.size());
  }
  OCTAVO_ASSIGN(const std::vector<TensorInfo> infos,
                infer_graph(body, inputs, limits::kPlanFoldElements));
  std::vector<TensorInfo> out;
  for (const ValueId id : body.outputs) {
    const TensorInfo& info = infos[static_cast<size_t>(id)];
    out.push_back({info.dtype, without_symbols(info.shape), {}, info.quant});
  }
  return out;
}

Result<std::vector<Tensor>> run_body(KernelContext& c, const Graph& body,
                                     std::span<const TensorView> inputs) {
  if (c.runner == nullptr) return fail(ErrorCode::kInternal, "no runner for a body");
  if (body.inputs.size() != inputs.size()) {
    return fail(ErrorCode::kInvalidModel, "a body of ", body.inputs.size(), " inputs gets ",
                inputs.size());
  }
  OCTAVO_ASSIGN(auto outputs, c.runner->run(body, inputs));
  if (outputs.size() != body.outputs.size()) {
    return fail(ErrorCode::kInternal, "a body gave ", outputs.size(), " outputs");
  }
  return outputs;
}

Status write_output(KernelContext& c, size_t i, const Tensor& value) {
  if (!c.has_output(i)) return {};
  OCTAVO_ASSIGN(const TensorView out, c.make_output(i, value.dtype(), value.shape()));
  copy_elements(value.dtype(), value.raw(), 0, out.data, 0, value.elements());
  return {};
}

Result<bool> condition(const TensorView& view) {
  if (view.dtype != DType::kBool || view.elements() != 1) {
    return fail(ErrorCode::kShapeMismatch, "a condition must be one bool, got ",
                dtype_name(view.dtype), " of shape ", view.shape.to_string());
  }
  return *view.as<const bool>();
}

// ---- If ----

Status infer_if(InferContext& c) {
  std::vector<TensorInfo> inputs;
  for (size_t i = 1; i < c.input_count(); ++i) {
    inputs.push_back(c.has_input(i) ? for_body(c.input(i)) : TensorInfo());
  }
  const Graph *yes = c.node.get_graph("then_branch"), *no = c.node.get_graph("else_branch");
  if (yes->outputs.size() < c.output_count() || no->outputs.size() < c.output_count()) {
    return fail(ErrorCode::kInvalidModel, "a branch has fewer outputs than the node");
  }
  if (const Tensor* known = c.constant(0)) {
    OCTAVO_ASSIGN(const bool taken, condition(known->view()));
    OCTAVO_ASSIGN(const auto out, infer_body(taken ? *yes : *no, inputs));
    for (size_t i = 0; i < c.output_count(); ++i) c.set_output(i, out[i].dtype, out[i].shape);
    return {};
  }
  OCTAVO_ASSIGN(const auto a, infer_body(*yes, inputs));
  OCTAVO_ASSIGN(const auto b, infer_body(*no, inputs));
  for (size_t i = 0; i < c.output_count(); ++i) {
    c.set_output(i, a[i].dtype, merged(a[i].shape, b[i].shape));
  }
  return {};
}

Status run_if(KernelContext& c) {
  OCTAVO_ASSIGN(const bool taken, condition(c.in(0)));
  const Graph* body = c.node.get_graph(taken ? "then_branch" : "else_branch");
  OCTAVO_ASSIGN(const auto results, run_body(c, *body, c.inputs.subspan(1)));
  for (size_t i = 0; i < results.size(); ++i) OCTAVO_TRY(write_output(c, i, results[i]));
  return {};
}

// ---- Values carried from one iteration to the next, and values collected from all ----

// Infers a body of which inputs [first_in, first_in + carried) receive outputs [first_out, ...) of
// the iteration before. A carried shape is what holds in every iteration.
Result<std::vector<TensorInfo>> infer_iterations(const Graph& body, std::vector<TensorInfo>& inputs,
                                                 size_t first_in, size_t first_out,
                                                 size_t carried) {
  for (size_t i = 0; i < carried; ++i) inputs[first_in + i].constant = {};
  // Each round without a fixed point gives up at least one dimension or rank.
  while (true) {
    OCTAVO_ASSIGN(auto out, infer_body(body, inputs));
    bool settled = true;
    for (size_t i = 0; i < carried; ++i) {
      TensorInfo& in = inputs[first_in + i];
      const Shape shape = merged(in.shape, out[first_out + i].shape);
      settled &= shape == in.shape;
      in.shape = shape;
    }
    if (settled) return out;
  }
}

// One value of every iteration.
struct Collected {
  // Of a tensor's bookkeeping, so that many empty ones count too.
  static constexpr int64_t kTensorOverhead = 256;
  std::vector<Tensor> parts;
  int64_t bytes = 0;

  Status add(Tensor part) {
    bytes += part.bytes() + kTensorOverhead;
    if (bytes > limits::kTensorBytes) {
      return fail(ErrorCode::kLimitExceeded, "the collected outputs are larger than the limit of ",
                  limits::kTensorBytes >> 30, " GiB");
    }
    if (!parts.empty() &&
        (!(part.shape() == parts[0].shape()) || part.dtype() != parts[0].dtype())) {
      return fail(ErrorCode::kShapeMismatch, "an output of shape ", part.shape().to_string(),
                  " follows one of ", parts[0].shape().to_string());
    }
    parts.push_back(std::move(part));
    return {};
  }
};

Result<Shape> with_axis(const Shape& part, int64_t axis, int64_t size) {
  OCTAVO_TRY(check_rank(int64_t{part.rank()} + 1));
  OCTAVO_ASSIGN(const int at, normalize_axis(axis, part.rank() + 1));
  Shape out;
  for (int i = 0; i <= part.rank(); ++i) {
    out.push_back(i == at ? size : part[i < at ? i : i - 1]);
  }
  return out;
}

// Stacks the parts along a new axis. `declared`: the body's output, for when there are none.
Status write_stack(KernelContext& c, size_t i, const Collected& values, const Value& declared,
                   int64_t axis, bool reversed) {
  if (!c.has_output(i)) return {};
  const auto count = static_cast<int64_t>(values.parts.size());
  Shape part = declared.shape.has_rank() ? declared.shape : Shape{};
  DType dtype = declared.dtype;
  if (count > 0) {
    part = values.parts[0].shape();
    dtype = values.parts[0].dtype();
  }
  for (int d = 0; d < part.rank(); ++d) part[d] = std::max<int64_t>(part[d], 0);
  OCTAVO_ASSIGN(const Shape shape, with_axis(part, axis, count));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(i, dtype, shape));
  OCTAVO_ASSIGN(const int at, normalize_axis(axis, shape.rank()));
  const int64_t outer = shape.elements(0, at), inner = shape.elements(at + 1, shape.rank());
  for (int64_t k = 0; k < count; ++k) {
    const int64_t to = reversed ? count - 1 - k : k;
    Block block;
    block.add(outer, inner, count * inner);
    block.add(inner, 1, 1);
    copy_block(block, dtype, values.parts[static_cast<size_t>(k)].raw(), 0, out.data, to * inner);
  }
  return {};
}

Status check_counts(const Node& node, const Graph& body, size_t own_inputs, size_t own_outputs,
                    size_t input_count, int64_t captured) {
  if (captured < 0 || input_count < own_inputs + static_cast<size_t>(captured) ||
      body.outputs.size() < own_outputs ||
      body.outputs.size() - (node.kind == OpKind::kLoop ? 1 : 0) < node.outputs.size()) {
    return fail(ErrorCode::kInvalidModel, "the body's inputs and outputs do not match the node's");
  }
  return {};
}

// ---- Loop: inputs M, condition, carried..., captured...; body inputs iteration, condition,
// carried..., captured...; body outputs condition, carried..., collected... ----

Result<size_t> loop_carried(const Node& node, const Graph& body) {
  const int64_t captured = node.get_int("captured");
  OCTAVO_TRY(check_counts(node, body, 2, 1, node.inputs.size(), captured));
  const size_t carried = node.inputs.size() - 2 - static_cast<size_t>(captured);
  if (body.outputs.size() < 1 + carried || body.inputs.size() != node.inputs.size()) {
    return fail(ErrorCode::kInvalidModel, "the body carries fewer values than the node gives it");
  }
  return carried;
}

// The shape in which a body takes a scalar: some declare one element of rank 1.
Shape scalar_shape(const Graph& body, size_t input) {
  return body.value(body.inputs[input]).shape == Shape{1} ? Shape{1} : Shape{};
}

Status infer_loop(InferContext& c) {
  const Graph& body = *c.node.get_graph("body");
  OCTAVO_ASSIGN(const size_t carried, loop_carried(c.node, body));
  std::vector<TensorInfo> inputs = {{DType::kI64, scalar_shape(body, 0), {}, nullptr},
                                    {DType::kBool, scalar_shape(body, 1), {}, nullptr}};
  for (size_t i = 2; i < c.input_count(); ++i) {
    inputs.push_back(c.has_input(i) ? for_body(c.input(i)) : TensorInfo());
  }
  OCTAVO_ASSIGN(const auto out, infer_iterations(body, inputs, 2, 1, carried));
  for (size_t i = 0; i < c.output_count(); ++i) {
    if (i < carried) {
      c.set_output(i, inputs[2 + i].dtype, inputs[2 + i].shape);
      continue;
    }
    Shape shape = Shape::unknown();
    if (out[1 + i].shape.has_rank()) {
      OCTAVO_ASSIGN(shape, with_axis(out[1 + i].shape, 0, kUnknownDim));
    }
    c.set_output(i, out[1 + i].dtype, shape);
  }
  return {};
}

Status run_loop(KernelContext& c) {
  const Graph& body = *c.node.get_graph("body");
  OCTAVO_ASSIGN(const size_t carried, loop_carried(c.node, body));
  int64_t trips = limits::kLoopIterations + 1;
  if (c.has_input(0)) {
    OCTAVO_ASSIGN(const int64_t given, scalar_int(c.in(0)));
    trips = std::min(trips, given);
  }
  bool going = true;
  if (c.has_input(1)) {
    OCTAVO_ASSIGN(going, condition(c.in(1)));
  }
  int64_t iteration = 0;
  std::vector<TensorView> inputs(c.inputs.begin(), c.inputs.end());
  inputs[0] = {&iteration, DType::kI64, Layout::kPlain, scalar_shape(body, 0)};
  inputs[1] = {&going, DType::kBool, Layout::kPlain, scalar_shape(body, 1)};
  std::vector<Tensor> state(carried);
  for (size_t i = 0; i < carried; ++i) {
    if (!inputs[2 + i].present())
      return fail(ErrorCode::kInvalidModel, "a carried value is absent");
    OCTAVO_ASSIGN(state[i], to_tensor(inputs[2 + i]));
  }
  std::vector<Collected> collected(body.outputs.size() - 1 - carried);
  for (; going && iteration < trips; ++iteration) {
    if (iteration == limits::kLoopIterations) {
      return fail(ErrorCode::kLimitExceeded, "more than ", limits::kLoopIterations, " iterations");
    }
    for (size_t i = 0; i < carried; ++i) inputs[2 + i] = state[i].view();
    OCTAVO_ASSIGN(auto results, run_body(c, body, inputs));
    OCTAVO_ASSIGN(going, condition(results[0].view()));
    for (size_t i = 0; i < carried; ++i) state[i] = std::move(results[1 + i]);
    for (size_t k = 0; k < collected.size(); ++k) {
      OCTAVO_TRY(collected[k].add(std::move(results[1 + carried + k])));
    }
  }
  for (size_t i = 0; i < carried; ++i) OCTAVO_TRY(write_output(c, i, state[i]));
  for (size_t k = 0; k < collected.size(); ++k) {
    OCTAVO_TRY(write_stack(c, carried + k, collected[k], body.value(body.outputs[1 + carried + k]),
                           0, false));
  }
  return {};
}

// ---- Scan: inputs states..., scanned..., captured...; body outputs states..., collected... ----

struct ScanCounts {
  size_t states, scanned;
};
Result<ScanCounts> scan_counts(const Node& node, const Graph& body) {
  const int64_t scanned = node.get_int("num_scan_inputs"), captured = node.get_int("captured");
  const size_t count = node.inputs.size();
  if (scanned < 1 || scanned > static_cast<int64_t>(count)) {
    return fail(ErrorCode::kInvalidModel, "attribute 'num_scan_inputs' is ", scanned);
  }
  OCTAVO_TRY(check_counts(node, body, static_cast<size_t>(scanned), 0, count, captured));
  const size_t states = count - static_cast<size_t>(scanned + captured);
  if (body.outputs.size() < states || body.inputs.size() != count) {
    return fail(ErrorCode::kInvalidModel, "the body has fewer states than the node");
  }
  return ScanCounts{states, static_cast<size_t>(scanned)};
}

int64_t listed(const Node& node, const char* attribute, size_t i) {
  const auto values = node.get_ints(attribute);
  return i < values.size() ? values[i] : 0;
}

Status infer_scan(InferContext& c) {
  const Graph& body = *c.node.get_graph("body");
  OCTAVO_ASSIGN(const ScanCounts counts, scan_counts(c.node, body));
  std::vector<TensorInfo> inputs;
  int64_t steps = kUnknownDim;
  for (size_t i = 0; i < c.input_count(); ++i) {
    inputs.push_back(c.has_input(i) ? for_body(c.input(i)) : TensorInfo());
    if (i < counts.states || i >= counts.states + counts.scanned) continue;
    TensorInfo& info = inputs.back();
    info.constant = {};
    if (!info.shape.has_rank()) continue;
    OCTAVO_ASSIGN(
        const int axis,
        normalize_axis(listed(c.node, "scan_input_axes", i - counts.states), info.shape.rank()));
    if (info.shape[axis] >= 0) steps = info.shape[axis];
    Shape slice;
    for (int d = 0; d < info.shape.rank(); ++d) {
      if (d != axis) slice.push_back(info.shape[d]);
    }
    info.shape = slice;
  }
  OCTAVO_ASSIGN(const auto out, infer_iterations(body, inputs, 0, 0, counts.states));
  for (size_t i = 0; i < c.output_count(); ++i) {
    if (i < counts.states) {
      c.set_output(i, inputs[i].dtype, inputs[i].shape);
      continue;
    }
    Shape shape = Shape::unknown();
    if (out[i].shape.has_rank()) {
      const int64_t axis = listed(c.node, "scan_output_axes", i - counts.states);
      OCTAVO_ASSIGN(shape, with_axis(out[i].shape, axis, steps));
    }
    c.set_output(i, out[i].dtype, shape);
  }
  return {};
}

// An input of which one position along an axis is taken in each step.
struct Scanned {
  TensorView view;
  int axis;
  bool reversed;
  Tensor slice;

  void take(int64_t step) {
    const Shape& shape = view.shape;
    const int64_t size = shape[axis];
    const int64_t inner = shape.elements(axis + 1, shape.rank());
    Block block;
    block.add(shape.elements(0, axis), size * inner, inner);
    block.add(inner, 1, 1);
    copy_block(block, view.dtype, view.data, (reversed ? size - 1 - step : step) * inner,
               slice.raw(), 0);
  }
};

Status run_scan(KernelContext& c) {
  const Graph& body = *c.node.get_graph("body");
  OCTAVO_ASSIGN(const ScanCounts counts, scan_counts(c.node, body));
  std::vector<TensorView> inputs(c.inputs.begin(), c.inputs.end());
  std::vector<Scanned> scanned;
  int64_t steps = kUnknownDim;
  for (size_t i = 0; i < counts.scanned; ++i) {
    const TensorView& view = inputs[counts.states + i];
    OCTAVO_ASSIGN(const int axis,
                  normalize_axis(listed(c.node, "scan_input_axes", i), view.shape.rank()));
    if (steps >= 0 && view.shape[axis] != steps) {
      return fail(ErrorCode::kShapeMismatch, "inputs of ", steps, " and ", view.shape[axis],
                  " steps");
    }
    steps = view.shape[axis];
    Shape slice;
    for (int d = 0; d < view.shape.rank(); ++d) {
      if (d != axis) slice.push_back(view.shape[d]);
    }
    OCTAVO_ASSIGN(Tensor memory, Tensor::create(view.dtype, slice));
    scanned.push_back(
        {view, axis, listed(c.node, "scan_input_directions", i) != 0, std::move(memory)});
    inputs[counts.states + i] = scanned.back().slice.view();
  }
  std::vector<Tensor> state(counts.states);
  for (size_t i = 0; i < counts.states; ++i) {
    OCTAVO_ASSIGN(state[i], to_tensor(inputs[i]));
  }
  std::vector<Collected> collected(body.outputs.size() - counts.states);
  for (int64_t step = 0; step < steps; ++step) {
    for (size_t i = 0; i < counts.states; ++i) inputs[i] = state[i].view();
    for (Scanned& input : scanned) input.take(step);
    OCTAVO_ASSIGN(auto results, run_body(c, body, inputs));
    for (size_t i = 0; i < counts.states; ++i) state[i] = std::move(results[i]);
    for (size_t k = 0; k < collected.size(); ++k) {
      OCTAVO_TRY(collected[k].add(std::move(results[counts.states + k])));
    }
  }
  for (size_t i = 0; i < counts.states; ++i) OCTAVO_TRY(write_output(c, i, state[i]));
  for (size_t k = 0; k < collected.size(); ++k) {
    const size_t i = counts.states + k;
    OCTAVO_TRY(write_stack(c, i, collected[k], body.value(body.outputs[i]),
                           listed(c.node, "scan_output_axes", k),
                           listed(c.node, "scan_output_directions", k) != 0));
  }
  return {};
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kIf,
     .name = "If",
     .max_inputs = -1,
     .max_outputs = -1,
     .fields = kIfFields,
     .infer = infer_if,
     .reference = run_if,
     .flags = kHasBody},
    {.kind = OpKind::kLoop,
     .name = "Loop",
     .min_inputs = 0,
     .max_inputs = -1,
     .max_outputs = -1,
     .fields = kLoopFields,
     .infer = infer_loop,
     .reference = run_loop,
     .flags = kHasBody},
    {.kind = OpKind::kScan,
     .name = "Scan",
     .max_inputs = -1,
     .max_outputs = -1,
     .fields = kScanFields,
     .infer = infer_scan,
     .reference = run_scan,
     .flags = kHasBody},
};

}  // namespace

std::span<const OpDef> control_ops() { return kOps; }

}  // namespace octavo::ops
