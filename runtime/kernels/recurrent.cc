// LSTM, GRU and RNN in float: products of packed weights, of all sequences of the batch at once.

#include "runtime/ops/recurrent.h"

#include <limits>

#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/kernel_step.h"

namespace octavo::kernels {
namespace {

using ops::Recurrence;
using Activation = ops::RecurrentActivation;

// The vector function; kIdentity for those that have none.
OpKind function_of(const Activation& activation) {
  switch (activation.kind) {
    case Activation::kRelu: return OpKind::kRelu;
    case Activation::kTanh: return OpKind::kTanh;
    case Activation::kSigmoid: return OpKind::kSigmoid;
    case Activation::kLeakyRelu: return OpKind::kLeakyRelu;
    case Activation::kHardSigmoid: return OpKind::kHardSigmoid;
    default: return OpKind::kIdentity;
  }
}

Result<Recurrence> recurrence_of(const PlanGraph& graph, const Node& node) {
  std::vector<Shape> shapes;
  for (const ValueId id : node.inputs) {
    shapes.push_back(id == kNoValue ? Shape::unknown() : graph.info(id).shape);
  }
  return ops::make_recurrence(node, shapes);
}

bool is_supported(const PlanGraph& graph, const Node& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id == kNoValue) continue;
    const bool is_weight = (i >= 1 && i <= 3) || i == 7;
    if (i == 4 || !is_f32(graph, id) || graph.is_constant(id) != is_weight) return false;
  }
  const auto r = recurrence_of(graph, node);
  return r && graph.info(node.input(0)).shape.elements() > 0 && r->sizes.hidden > 0 &&
         std::ranges::all_of(node.outputs,
                             [&](ValueId id) { return id == kNoValue || is_f32(graph, id); }) &&
         std::ranges::none_of(
             r->functions, [](const Activation& f) { return function_of(f) == OpKind::kIdentity; });
}

class RecurrentStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout) {
    OCTAVO_ASSIGN(Recurrence recurrence, recurrence_of(graph, node));
    return std::unique_ptr<Step>(new RecurrentStep(graph, node, std::move(recurrence)));
  }

  int64_t scratch_bytes() const override {
    return (gate_elements() + 3 * r_.sizes.batch * r_.sizes.hidden) *
           static_cast<int64_t>(sizeof(float));
  }

  Status run(const StepContext& context) override {
    const auto in = [&](size_t i) { return input(context, i).as<const float>(); };
    ops::RecurrentOperands<float> operands{in(0), in(3), in(5), in(6), in(7)};
    float** outputs[] = {&operands.y, &operands.y_h, &operands.y_c};
    for (size_t i = 0; i < output_slots_.size(); ++i) {
      *outputs[output_slots_[i]] = context.outputs[i].as<float>();
    }
    operands.gates = reinterpret_cast<float*>(context.scratch);
    operands.states = operands.gates + gate_elements();
    run_recurrence(r_, Engine{*this, context.pool}, operands);
    return {};
  }

 private:
  struct Weights {
    PackedWeights input, first, candidate;
  };
  struct Engine {
    const RecurrentStep& step;
    ThreadPool* pool;

    void input_gates(int64_t d, const float* x, int64_t rows, float* gates) const {
      step.multiply(step.weights(d).input, x, rows, gates, step.r_.width(), false, pool);
    }
    void add_recurrent(int64_t d, int part, const float* state, int64_t rows, float* to,
                       int64_t stride) const {
      const Weights& weights = step.weights(d);
      step.multiply(part == 0 ? weights.first : weights.candidate, state, rows, to, stride, true,
                    pool);
    }
    static void activate(const Activation& f, float clip, float* x, int64_t count) {
      if (clip > 0) unary_f32(OpKind::kClip, -clip, clip, x, x, count);
      unary_f32(function_of(f), f.alpha, f.beta, x, x, count);
    }
  };

  RecurrentStep(const PlanGraph& graph, const Node& node, Recurrence recurrence)
      : KernelStep(graph, node), r_(std::move(recurrence)) {
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) output_slots_.push_back(i);
    }
    const int64_t n = r_.sizes.hidden, width = r_.width(), first = r_.first_gates();
    const auto* w = constant(1).as<const float>();
    const auto* recurrent = constant(2).as<const float>();
    const auto* bias = constant(3).as<const float>();
    for (int64_t d = 0; d < r_.sizes.directions; ++d) {
      Weights& weights = weights_.emplace_back();
      const auto pack = [&](PackedWeights& packed, const float* from, int64_t columns,
                            int64_t depth) {  // `from` is [columns][depth]
        packed.columns = columns;
        packed.segments = 1;
        packed.steps = depth;
        layout_panels(target_, packed, graph.packing);
        pack_f32(packed, from, /*transposed=*/true);
      };
      pack(weights.input, w + d * width * r_.sizes.input, width, r_.sizes.input);
      const float* rows = recurrent + d * width * n;
      pack(weights.first, rows, first * n, n);
      if (first < r_.gates) pack(weights.candidate, rows + first * n * n, n, n);
      if (bias == nullptr) continue;
      for_each_column(weights.input, [&](int64_t position, int64_t column) {
        weights.input.bias[static_cast<size_t>(position)] =
            r_.input_bias(bias + d * 2 * width, column);
      });
    }
  }

  int64_t gate_elements() const { return r_.sizes.steps * r_.sizes.batch * r_.width(); }
  const Weights& weights(int64_t d) const { return weights_[static_cast<size_t>(d)]; }

  // to = x * weights (+ to)
  void multiply(const PackedWeights& weights, const float* x, int64_t rows, float* to,
                int64_t stride, bool adds, ThreadPool* pool) const {
    constexpr int64_t kBytes = sizeof(float);
    const int64_t offset = 0;
    GemmCall call;
    call.a = {reinterpret_cast<const std::byte*>(x), rows, 0, weights.steps * kBytes, &offset};
    call.rows = rows;
    call.b = &weights;
    call.c = reinterpret_cast<std::byte*>(to);
    call.residual = adds ? call.c : nullptr;
    call.c_stride = call.residual_stride = stride * kBytes;
    call.lo = -std::numeric_limits<float>::infinity();
    call.hi = std::numeric_limits<float>::infinity();
    run_gemm(target_, call, pool);
  }

  Recurrence r_;
  GemmTarget target_ = gemm_target();
  std::vector<Weights> weights_;      // by direction
  std::vector<size_t> output_slots_;  // which of the node's outputs the step's are
};

constexpr KernelDef row(OpKind op) {
  return {"recurrent_f32", op, ClaimLayout::kPlain, is_supported, RecurrentStep::create};
}
constexpr KernelDef kKernels[] = {row(OpKind::kLSTM), row(OpKind::kGRU), row(OpKind::kRNN)};

}  // namespace

std::span<const KernelDef> recurrent_kernels() { return kKernels; }

}  // namespace octavo::kernels
