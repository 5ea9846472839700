// How static quantization rounds a layer's weights: to the nearest integers, or learned.
#pragma once

#include "core/octavo.h"
#include "core/quantization/adaround.h"
#include "core/quantization/annotate.h"
#include "core/quantization/params.h"

namespace octavo {

class WeightRounder {
 public:
  /// Watches the layers whose options ask for learned rounding.
  WeightRounder(const Graph& graph, const Annotation& annotation, const SessionOptions& session);

  /// False if no layer's rounding is learned.
  bool any() const { return observer_.any(); }
  Observer& observer() { return observer_; }
  /// Channel c of the value was multiplied by factors[c].
  void scale(ValueId value, std::span<const float> factors) { observer_.scale(value, factors); }

  /// Before the first round(): `progress` is told of the steps that all layers take.
  void begin(const ProgressFn& progress);
  /// The integers of a node's weights. `axis`: of the output channels. `centred`: see adaround().
  Result<Tensor> round(NodeId node, const Tensor& weights, int axis, const TensorQuant& quant,
                       bool centred);

 private:
  struct Layer {
    size_t moments;  // the observer's number
    AdaRoundOptions options;
  };

  MomentsObserver observer_;
  SessionOptions session_;
  Work work_{{}, 0};
  std::map<NodeId, Layer> layers_;
};

}  // namespace octavo
