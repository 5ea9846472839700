// Equalization multiplies the channels of tensors (core/quantization/equalize.h). To compare such a
// tensor with the float model's, the factors are found again from the weights of both models.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/graph.h"

namespace octavo {

/// A tensor of the float model times one factor a channel (axis 1).
struct ScaledTensor {
  std::string source;
  std::vector<float> factors;  // 0: of a channel without weights
  bool shifted = false;  // by constants that are not known, too: its values cannot be compared
};

/// By the name of the quantized model's tensor. Only tensors whose factors follow from weights.
std::map<std::string, ScaledTensor> scaled_tensors(const Graph& reference, const Graph& quantized);

/// By ValueId of `quantized`: the name of the tensor that the value stands for: the float model's,
/// or that of a scaled one. Empty: none.
std::vector<std::string> float_names(const Graph& reference, const Graph& quantized,
                                     const std::map<std::string, ScaledTensor>& scaled);

/// `tensor` (f32) with its channels multiplied; unchanged where the factors do not fit its shape.
Result<Tensor> scale_channels(const Tensor& tensor, const std::vector<float>& factors);

/// Real numbers of the weights of a quantized node and of the float node of the same name, the
/// latter with both sides' channels scaled; nothing where they cannot be compared.
struct WeightPair {
  Tensor reference, quantized;
};
std::optional<WeightPair> weight_pair(const Graph& reference, const Graph& quantized,
                                      const Node& node,
                                      const std::map<std::string, ScaledTensor>& scaled);

}  // namespace octavo
