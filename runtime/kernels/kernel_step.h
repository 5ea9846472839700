// What the steps of the portable backend share: which of the step's tensors is which of the node's.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "runtime/kernel_table.h"

namespace octavo::kernels {

/// A step for one node: constants stay with the step, the rest comes with each run.
class KernelStep : public Step {
 protected:
  KernelStep(const PlanGraph& graph, const Node& node) {
    for (const ValueId id : node.inputs) {
      Operand operand;
      if (graph.is_constant(id)) {
        const TensorInfo& info = graph.info(id);
        operand.constant = info.constant;
        operand.quant = info.quant;
      } else if (id != kNoValue) {
        operand.slot = static_cast<int>(inputs.size());
        inputs.push_back(id);
      }
      operands_.push_back(std::move(operand));
    }
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) outputs.push_back(id);
    }
  }

  /// Input i of the node; not present() if it is absent.
  TensorView input(const StepContext& context, size_t i) const {
    if (i >= operands_.size()) return {};
    const Operand& operand = operands_[i];
    if (operand.slot >= 0) return context.inputs[static_cast<size_t>(operand.slot)];
    return constant(i);
  }
  /// Input i of the node if it is a constant, else not present().
  TensorView constant(size_t i) const {
    if (i >= operands_.size() || !operands_[i].constant.present()) return {};
    return operands_[i].constant.view(operands_[i].quant.get());
  }

 private:
  struct Operand {
    int slot = -1;  // in Step::inputs
    Tensor constant = {};
    std::shared_ptr<const QuantParams> quant = nullptr;
  };
  std::vector<Operand> operands_;
};

/// The parameters of a value that is quantized per tensor to one of two types, else nullptr.
inline const QuantParams* params_of(const PlanGraph& graph, ValueId id, DType a, DType b) {
  if (id == kNoValue) return nullptr;
  const TensorInfo& info = graph.info(id);
  const bool fits = (info.dtype == a || info.dtype == b) && info.quant != nullptr &&
                    info.quant->per_tensor() && info.quant->scale.size() == 1 &&
                    info.quant->zero_point.size() == 1;
  return fits ? info.quant.get() : nullptr;
}
inline const QuantParams* int8_params(const PlanGraph& graph, ValueId id) {
  return params_of(graph, id, DType::kI8, DType::kU8);
}
inline const QuantParams* int16_params(const PlanGraph& graph, ValueId id) {
  return params_of(graph, id, DType::kI16, DType::kU16);
}

/// Whether the value is plain float32.
inline bool is_f32(const PlanGraph& graph, ValueId id) {
  return id != kNoValue && graph.info(id).dtype == DType::kF32 && graph.info(id).quant == nullptr;
}

}  // namespace octavo::kernels
