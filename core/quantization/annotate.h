// Decides what becomes of every node: the quantization rules of the op rows (data) under a
// configuration. No ranges are known yet; nothing is changed.
#pragma once

#include <string>
#include <vector>

#include "core/config/static_quant_config.h"
#include "runtime/op.h"

namespace octavo {

struct NodeAnnotation {
  bool quantized = false;
  std::string reason;                         // why it stays float
  const StaticQuantConfig* config = nullptr;  // the one that holds for the node; never nullptr
  std::vector<size_t> data_inputs;  // inputs that must be quantized activations or constants
  bool float_output = false;        // quantized inputs, float result
};

struct Annotation {
  std::vector<NodeAnnotation> nodes;  // by NodeId
  std::vector<NodeId> producers;      // by ValueId; -1: none
  std::vector<bool> quantized_use;    // by ValueId: some node wants it quantized
  DType io_dtype = DType::kF32;       // of graph inputs and outputs, as far as they are quantized

  /// The value leaves its producer as integers.
  bool is_produced_quantized(const Graph& graph, ValueId value) const;
};

/// A node that stays float whatever its options are.
struct KeptFloat {
  NodeId node = -1;
  std::string reason;
};

/// `config` must outlive the result. Errors: kNotFound if a local name or a white_list entry means
/// nothing in this model (suggests the nearest), kInvalidArgument if the model is quantized
/// already, kUnsupportedOp listing the operators that stay float in spite of integer_only.
Result<Annotation> annotate(const Graph& graph, const StaticQuantConfig& config,
                            std::span<const KeptFloat> kept = {});

/// Errors: kNotFound if a pattern of the config means nothing in this model (suggests the nearest).
Status check_patterns(const Graph& graph, std::span<const std::string> local,
                      std::span<const std::string> white_list);
template <class C>
Status check_patterns(const Graph& graph, const Config<C>& config) {
  std::vector<std::string> local;
  for (const auto& entry : config.local) local.push_back(entry.pattern);
  return check_patterns(graph, local, config.white_list);
}

/// The output channel axis of a node's weights, in [0, rank).
int weight_axis(const OpDef& op, const Node& node, int rank);

}  // namespace octavo
