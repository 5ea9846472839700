#include "runtime/kernels/elementwise.h"

#include <array>

#include "runtime/kernels/kernel_step.h"
#include "runtime/kernels/reorder.h"
#include "runtime/ops/broadcast.h"

namespace octavo::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth another thread

// ---- Add, Mul and the like

bool is_binary(const PlanGraph& graph, const Node& node) {
  if (node.inputs.size() != 2 || node.outputs.size() != 1) return false;
  const Shape& y = graph.info(node.output(0)).shape;
  const auto shape =
      broadcast_shapes(graph.info(node.input(0)).shape, graph.info(node.input(1)).shape);
  return shape && *shape == y && y.elements() > 0 &&
         !(graph.is_constant(node.input(0)) && graph.is_constant(node.input(1)));
}

bool is_binary_f32(const PlanGraph& graph, const Node& node) {
  return is_binary(graph, node) && is_f32(graph, node.input(0)) && is_f32(graph, node.input(1)) &&
         is_f32(graph, node.output(0));
}

bool is_binary_int8(const PlanGraph& graph, const Node& node) {
  return is_binary(graph, node) && int8_params(graph, node.input(0)) != nullptr &&
         int8_params(graph, node.input(1)) != nullptr &&
         int8_params(graph, node.output(0)) != nullptr;
}

class BinaryStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout layout) {
    std::unique_ptr<BinaryStep> step(new BinaryStep(graph, node));
    const TensorInfo& y = graph.info(node.output(0));
    const int rank = y.shape.rank();
    std::array<TensorView, 2> views;
    for (size_t i = 0; i < 2; ++i) {
      const TensorInfo& info = graph.info(node.input(i));
      TensorView& view = views[i];
      view = {nullptr, info.dtype, Layout::kPlain, info.shape};
      if (layout == Layout::kPlain || rank < 3) continue;
      if (!info.constant.present()) {
        if (info.shape.rank() == rank) view.layout = layout;
        continue;
      }
      // As the plan does for references: leading ones, then the activations' layout.
      Shape expanded = Shape::filled(rank - info.shape.rank(), 1);
      for (const int64_t dim : info.shape) expanded.push_back(dim);
      OCTAVO_ASSIGN(step->held_[i], Tensor::create(info.dtype, expanded));
      TensorView from = info.constant.view();
      from.shape = view.shape = expanded;
      view.layout = layout;
      TensorView to = step->held_[i].view();
      to.layout = layout;
      reorder(from, to, nullptr);
    }
    TensorView out{nullptr, y.dtype, rank < 3 ? Layout::kPlain : layout, y.shape};
    OCTAVO_ASSIGN(step->broadcast_, ops::Broadcast::create(out, views));
    for (size_t i = 0; i < 2; ++i) {
      if (step->broadcast_.stride(i) > 1) {
        return fail(ErrorCode::kInternal, "operands in different layouts");
      }
    }
    for (int i = 0; i < 2 && step->in_place_ < 0; ++i) {
      const TensorInfo& info = graph.info(node.input(static_cast<size_t>(i)));
      if (!info.constant.present() && info.shape == y.shape && info.dtype == y.dtype) {
        step->in_place_ =
            node.input(0) == node.input(1) || graph.is_constant(node.input(0)) ? 0 : i;
      }
    }
    const auto *a = int8_params(graph, node.input(0)), *b = int8_params(graph, node.input(1));
    if (a != nullptr && b != nullptr) {
      const auto is_signed = [&](ValueId id) { return graph.info(id).dtype == DType::kI8; };
      step->int8_ = {a->scale[0],
                     b->scale[0],
                     y.quant->scale[0],
                     a->zero_point[0],
                     b->zero_point[0],
                     y.quant->zero_point[0],
                     is_signed(node.input(0)),
                     is_signed(node.input(1)),
                     is_signed(node.output(0))};
      step->element_bytes_ = 1;
    }
    return step;
  }

  int in_place_input() const override { return in_place_; }

  Status run(const StepContext& context) override {
    const std::byte* from[2];
    for (size_t i = 0; i < 2; ++i) {
      from[i] = held_[i].present() ? static_cast<const std::byte*>(held_[i].raw())
                                   : input(context, i).as<const std::byte>();
    }
    auto* y = context.outputs[0].as<std::byte>();
    broadcast_.run(context.pool, [&](const auto& offsets, int64_t at, int64_t count) {
      const RowOperand a{from[0] + offsets[0] * element_bytes_, broadcast_.stride(0)};
      const RowOperand b{from[1] + offsets[1] * element_bytes_, broadcast_.stride(1)};
      if (element_bytes_ == 1) {
        binary_int8(kind_, int8_, a, b, y + at, count);
      } else {
        binary_f32(kind_, a, b, reinterpret_cast<float*>(y) + at, count);
      }
    });
    return {};
  }

 private:
  BinaryStep(const PlanGraph& graph, const Node& node)
      : KernelStep(graph, node), kind_(node.kind) {}

  OpKind kind_;
  ops::Broadcast broadcast_;
  std::array<Tensor, 2> held_;  // constants in the activations' layout
  BinaryInt8 int8_{};
  int64_t element_bytes_ = 4;
  int in_place_ = -1;
};

// ---- QuantizeLinear and DequantizeLinear, with the parameters on the value

// Integers of 8 or 16 bits, per tensor.
bool has_row(const PlanGraph& graph, ValueId id) {
  return int8_params(graph, id) != nullptr || int16_params(graph, id) != nullptr;
}
bool is_quantize(const PlanGraph& graph, const Node& node) {
  return node.input(1) == kNoValue && is_f32(graph, node.input(0)) &&
         has_row(graph, node.output(0));
}
bool is_dequantize(const PlanGraph& graph, const Node& node) {
  return node.input(1) == kNoValue && has_row(graph, node.input(0)) &&
         is_f32(graph, node.output(0));
}

class QuantizeStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout) {
    return std::unique_ptr<Step>(new QuantizeStep(graph, node));
  }
  Status run(const StepContext& context) override {
    const TensorView x = input(context, 0);
    const TensorView& y = context.outputs[0];
    parallel_for(context.pool, y.elements(), kGrain, [&](int64_t begin, int64_t end) {
      if (quantizes_) {
        quantize_row(x.as<const float>() + begin, scale_, zero_point_, y.dtype,
                     y.as<uint8_t>() + begin * dtype_bytes(y.dtype), end - begin);
      } else {
        dequantize_row(x.as<const uint8_t>() + begin * dtype_bytes(x.dtype), scale_, zero_point_,
                       x.dtype, y.as<float>() + begin, end - begin);
      }
    });
    return {};
  }

 private:
  QuantizeStep(const PlanGraph& graph, const Node& node)
      : KernelStep(graph, node), quantizes_(node.kind == OpKind::kQuantizeLinear) {
    const ValueId quantized = quantizes_ ? node.output(0) : node.input(0);
    const QuantParams& quant = *graph.info(quantized).quant;
    scale_ = quant.scale[0];
    zero_point_ = quant.zero_point[0];
  }
  bool quantizes_;
  float scale_;
  int32_t zero_point_;
};

constexpr ClaimLayout kFollow = ClaimLayout::kFollow;
constexpr KernelDef f32_row(OpKind op) {
  return {"binary_f32", op, kFollow, is_binary_f32, BinaryStep::create, kExact};
}
constexpr KernelDef int8_row(OpKind op) {
  return {"binary_int8", op, kFollow, is_binary_int8, BinaryStep::create, kExact};
}
constexpr KernelDef kKernels[] = {
    f32_row(OpKind::kAdd),
    f32_row(OpKind::kSub),
    f32_row(OpKind::kMul),
    f32_row(OpKind::kDiv),
    f32_row(OpKind::kMax),
    f32_row(OpKind::kMin),
    f32_row(OpKind::kPRelu),
    int8_row(OpKind::kAdd),
    int8_row(OpKind::kSub),
    int8_row(OpKind::kMul),
    int8_row(OpKind::kDiv),
    int8_row(OpKind::kMax),
    int8_row(OpKind::kMin),
    {"quantize_linear", OpKind::kQuantizeLinear, kFollow, is_quantize, QuantizeStep::create,
     kExact},
    {"dequantize_linear", OpKind::kDequantizeLinear, kFollow, is_dequantize, QuantizeStep::create,
     kExact},
};

}  // namespace

std::span<const KernelDef> elementwise_kernels() { return kKernels; }

}  // namespace octavo::kernels
